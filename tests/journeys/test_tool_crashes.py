"""What becomes of calls, and of what a person allowed, when the server dies or is asked to end."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from chat.core.orders import UNKNOWN_RESULT
from chat.llm.scripted import ScriptedServer
from chat.performers.call_tool import LEFT_RESULT
from tests.journeys.place import Place
from tests.journeys.serving import serving
from tests.journeys.tooling import (
    Ledger,
    approve,
    calling,
    calls_of,
    leaving_nothing,
    marked,
    proposed,
    python,
    rows,
    shell,
    site_with_tools,
    until_output,
    until_state,
)
from tests.needs import missing
from tests.server import Person, ServerProcess

# So long that no test sees the end of it: who died is told by the lock that went with it.
HEARTBEAT_TIMEOUT_S = "3600"
# Several heartbeats, in which nothing may happen by itself.
QUIET_S = 1.5


@pytest.fixture(scope="module")
def server(upstream: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of its own, because it is killed."""
    folder = tmp_path_factory.mktemp("tool-crashes")
    running = site_with_tools(
        folder,
        upstream.base_url,
        AGENT_HEARTBEAT_INTERVAL_S="0.3",
        AGENT_HEARTBEAT_TIMEOUT_S=HEARTBEAT_TIMEOUT_S,
    )
    with leaving_nothing(running):
        running.start()
        yield running


@pytest.fixture
def ledger(place: Place) -> Ledger:
    """What ran in this conversation."""
    return Ledger(place.conversation)


def another(place: Place) -> Place:
    """A further conversation of the same person."""
    return Place(
        server=place.server,
        upstream=place.upstream,
        person=place.person,
        conversation=place.person.new_conversation(),
    )


async def test_an_outcome_that_was_lost_in_a_crash_waits_for_a_person(place: Place, ledger: Ledger) -> None:
    place.answers(calling(shell(f"{ledger.note('ran')}; {ledger.wait_for('gate')}")))
    async with place.socket() as before:
        await before.say("Run it.")
        (call,) = await proposed(before)
        await approve(before, call)
        await until_output(before)
        place.server.kill()
    await asyncio.to_thread(place.server.start)
    for ends_by in (signal.SIGKILL, signal.SIGTERM, None):
        async with place.socket() as wire:
            (lost,) = wire.state["tool_calls"]
            assert (lost["call_id"], lost["state"], "result" in lost) == (call["call_id"], "unknown", False)
            assert wire.state["phase"] == "awaiting_approval"
            everything = rows(place.server)
            with pytest.raises(TimeoutError):
                await wire.receive(within_s=QUIET_S)
            assert rows(place.server) == everything
            # A yes to the arguments is no answer to the question whether to run them again.
            await approve(wire, call)
            assert (await wire.until_error())["code"] == "already_decided"
            await wire.send(type="reject", call_id=call["call_id"])
            assert (await wire.until_error())["code"] == "already_decided"
        _, page = place.person.get(place.path)
        assert 'data-call-state="unknown"' in page
        if ends_by is not None:
            place.server.stop(ends_by)
            await asyncio.to_thread(place.server.start)
    assert ledger.lines == ["ran"]
    assert len(place.upstream.exchanges) == 1


@pytest.mark.parametrize("choice", ["run_again", "continue"])
async def test_a_person_has_it_run_again_or_goes_on_without(place: Place, ledger: Ledger, choice: str) -> None:
    place.answers(calling(shell(f"{ledger.note('ran')}; {ledger.wait_for('gate')}")))
    async with place.socket() as before:
        await before.say("Run it.")
        (call,) = await proposed(before)
        await approve(before, call)
        await until_output(before)
        place.server.kill()
    ledger.open("gate")
    await asyncio.to_thread(place.server.start)
    async with place.socket() as here, place.socket() as there:
        for tab in (here, there):
            await tab.send(type="resolve_unknown", call_id=call["call_id"], choice=choice)
        await asyncio.gather(here.until_idle(), there.until_idle())
        known = calls_of(here)[call["call_id"]]
        assert known == calls_of(there)[call["call_id"]]
        await here.send(type="resolve_unknown", call_id=call["call_id"], choice=choice)
        assert (await here.until_error())["code"] == "not_found"
    is_again = choice == "run_again"
    assert ledger.lines == (["ran", "ran"] if is_again else ["ran"])
    assert (known["state"], known["result"]) == (("succeeded", "ran") if is_again else ("unknown", UNKNOWN_RESULT))
    assert [result.content for result in place.prompt().tool_results] == [known["result"]]
    assert place.transcript()[-1] == ("assistant", "complete", "Done.")


async def test_all_that_a_killed_server_had_begun_is_taken_over_at_once(place: Place, ledger: Ledger) -> None:
    other = another(place)
    place.answers(calling(*(shell(f"{ledger.note('ran')}; {ledger.wait_for('gate')}") for _ in range(2))))
    async with place.socket() as here, other.socket() as there:
        for wire in (here, there):
            await wire.say("Run them.")
            for call in await proposed(wire):
                await approve(wire, call)
                await until_state(wire, call, "running")
            await until_output(wire)
        place.server.kill()
    await asyncio.to_thread(place.server.start)
    for each in (place, other):
        async with each.socket() as wire:
            assert [call["state"] for call in wire.state["tool_calls"]] == ["unknown", "unknown"]
            for call in wire.state["tool_calls"]:
                await wire.send(type="resolve_unknown", call_id=call["call_id"], choice="continue")
            await wire.until_idle()


@pytest.fixture
def gate() -> Iterator[Path]:
    """A bubblewrap, in a folder that everybody can reach, that works once, and then waits for this file each time."""
    real = shutil.which("bwrap")
    if real is None:
        missing("bubblewrap is not installed")
    with tempfile.TemporaryDirectory(prefix="agentsite-") as made:
        gate, gated = Path(made) / "gate", Path(made) / "bwrap"
        # Once: before it answers, the server tries whether there is a sandbox to be had at all.
        waiting = f"mkdir {made}/once 2>/dev/null || until [ -e {gate} ]; do [ -e $0 ] || exit 1; sleep 0.02; done"
        gated.write_text(f'#!/bin/sh\n{waiting}\nexec {real} "$@"\n')
        gated.chmod(0o755)
        gate.parent.chmod(0o777)
        yield gate


@pytest.fixture
def early(upstream: ScriptedServer, gate: Path, tmp_path: Path) -> Iterator[ServerProcess]:
    """A site that answers, while its sandbox comes up as long as the gate is closed."""
    server = site_with_tools(tmp_path, upstream.base_url, PATH=f"{gate.parent}:{os.environ['PATH']}")
    with leaving_nothing(server), serving(server):
        yield server


async def test_a_yes_while_the_sandbox_still_comes_up_waits_for_it(
    upstream: ScriptedServer, early: ServerProcess, gate: Path
) -> None:
    person = Person(early.base).log_in()
    place = Place(server=early, upstream=upstream, person=person, conversation=person.new_conversation())
    ledger = Ledger(place.conversation)
    place.answers(calling(shell(ledger.note("ran"))))
    async with place.socket() as wire:
        await wire.say("Run it.")
        (call,) = await proposed(wire)
        await approve(wire, call)
        await until_state(wire, call, "running")
        await asyncio.to_thread(gate.touch)
        await wire.until_idle()
        assert calls_of(wire)[call["call_id"]]["state"] == "succeeded"
    assert ledger.lines == ["ran"]


async def test_a_server_that_is_asked_to_end_stops_its_tools_and_the_next_one_goes_on(
    place: Place, ledger: Ledger
) -> None:
    marker = "asked-to-end"
    place.answers(calling(shell(f"trap '' INT TERM; {ledger.note(marker)}; {ledger.wait_for('gate')}")))
    async with place.socket() as wire:
        await wire.say("Run it.")
        (call,) = await proposed(wire)
        await approve(wire, call)
        await until_output(wire)
        assert marked(marker)
        assert await asyncio.to_thread(place.server.stop) == 0
        assert marked(marker) == []
    await asyncio.to_thread(place.server.start)
    async with place.socket() as wire:
        if wire.state["phase"] != "idle":
            await wire.until_idle()
        await wire.send(type="sync", after=0)
        whole = await wire.until(lambda frame: frame.get("full") is True)
        assert [(one["state"], one["result"]) for one in whole["tool_calls"]] == [("stopped", LEFT_RESULT)]
    assert [result.content for result in place.prompt().tool_results] == [LEFT_RESULT]
    assert ledger.lines == [marker]


async def test_a_tool_that_is_allowed_for_the_conversation_is_not_asked_for_until_that_is_taken_back(
    place: Place, ledger: Ledger
) -> None:
    place.answers(
        lambda request: calling(
            *(shell(ledger.note(word)) for word in request.last_user_text.split() if word != "cell"),
            *(python("1") for word in request.last_user_text.split() if word == "cell"),
        )(request)
    )
    async with place.socket() as wire:
        await wire.say("one")
        await approve(wire, (await proposed(wire))[0], scope="conversation")
        await wire.until_idle()

    async def runs_unasked(words: str) -> None:
        async with place.socket() as wire:
            await wire.say(words)
            await wire.until_idle()
            assert not any(frame.get("phase") == "awaiting_approval" for frame in wire.frames)

    async def is_asked_for(words: str, *, where: Place = place, tools: tuple[str, ...] = ("run_shell",)) -> None:
        async with where.socket() as wire:
            await wire.say(words)
            assert tuple(call["tool"] for call in await proposed(wire)) == tools
            await wire.send(type="stop")
            await wire.until_idle()

    await runs_unasked("two three")
    await is_asked_for("cell", tools=("execute_python",))
    await is_asked_for("elsewhere", where=another(place))
    place.server.kill()
    await asyncio.to_thread(place.server.start)
    await runs_unasked("four")
    assert ledger.lines == ["one", "two", "three", "four"]
    async with place.socket() as wire:
        await wire.send(type="tool_revoke", tool="run_shell")
        await wire.until_event("tool_allowance_revoked")
        await wire.send(type="tool_revoke", tool="run_shell")
        assert (await wire.until_error())["code"] == "unchanged"
    await is_asked_for("five")
    place.server.kill()
    await asyncio.to_thread(place.server.start)
    await is_asked_for("six")
    assert ledger.lines == ["one", "two", "three", "four"]


def test_the_log_gives_the_rows(server: ServerProcess) -> None:
    checked = server.manage("check_replay")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.endswith(" 0 differences\n")
    assert "Traceback" not in server.log.read_text()
