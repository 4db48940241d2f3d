"""A tool runs when its person says yes to what is shown, once, and on nothing else.

What ran is counted in a file that each execution adds a line to, not in what the site says of itself.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import Gate, Say, Wait
from tests.journeys import figures
from tests.journeys.deployments import Deployment
from tests.journeys.place import Place
from tests.journeys.tooling import (
    DIALECTS,
    Dialect,
    Ledger,
    approve,
    calling,
    calls_of,
    proposed,
    rows,
    serving_tools,
    shell,
    until_output,
    until_state,
)
from tests.server import Frame, Person, ServerProcess, Wire

TURNS, CALLS_A_TURN = 10, 20
NOT_FOUND = 4404
NO_SUCH_CALL = "00000000-0000-4000-8000-000000000000"
OTHER_DIGEST = "0" * 64

pytestmark = pytest.mark.timeout(300)
both_dialects = pytest.mark.parametrize("dialect", DIALECTS)


@pytest.fixture(scope="module")
def server(
    deployment: Deployment, upstream: ScriptedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A site with tools. What they print is not saved while they run: a row that changes was changed by a decision."""
    folder = tmp_path_factory.mktemp("approvals")
    with serving_tools(folder, upstream.base_url, deployment, AGENT_CHECKPOINT_INTERVAL_S="300") as running:
        yield running


@pytest.fixture
def ledger(place: Place) -> Ledger:
    """What ran in this conversation."""
    return Ledger(place.conversation)


async def test_two_tabs_that_approve_a_call_at_the_same_moment_run_it_once(place: Place, ledger: Ledger) -> None:
    place.answers(
        lambda request: calling(
            *(shell(ledger.note(f"{request.last_user_text}-{number}")) for number in range(CALLS_A_TURN))
        )(request)
    )
    async with place.socket() as here, place.socket() as there:
        for turn in range(TURNS):
            await here.say(f"turn-{turn}")
            calls, seen_there = await asyncio.gather(proposed(here), proposed(there))
            assert calls == seen_there
            # Each call in both tabs at once, now this tab first and now that; or all calls in one go from both ends, so
            # that the tabs meet in the middle.
            pairs = zip(calls, calls if turn % 2 else calls[::-1], strict=True)
            for number, (mine, yours) in enumerate(pairs):
                yeses = [approve(here, mine), approve(there, yours)]
                await asyncio.gather(*(yeses if number % 2 else yeses[::-1]))
            await asyncio.gather(here.until_idle(), there.until_idle())
        refusals = [await settled(tab) for tab in (here, there)]
        known = calls_of(here)
        taken = [
            Counter(frame["tool_calls"][0]["call_id"] for frame in tab.frames if is_event(frame, "tool_approved"))
            for tab in (here, there)
        ]
        # A tab that saw a gap was told the whole instead of each event.
        assert {count for tab in taken for count in tab.values()} == {1}
        assert taken[0].keys() | taken[1].keys() <= known.keys()
        assert here.state == there.state
        assert calls_of(there) == known
    assert len(known) == TURNS * CALLS_A_TURN
    # Of each call's two yeses one was taken and one refused, on the socket that sent it.
    assert Counter(frame["ref"] for tab in refusals for frame in tab) == dict.fromkeys(known, 1)
    assert {frame["code"] for tab in refusals for frame in tab} <= {"already_decided", "not_found"}
    assert {call["state"] for call in known.values()} == {"succeeded"}
    names = [f"turn-{turn}-{number}" for turn in range(TURNS) for number in range(CALLS_A_TURN)]
    assert Counter(ledger.lines) == dict.fromkeys(names, 1)
    figures.show(
        f"two tabs approve at once: {len(known)} calls, {len(ledger.lines)} executions, "
        f"refused here {len(refusals[0])}, there {len(refusals[1])}"
    )


async def test_a_yes_and_a_no_at_the_same_moment_are_one_decision(place: Place, ledger: Ledger) -> None:
    place.answers(calling(*(shell(ledger.note(str(number))) for number in range(CALLS_A_TURN))))
    async with place.socket() as here, place.socket() as there:
        await here.say("Run them.")
        calls, _ = await asyncio.gather(proposed(here), proposed(there))
        for number, call in enumerate(calls):
            # In turns: what comes in at once on two sockets is read in the same order each time.
            yes, no = (here, there) if number % 2 else (there, here)
            await asyncio.gather(approve(yes, call), no.send(type="reject", call_id=call["call_id"], reason="No."))
            await asyncio.gather(*(tab.until(decides(call)) for tab in (here, there)))
        await asyncio.gather(here.until_idle(), there.until_idle())
        refusals = [await settled(tab) for tab in (here, there)]
        assert here.state == there.state
        states = Counter(call["state"] for call in calls_of(here).values())
        ran = [f"{number}" for number, call in enumerate(calls_of(here).values()) if call["state"] == "succeeded"]
    assert Counter(frame["ref"] for tab in refusals for frame in tab) == {call["call_id"]: 1 for call in calls}
    assert states["succeeded"] + states["rejected"] == CALLS_A_TURN
    assert sorted(ledger.lines) == sorted(ran)
    figures.show(f"a yes and a no at once: {states['succeeded']} times the yes, {states['rejected']} times the no")


@both_dialects
async def test_a_yes_to_something_else_than_what_is_shown_is_refused(
    place: Place, ledger: Ledger, dialect: Dialect
) -> None:
    place.answers(calling(shell(ledger.note("one")), shell(ledger.note("two")), dialect=dialect))
    async with place.socket() as wire:
        await wire.say("Run them.")
        one, two = await proposed(wire)
        refuses = Refuses(place, wire)
        for digest in (OTHER_DIGEST, two["digest"], one["digest"].upper(), one["digest"][:-1], ""):
            await refuses("wrong_digest", type="approve", call_id=one["call_id"], digest=digest)
        for nobody in (NO_SUCH_CALL, "call_0_0", one["message_id"], ""):
            await refuses("not_found", type="approve", call_id=nobody, digest=one["digest"])
            await refuses("not_found", type="reject", call_id=nobody)
        for wrong in ({}, {"command": 5}, {"command": None}, {"code": "1"}, {"command": "true", "more": 1}):
            await refuses(
                "invalid_arguments",
                type="approve",
                call_id=one["call_id"],
                digest=one["digest"],
                arguments=wrong,
                scope="conversation",
            )
        for choice in ("run_again", "continue"):
            await refuses("already_decided", type="resolve_unknown", call_id=one["call_id"], choice=choice)
        # All of it left them as they were.
        for call in (one, two):
            await approve(wire, call)
        await wire.until_idle()
    assert ledger.lines == ["one", "two"]


@both_dialects
async def test_a_decision_is_made_once(place: Place, ledger: Ledger, dialect: Dialect) -> None:
    slow = f"{ledger.note('slow')}; {ledger.wait_for('gate')}"
    calls = (shell(slow), shell(ledger.note("no")), shell(ledger.note("never")))
    place.answers(calling(*calls, dialect=dialect))
    async with place.socket() as wire:
        await wire.say("Run them.")
        yes, no, waiting = await proposed(wire)
        refuses = Refuses(place, wire)
        await approve(wire, yes)
        await until_output(wire)
        await refuses.every_decision("already_decided", yes)
        ledger.open("gate")
        await until_state(wire, yes, "succeeded")
        await refuses.every_decision("already_decided", yes)
        await wire.send(type="reject", call_id=no["call_id"], reason="Not that one.")
        await until_state(wire, no, "rejected")
        await refuses.every_decision("already_decided", no)
        await wire.send(type="stop")
        await wire.until_idle()
        for call in (yes, no, waiting):
            await refuses.every_decision("not_found", call)
        assert [call["state"] for call in calls_of(wire).values()] == ["succeeded", "rejected", "stopped"]

        # Nothing of what was refused allowed the tool for the conversation.
        place.answers(calling(shell(ledger.note("asked")), dialect=dialect))
        await wire.say("And now?")
        await approve(wire, (await proposed(wire))[0])
        await wire.until_idle()
    assert ledger.lines == ["slow", "asked"]


@both_dialects
async def test_a_decision_while_the_model_answers_is_refused(place: Place, ledger: Ledger, dialect: Dialect) -> None:
    gate = Gate()
    place.answers(calling(shell(ledger.note("once")), dialect=dialect, then=(Say(text="So"), Wait(gate=gate))))
    async with place.socket() as wire:
        await wire.say("Run it.")
        (call,) = await proposed(wire)
        await approve(wire, call)
        await wire.until_text()
        refuses = Refuses(place, wire)
        assert wire.state["phase"] == "generating"
        await refuses.every_decision("not_found", call)
        assert wire.state["phase"] == "generating"
        gate.open()
        await wire.until_idle()
    assert ledger.lines == ["once"]


async def test_a_call_is_decided_in_its_own_conversation_by_its_owner(place: Place, ledger: Ledger) -> None:
    place.answers(calling(shell(ledger.note("mine"))))
    stranger = Person(place.server.base).sign_up("stranger")
    async with place.socket() as wire:
        await wire.say("Run it.")
        (call,) = await proposed(wire)
        for somebody in (place.person, stranger):
            other = Place(
                server=place.server,
                upstream=place.upstream,
                person=somebody,
                conversation=somebody.new_conversation(),
            )
            async with other.socket() as elsewhere:
                # While idle, and while a call of its own waits.
                await Refuses(place, elsewhere).every_decision("not_found", call)
                await elsewhere.say("Run it.")
                await proposed(elsewhere)
                await Refuses(place, elsewhere).every_decision("not_found", call)
        before = rows(place.server)
        async with stranger.socket(f"/ws{place.path}?format=json") as intruder:
            # It may be closed already.
            with suppress(ConnectionClosed):
                await approve(intruder, call)
            assert await intruder.closed() == NOT_FOUND
        assert intruder.frames == []
        assert rows(place.server) == before
        await approve(wire, call)
        await wire.until_idle()
    assert ledger.lines == ["mine"]


class Refuses:
    """Sees that a frame is refused and that nothing changes: no `seq`, no row, no question to the model, no run."""

    def __init__(self, place: Place, wire: Wire) -> None:
        self._place = place
        self._wire = wire

    async def __call__(self, code: str, **frame: Any) -> None:
        before = await self._everything()
        await self._wire.send(**frame)
        error = await self._wire.until_error()
        assert error["code"] == code, error
        assert error.get("ref", "") == frame["call_id"]
        assert await self._everything() == before

    async def every_decision(self, code: str, call: Frame) -> None:
        """Each decision that there is, on a call that waits for none."""
        named = {"call_id": call["call_id"]}
        yes = {"type": "approve", "digest": call["digest"], **named}
        await self(code, **yes)
        await self(code, **yes, arguments={"command": "echo edited >> .runs"})
        await self(code, **yes, scope="conversation")
        await self(code, type="reject", reason="No.", **named)
        for choice in ("run_again", "continue"):
            await self(code, type="resolve_unknown", choice=choice, **named)

    async def _everything(self) -> tuple[Any, ...]:
        await self._wire.send(type="sync", after=0)
        whole = await self._wire.until(lambda frame: frame.get("full") is True)
        asked = [exchange.request.body for exchange in self._place.upstream.exchanges]
        return whole, rows(self._place.server), asked, Ledger(self._place.conversation).lines


async def settled(tab: Wire) -> list[Frame]:
    """The refusals that this socket got; what was sent on it has been answered."""
    await tab.send(type="sync", after=0)
    await tab.until(lambda frame: frame.get("full") is True)
    return [frame for frame in tab.frames if frame["type"] == "error"]


def is_event(frame: Frame, *names: str) -> bool:
    """Whether it tells of such an event, and not of the whole."""
    return frame.get("event_type") in names and not frame["full"]


def decides(call: Frame) -> Callable[[Frame], bool]:
    """Whether a frame tells that this call waits for nobody any more."""

    def does(frame: Frame) -> bool:
        calls = frame.get("tool_calls", ())
        return any(each["call_id"] == call["call_id"] and each["state"] != "proposed" for each in calls)

    return does
