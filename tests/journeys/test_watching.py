"""For those who watch over the site: figures, and a log that says what happened and nothing that was said."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import Refuse, Say
from tests.journeys.place import Place
from tests.journeys.serving import serving
from tests.server import Person, ServerProcess

SECRET_TEXT, SECRET_ANSWER, SECRET_KEY = "zebra-question", "giraffe-answer", "sk-hippopotamus"


@pytest.fixture(scope="module")
def server(upstream: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    running = ServerProcess(
        tmp_path_factory.mktemp("watched"),
        upstream=upstream.base_url,
        AGENT_LOG_FORMAT="json",
        AGENT_ATTEMPTS_MAX="1",
        OPENAI_API_KEY=SECRET_KEY,
    )
    with serving(running):
        yield running


def figures(place: Place) -> dict[str, float]:
    """What /metrics says to a program on this machine."""
    status, text = Person(place.server.base).get("/metrics")
    assert status == 200
    assert "# HELP agentsite_events" in text
    lines = re.findall(r"^(agentsite_\S+) (\S+)$", text, flags=re.MULTILINE)
    return {name: float(value) for name, value in lines}


async def test_figures_say_what_happened(place: Place) -> None:
    before = figures(place)
    place.answers((Say(text="An answer."),))
    async with place.socket() as wire:
        await wire.say("Hello?")
        await wire.until_event("llm_response_completed")
        during = figures(place)
    assert during['agentsite_answers_total{fault="",state="complete"}'] == 1 + before.get(
        'agentsite_answers_total{fault="",state="complete"}', 0
    )
    assert during["agentsite_sockets"] == 1
    assert during['agentsite_site_processes{kind="server"}'] == 1
    assert during["agentsite_site_queued_messages"] == 0
    assert during["agentsite_first_token_seconds_count"] == 1 + before["agentsite_first_token_seconds_count"]


def test_figures_are_for_programs_on_this_machine_and_for_staff(place: Place) -> None:
    def status(cookies: str = "", **headers: str) -> int:
        request = urllib.request.Request(f"{place.server.base}/metrics", headers={"Cookie": cookies, **headers})
        try:
            with urllib.request.urlopen(request, timeout=10) as response:
                return int(response.status)
        except urllib.error.HTTPError as fault:
            fault.close()
            return fault.code

    through_a_proxy = {"X-Forwarded-For": "127.0.0.1"}
    assert status() == 200
    assert status(**through_a_proxy) == 404
    assert status(_cookies(place.person), **through_a_proxy) == 200
    assert status(_cookies(Person(place.server.base).sign_up("nobody-special")), **through_a_proxy) == 404


def _cookies(person: Person) -> str:
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in person.cookies)


async def test_the_log_is_one_object_a_line_and_holds_nothing_that_was_said(place: Place) -> None:
    refused = Refuse(status=500, body=json.dumps({"error": {"message": f"{SECRET_ANSWER} {SECRET_KEY}"}}).encode())
    place.answers(lambda request: (refused,) if request.number else (Say(text=SECRET_ANSWER),))
    async with place.socket() as wire:
        await wire.say(SECRET_TEXT)
        await wire.until_event("llm_response_completed")
        await wire.say(SECRET_TEXT)
        await wire.until_event("llm_response_failed")
    place.person.get("/c/not-there/")
    text = place.server.log.read_text()
    for secret in (SECRET_TEXT, SECRET_ANSWER, SECRET_KEY, place.server.environ["ADMIN_PASSWORD"]):
        assert secret not in text
    lines = [line for line in text.splitlines() if line.startswith("{")]
    assert all({"time", "level", "logger", "message"} <= json.loads(line).keys() for line in lines)
