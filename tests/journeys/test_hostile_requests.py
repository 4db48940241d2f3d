"""A crawl by scanners and worse, against a whole server: clear answers, no fault of ours, nothing told, memory flat."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import Say
from tests.journeys import figures, hostile, hostile_frames, hostile_paths
from tests.journeys.raw import FAR_S, Answer, ask, request
from tests.journeys.serving import serving
from tests.server import Person, ServerProcess

REQUESTS, FRAMES, BATCH = 2_000, 8_000, 100
AT_ONCE = 8
# What is no request may be taken for the beginning of one; so long is waited for an answer all the same.
HURRY_S = 0.3
MORE_MEMORY_MB = 30
OPENAI_KEY = "sk-the-key-that-nobody-should-see"
# What no answer holds, whatever was asked.
TELLS = ("Traceback", "Exception", "django/", "chat/web", "/site-packages", "SECRET_KEY", "SQLite format", "root:x:0")
HANDSHAKE = (
    "Upgrade: websocket",
    "Connection: Upgrade",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


@pytest.fixture(scope="module")
def target(upstream: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of its own, so that what it holds in memory is this crawl's."""
    folder: Path = tmp_path_factory.mktemp("target")
    # Scanners try passwords too; here they should get as far as their passwords.
    unlimited = "1000000"
    server = ServerProcess(
        folder,
        upstream=upstream.base_url,
        OPENAI_API_KEY=OPENAI_KEY,
        AGENT_LOGIN_FAILURES_MAX_PER_NAME=unlimited,
        AGENT_LOGIN_FAILURES_MAX_PER_ADDRESS=unlimited,
        AGENT_SIGNUP_FAILURES_MAX_PER_HOUR_AND_ADDRESS=unlimited,
    )
    with serving(server) as running:
        yield running


@pytest.fixture(scope="module")
def member(target: ServerProcess) -> Person:
    """The first superuser, who sees the admin's pages too."""
    return Person(target.base).log_in()


def crawl(base: str, sent: Sequence[bytes]) -> list[tuple[bytes, list[Answer]]]:
    """Send each on a connection of its own, several at a time."""

    def one(raw: bytes) -> tuple[bytes, list[Answer]]:
        return raw, ask(base, raw, hurry_s=FAR_S if b"Connection: close" in raw else HURRY_S)

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return list(threads.map(one, sent))


def faults(raw: bytes, answers: list[Answer], secrets: Sequence[str]) -> list[str]:
    """What should not be in an answer, in words."""
    found = []
    for answer in answers:
        told = [word for word in (*TELLS, *secrets) if word in answer.text or word in str(answer.headers)]
        if answer.status >= 500 or told or hostile_paths.EVIL in answer.header("location"):
            found.append(f"{raw[:150]!r} got {answer.status} {told} {answer.header('location')}")
        if answer.header("set-cookie").startswith("x="):
            found.append(f"{raw[:150]!r} set a cookie")
    return found


def test_thousands_of_hostile_requests_get_a_clear_answer_and_leave_nothing(
    target: ServerProcess, member: Person
) -> None:
    conversation = member.new_conversation()
    cookies = {cookie.name: cookie.value or "" for cookie in member.cookies}
    sent = hostile.requests(conversation=conversation, session=cookies["sessionid"], token=cookies["csrftoken"])
    secrets = (OPENAI_KEY, str(target.environ["SECRET_KEY"]), cookies["sessionid"])
    statuses: Counter[int] = Counter()
    begun_s = time.monotonic()
    before_mb, wrong = 0.0, []
    rounds = itertools.islice(itertools.cycle(sent), REQUESTS)
    # What a first look at each page makes is kept for good.
    while batch := list(itertools.islice(rounds, len(sent))):
        for raw, answers in crawl(target.base, batch):
            wrong += faults(raw, answers, secrets)
            statuses.update(answer.status for answer in answers)
        before_mb = before_mb or target.memory_mb
    more_mb = target.memory_mb - before_mb
    took_s = time.monotonic() - begun_s
    figures.show(
        f"{REQUESTS:,} hostile requests in {took_s:.0f} s: {dict(statuses)}, the server holds {more_mb:+.1f} MiB"
    )
    assert wrong == []
    assert statuses[400] > 0
    assert statuses[404] > 0
    assert more_mb < MORE_MEMORY_MB
    # Nothing happened to anybody, and everybody is still served.
    assert member.get(f"/c/{conversation}/")[0] == 200
    assert json.loads(member.get(f"/c/{conversation}/export.json")[1])["messages"] == []
    assert Person(target.base).sign_up("a-newcomer").get("/")[0] == 200


@pytest.mark.parametrize("path", ["/healthz", "/static/favicon.svg", "/accounts/login/", "/admin/login/"])
def test_two_requests_in_one_are_two_answers_and_a_body_is_no_request(target: ServerProcess, path: str) -> None:
    hidden = b"GET /hidden HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    two = ask(target.base, request(path, closes=False) + request(path))
    assert [answer.status for answer in two] == [200, 200]
    [one] = ask(target.base, request(path, method="GET", body=hidden))
    assert one.status == 200


async def test_thousands_of_spoilt_frames_are_answered_and_leave_nothing(
    target: ServerProcess, member: Person, upstream: ScriptedServer
) -> None:
    upstream.script = lambda request: (Say(text="ok"),)
    conversation = member.new_conversation()
    frames = hostile_frames.frames(FRAMES)
    before_mb, refused = 0.0, 0
    async with member.socket(f"/ws/c/{conversation}/?format=json") as wire:
        await wire.receive()
        while batch := list(itertools.islice(frames, BATCH)):
            for frame in batch:
                await wire.connection.send(frame)
            await wire.send(type="sync", after=0)
            await wire.until(lambda frame: frame["type"] == "state_update" and frame["full"])
            before_mb = before_mb or target.memory_mb
        errors = [frame for frame in wire.frames if frame["type"] == "error"]
        refused = len(errors)
        assert all(error["code"] and 0 < len(error["message"]) < 1_000 for error in errors)
        assert not any(word in str(errors) for word in (*TELLS, OPENAI_KEY))
    more_mb = target.memory_mb - before_mb
    figures.show(f"{FRAMES:,} spoilt frames: {refused:,} refused, the server holds {more_mb:+.1f} MiB")
    assert refused > 0.9 * FRAMES
    assert more_mb < MORE_MEMORY_MB


QUERIES = (
    "after=%00",
    "after=-1",
    "after=" + "9" * 5_000,
    "after=x&after=1",
    "format=xml",
    "format=%ff",
    "format=json&format=html",
)


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
async def test_whatever_a_socket_is_asked_with_it_shows_the_conversation_or_is_refused(
    target: ServerProcess, member: Person, query: str
) -> None:
    conversation = member.new_conversation()
    try:
        async with asyncio.timeout(FAR_S), member.socket(f"/ws/c/{conversation}/?{query}") as wire:
            first = str(await wire.connection.recv())
            assert conversation in first or '"full":true' in first
    except ConnectionClosed as closed:
        pytest.fail(f"closed with {closed.code}")


def test_sockets_that_break_their_protocol_are_closed_and_nothing_else_is(
    target: ServerProcess, member: Person
) -> None:
    cookie = "Cookie: " + "; ".join(f"{cookie.name}={cookie.value}" for cookie in member.cookies)
    host = target.base.removeprefix("http://")
    own = (cookie, f"Origin: {target.base}")
    good = request("/ws/", *HANDSHAKE, *own, host=host, closes=False)
    upgrades = [
        request("/ws/", "Upgrade: websocket", "Connection: Upgrade", *headers, *own, host=host, closes=False)
        for headers in hostile_frames.HANDSHAKES
    ]
    broken = [good + frame for frame in hostile_frames.BROKEN_FRAMES]
    for raw, answers in crawl(target.base, [*upgrades, *broken]):
        assert faults(raw, answers, (OPENAI_KEY,)) == []
    assert member.get("/search/?q=x")[0] == 200
