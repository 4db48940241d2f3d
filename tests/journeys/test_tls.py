"""Behind a proxy that ends TLS, and without one: what of a request's word is believed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin

from chat.web.consumers import WRONG_ORIGIN
from tests.journeys.raw import Answer, ask, request
from tests.journeys.serving import serving
from tests.server import PASSWORD, ServerProcess

SECURE = "X-Forwarded-Proto: https"
NAME = "chat.example.com"


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A site that knows of its proxy."""
    folder = tmp_path_factory.mktemp("tls")
    with serving(ServerProcess(folder, AGENT_BEHIND_TLS="true", ALLOWED_HOSTS=f"{NAME},127.0.0.1")) as running:
        yield running


def one(server: ServerProcess, sent: bytes) -> Answer:
    [answer] = ask(server.base, sent)
    return answer


def cookies_of(answer: Answer) -> dict[str, tuple[str, set[str]]]:
    """Name to value and attributes."""
    found = {}
    for line in answer.all("set-cookie"):
        pair, *attributes = (part.strip() for part in line.split(";"))
        name, _, value = pair.partition("=")
        found[name] = (value, {attribute.lower() for attribute in attributes})
    return found


def logged_in(server: ServerProcess) -> str:
    """The cookies of the first superuser, as they come over TLS."""
    page = one(server, request("/accounts/login/", SECURE, host=NAME))
    token = cookies_of(page)["__Host-csrftoken"][0]
    body = urlencode({"username": "admin", "password": PASSWORD, "csrfmiddlewaretoken": token}).encode()
    headers = (SECURE, f"Cookie: __Host-csrftoken={token}", f"Referer: https://{NAME}/accounts/login/")
    form = "Content-Type: application/x-www-form-urlencoded"
    answer = one(server, request("/accounts/login/", *headers, form, host=NAME, method="POST", body=body))
    assert answer.status == 302, answer.text[:500]
    for name in ("__Host-sessionid", "__Host-csrftoken"):
        assert {"secure", "httponly", "path=/", "samesite=lax"} <= cookies_of(answer)[name][1]
        assert not any(attribute.startswith("domain=") for attribute in cookies_of(answer)[name][1])
    return f"__Host-sessionid={cookies_of(answer)['__Host-sessionid'][0]}"


def test_what_comes_without_tls_is_sent_there_and_only_health_is_told(behind: ServerProcess) -> None:
    answer = one(behind, request("/c/new/?a=b", host=NAME))
    assert (answer.status, answer.header("location")) == (301, f"https://{NAME}/c/new/?a=b")
    assert "set-cookie" not in dict(answer.headers)
    assert one(behind, request("/healthz", host=NAME)).status == 200


def test_with_tls_the_browser_is_told_to_stay_with_it(behind: ServerProcess) -> None:
    answer = one(behind, request("/accounts/login/", SECURE, host=NAME))
    assert answer.status == 200
    age = re.fullmatch(r"max-age=(\d+); includeSubDomains; preload", answer.header("strict-transport-security"))
    assert age
    assert int(age[1]) >= 365 * 24 * 3600


def test_cookies_that_come_over_tls_go_back_over_tls_alone_and_belong_to_this_host(behind: ServerProcess) -> None:
    # Looked at as they come.
    assert logged_in(behind).startswith("__Host-sessionid=")


async def test_a_socket_has_to_come_from_a_page_that_came_with_tls(behind: ServerProcess) -> None:
    cookie = logged_in(behind)
    address = behind.base.replace("http", "ws") + "/ws/"

    async def first(origin: str) -> int | str:
        headers = {"Cookie": cookie, "X-Forwarded-Proto": "https"}
        async with connect(address, additional_headers=headers, origin=Origin(origin)) as wire:
            try:
                return str(await wire.recv())[:22]
            except ConnectionClosed:
                return wire.close_code or 0

    host = behind.base.removeprefix("http://")
    assert await first(f"https://{host}") == '{"type":"state_update"'
    assert await first(f"http://{host}") == WRONG_ORIGIN


def test_without_a_known_proxy_nobody_is_believed_to_come_over_tls(tmp_path: Path) -> None:
    with serving(ServerProcess(tmp_path)) as server:
        answer = one(server, request("/accounts/login/", SECURE, "Forwarded: proto=https", "X-Forwarded-Ssl: on"))
        assert answer.status == 200
        assert answer.header("strict-transport-security") == ""
        assert "secure" not in cookies_of(answer)["csrftoken"][1]


@pytest.mark.parametrize("name", ["evil.example", f"{NAME}.evil.example", "127.0.0.1@evil.example", "[::1", "a b", ""])
def test_a_host_that_is_not_the_sites_gets_nothing(behind: ServerProcess, name: str) -> None:
    answer = one(behind, request("/accounts/login/", SECURE, host=name))
    assert answer.status == 400
    assert NAME not in answer.text
    assert "evil" not in answer.text + str(answer.headers)


def test_a_host_that_a_proxy_may_have_been_asked_for_is_not_believed(behind: ServerProcess) -> None:
    names = ("X-Forwarded-Host: evil.example", "X-Host: evil.example", "Forwarded: host=evil.example")
    answer = one(behind, request("/", SECURE, *names, host=NAME))
    assert (answer.status, answer.header("location")) == (302, "/accounts/login/?next=/")
    assert "evil" not in one(behind, request("/accounts/login/", SECURE, *names, host=NAME)).text
