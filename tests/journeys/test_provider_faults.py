"""A model server that fails, in every way in which they do. Each is said in words, and none is the end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import pytest

from chat.core.prompt import FAILED_NOTE
from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import (
    CallTool,
    Cut,
    EndWithoutDone,
    FailStream,
    Finish,
    Hang,
    Raw,
    Refuse,
    Say,
    Script,
    ScriptedRequest,
    Step,
)
from tests.journeys.deployments import Deployment, deployed
from tests.journeys.place import FAR_S, Place, contents
from tests.journeys.serving import serving
from tests.server import Frame, Person, ServerProcess, Wire

FIRST_TOKEN_S, TOKEN_GAP_S = 2, 2
ATTEMPTS = 3


@pytest.fixture(scope="module")
def server(
    deployment: Deployment, upstream: ScriptedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A server that waits for nothing long."""
    with deployed(
        deployment,
        tmp_path_factory.mktemp("hasty"),
        upstream=upstream.base_url,
        AGENT_FIRST_TOKEN_TIMEOUT_S=str(FIRST_TOKEN_S),
        AGENT_TOKEN_GAP_TIMEOUT_S=str(TOKEN_GAP_S),
        AGENT_BACKOFF_FIRST_S="0.2",
        AGENT_ATTEMPTS_MAX=str(ATTEMPTS),
        AGENT_RETRY_AFTER_MAX_S="20",
    ) as running:
        yield running


def in_turn(*answers: Sequence[Step]) -> Script:
    """A script: the first request gets the first answer, and so on; the last one is repeated."""

    def script(request: ScriptedRequest) -> Sequence[Step]:
        return answers[min(request.number, len(answers) - 1)]

    return script


async def ask(wire: Wire, question: str = "Hello?") -> Frame:
    """Send a question and wait until nothing runs; the frame that says so."""
    await wire.say(question)
    await wire.until(lambda frame: frame.get("phase") == "generating")
    return await wire.until_idle(within_s=FAR_S)


def delays(wire: Wire) -> int:
    """How often the model was said to be asked again later."""
    return sum(frame.get("event_type") == "llm_response_delayed" for frame in wire.frames)


def words_on_the_page(person: Person, place: Place) -> str:
    """What a person reads about it."""
    status, text = person.get(place.path)
    assert status == 200
    return text


@pytest.mark.parametrize(
    ("steps", "kept", "asked", "words"),
    [
        pytest.param((Refuse(status=401),), "", 1, "OPENAI_API_KEY", id="401"),
        pytest.param((Refuse(status=402),), "", 1, "quota", id="402"),
        pytest.param((Refuse(status=404, code="model_not_found"),), "", 1, "no such model", id="404"),
        pytest.param((Refuse(status=400),), "", 1, "did not accept", id="400"),
        pytest.param((Refuse(status=400, code="context_length_exceeded"),), "", 1, "too long", id="too-long"),
        pytest.param((Refuse(status=429),), "", ATTEMPTS, "too many requests", id="429"),
        pytest.param(
            (Refuse(status=429, headers=(("retry-after", "9999"),)),),
            "",
            1,
            "too many requests",
            id="429-come-back-tomorrow",
        ),
        pytest.param((Refuse(status=500),), "", ATTEMPTS, "not available", id="500"),
        pytest.param((Refuse(status=502, body=b"<html>Bad gateway</html>"),), "", ATTEMPTS, "not available", id="502"),
        pytest.param((Cut(),), "", ATTEMPTS, "closed the connection", id="cut-before-a-word"),
        pytest.param((Say(text="Half an"), Cut()), "Half an", 1, "broke off", id="cut"),
        pytest.param((Say(text="Half an"), Cut(reset=False)), "Half an", 1, "broke off", id="closed"),
        pytest.param((Say(text="Half an"), FailStream(message="I am out.")), "Half an", 1, "I am out.", id="error"),
        pytest.param((Say(text="Half an"), Raw(data=b"data: {nonsense\n\n")), "Half an", 1, "", id="broken-json"),
        pytest.param((Hang(),), "", ATTEMPTS, f"did not begin to answer within {FIRST_TOKEN_S} s", id="hang"),
        pytest.param((Say(text="Half an"), Hang()), "Half an", 1, f"nothing more for {TOKEN_GAP_S} s", id="gap"),
    ],
)
async def test_a_fault_is_said_in_words_and_the_conversation_goes_on(
    place: Place, steps: tuple[Step, ...], kept: str, asked: int, words: str
) -> None:
    place.answers(steps)
    async with place.socket() as wire:
        ended = await ask(wire)
        assert (ended["event_type"], ended["held"]) == ("llm_response_failed", False)
        assert delays(wire) == asked - 1
        assert len(place.questions) == asked
        assert place.transcript()[-1] == ("assistant", "failed", kept)
        page = words_on_the_page(place.person, place)
        assert words in page
        assert "Retry" in page
        place.answers((Say(text="Here I am."),))
        ended = await ask(wire, "And now?")
        assert ended["event_type"] == "llm_response_completed"
        assert wire.wrong_offsets == []
    said = f"{kept}\n\n{FAILED_NOTE}" if kept else FAILED_NOTE
    assert place.prompt().messages[-3:] == (("user", "Hello?"), ("assistant", said), ("user", "And now?"))


async def test_a_server_that_fails_twice_is_asked_three_times(place: Place) -> None:
    place.answers(in_turn((Refuse(status=500),), (Refuse(status=503),), (Say(text="At last."),)))
    async with place.socket() as wire:
        ended = await ask(wire)
        assert ended["event_type"] == "llm_response_completed"
        assert [frame["event_type"] for frame in wire.frames if frame["type"] == "state_update"][2:] == [
            "llm_response_started",
            "llm_response_delayed",
            "llm_response_started",
            "llm_response_delayed",
            "llm_response_started",
            "llm_response_completed",
        ]
    assert place.questions == ["Hello?"] * 3
    assert place.transcript()[-1] == ("assistant", "complete", "At last.")


async def test_the_time_that_a_server_asks_for_is_waited_and_counted_down(place: Place) -> None:
    place.answers(in_turn((Refuse(status=429, headers=(("retry-after", "2"),)),), (Say(text="At last."),)))
    async with place.socket() as wire:
        await wire.say("Hello?")
        delayed = await wire.until_event("llm_response_delayed")
        assert delayed["phase"] == "generating"
        status, text = place.person.get(place.path)
        found = [int(part.split('"')[0]) for part in text.split('data-until-ms="')[1:]]
        assert found, "the page has no countdown"
        assert 0 < found[0] / 1000 - time.time() <= 2
        assert status == 200
        await wire.until_event("llm_response_completed")
    first, second = place.upstream.exchanges
    assert second.request.arrived_at_s - first.request.arrived_at_s > 1.9


async def test_after_a_fault_the_queue_is_held_and_retry_lets_it_go_on(place: Place) -> None:
    place.answers((Say(text="Half an", delay_s=0.2), Cut()))
    async with place.socket() as wire:
        await wire.say("first")
        await wire.until_known(await wire.say("second"))
        failed = await wire.until_event("llm_response_failed")
        assert failed["held"] is True
        assert contents(failed) == ["second"]
        place.answers(lambda request: (Say(text=f"re: {request.last_user_text}"),))
        await wire.send(type="retry")
        await wire.until(lambda frame: frame.get("phase") == "idle" and not frame["queue"])
        assert wire.state["held"] is False
    assert place.questions == ["first", "first", "second"]
    assert place.transcript() == [
        ("user", "complete", "first"),
        ("assistant", "failed", "Half an"),
        ("assistant", "complete", "re: first"),
        ("user", "complete", "second"),
        ("assistant", "complete", "re: second"),
    ]


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        pytest.param((Say(text="All of it."), Finish(reason="stop"), EndWithoutDone()), "All of it.", id="no-done"),
        pytest.param((Say(text="All of it."), Finish(reason="stop"), Cut()), "All of it.", id="cut-after-the-end"),
        pytest.param((Raw(data=b": hello\r\n\r\n"), Say(text="All of it.")), "All of it.", id="comments"),
    ],
)
async def test_what_is_unusual_but_whole_is_no_fault(place: Place, steps: tuple[Step, ...], text: str) -> None:
    place.answers(steps)
    async with place.socket() as wire:
        assert (await ask(wire))["event_type"] == "llm_response_completed"
    assert place.transcript()[-1] == ("assistant", "complete", text)


@pytest.mark.parametrize(
    "call",
    [
        pytest.param(CallTool(name="current_time", arguments=r'{"\u0000": 1}'), id="arguments"),
        pytest.param(CallTool(name="current_time", arguments=f'{{"{"x" * 100_000}": 1}}'), id="long-arguments"),
        pytest.param(Say(text=r'<tool_call>{"name": "a\u0000\ud800", "arguments": {}}</tool_call>'), id="name"),
    ],
)
async def test_a_call_that_can_not_be_stored_as_it_is_fails_and_the_model_goes_on(place: Place, call: Step) -> None:
    place.answers(in_turn((call,), (Say(text="All of it."),)))
    async with place.socket() as wire:
        assert (await ask(wire))["event_type"] == "llm_response_completed"
    assert place.transcript()[-1] == ("assistant", "complete", "All of it.")


async def test_a_model_server_that_is_not_there_is_said_in_words(
    place: Place, upstream: ScriptedServer, tmp_path_factory: pytest.TempPathFactory
) -> None:
    nowhere = ServerProcess(
        tmp_path_factory.mktemp("alone"),
        upstream="http://127.0.0.1:9/v1",
        AGENT_ATTEMPTS_MAX="1",
    )
    with serving(nowhere):
        person = Person(nowhere.base).log_in()
        alone = Place(server=nowhere, upstream=upstream, person=person, conversation=person.new_conversation())
        async with alone.socket() as wire:
            assert (await ask(wire))["event_type"] == "llm_response_failed"
        assert "reached" in words_on_the_page(person, alone)
