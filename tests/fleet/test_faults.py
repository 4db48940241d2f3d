"""Any part of a site of several processes dies or stands still: nobody loses anything, and nothing is done twice."""

from __future__ import annotations

import asyncio
import itertools
import os
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import CallTool, Ending, Exchange, Say, ScriptedRequest, Step
from tests.fleet.ground import CALL_OWNER, Ground, ground
from tests.fleet.tab import Tab, fresh_picture
from tests.journeys import figures
from tests.patient import tools as patient
from tests.processes import wait_until

# The whole of what is promised is 30 s; the suite looks at less of it.
REDIS_OUTAGE_S = float(os.environ.get("REDIS_OUTAGE_S") or 8)
ROLLING_STREAMS = int(os.environ.get("ROLLING_STREAMS") or 50)
HEARTBEAT_TIMEOUT_S = 3.0
TAKEN_OVER_WITHIN_S = 10.0
STOPPED_WITHIN_S = 2.0
FAR_S = 120.0
WORDS = 120
LONG = "".join(f" word-{number}" for number in range(WORDS))
TOKEN_DELAY_S = 0.03

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the patient tools leave what they did."""
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def running(upstream: ScriptedServer, folder: Path) -> Iterator[Ground]:
    """Two web processes, two workers."""
    with ground(
        folder,
        upstream,
        {
            "AGENT_HEARTBEAT_INTERVAL_S": "0.5",
            "AGENT_HEARTBEAT_TIMEOUT_S": str(HEARTBEAT_TIMEOUT_S),
            "AGENT_DRAIN_TIMEOUT_S": "2",
            **patient.environ(folder),
        },
    ) as made:
        yield made


@pytest.fixture
def site(running: Ground) -> Iterator[Ground]:
    """The same, whole again, and a model that was asked nothing yet. Afterwards every log gives its rows."""
    running.mend()
    running.upstream.exchanges.clear()
    running.upstream.script = streaming
    yield running
    running.mend()
    running.check_replay()


def streaming(request: ScriptedRequest) -> tuple[Step, ...]:
    """Echoes what was said last, and streams for a while when it is long."""
    text = request.last_user_text
    return (Say(text=f"re: {text}{LONG}" if text.startswith("long") else f"re: {text}", delay_s=TOKEN_DELAY_S),)


def answer(question: str) -> str:
    """What `streaming` says to it."""
    return f"re: {question}{LONG}" if question.startswith("long") else f"re: {question}"


@asynccontextmanager
async def tabs(site: Ground, conversation: str = "") -> AsyncIterator[tuple[Tab, Tab]]:
    """One conversation, open at each web process."""
    here, there = (site.person(web=number) for number in range(2))
    opened = conversation or here.new_conversation()
    async with Tab(here, opened) as one, Tab(there, opened) as other:
        for tab in (one, other):
            await tab.until(lambda tab: tab.is_online, what="a tab to be shown something")
        yield one, other


async def asked_again(site: Ground, question: str, after: int) -> Exchange:
    """The model's record of the first time that it was asked this again."""
    found: list[Exchange] = []

    def look() -> bool:
        # A copy: the server's thread adds to it.
        found[:] = [each for each in list(site.upstream.exchanges)[after:] if each.request.last_user_text == question]
        return bool(found)

    await asyncio.to_thread(wait_until, look, within_s=FAR_S, what=f"{question!r} to be asked again")
    return found[0]


async def all_see_the_same(site: Ground, *shown: Tab) -> None:
    """Every tab, a fresh one at each web process, and the export."""
    conversation = shown[0].conversation
    for tab in shown:
        await tab.until_idle()
    fresh = [await fresh_picture(site.person(web=number), conversation) for number in range(len(site.fleet.webs))]
    for tab in shown:
        for picture in fresh:
            assert tab.picture() == picture


async def streams_to(tab: Tab, characters: int) -> None:
    """Until so much of the newest answer is there."""
    await tab.until(lambda tab: any(characters <= len(text) for text in list(tab.texts.values())[-1:]), what="text")


async def test_a_worker_killed_in_mid_stream_is_replaced_by_another_in_seconds(site: Ground) -> None:
    async with tabs(site) as (here, there):
        await here.say("long one")
        await streams_to(there, 100)
        worker = await asyncio.to_thread(site.performer, here.conversation)
        await asyncio.to_thread(worker.kill)
        killed_at_s = time.monotonic()
        again = await asked_again(site, "long one", after=1)
        took_s = again.request.arrived_at_s - killed_at_s
        await all_see_the_same(site, here, there)
        assert list(here.texts.values()) == [answer("long one")]
    figures.show(f"a worker killed in mid-stream: the model is asked again after {took_s:.2f} s")
    assert took_s < TAKEN_OVER_WITHIN_S
    assert site.completions() == {"long one": 1}


async def test_a_web_process_killed_in_mid_stream_costs_its_readers_a_reconnect_and_the_run_nothing(
    site: Ground,
) -> None:
    person = site.person()
    async with Tab(person, person.new_conversation()) as one, Tab(person, one.conversation) as other:
        await one.say("long one")
        for tab in (one, other):
            await streams_to(tab, 100)
        await asyncio.to_thread(site.fleet.webs[0].kill)
        await asyncio.gather(one.until_idle(), other.until_idle())
        assert one.picture() == other.picture()
        assert list(one.texts.values()) == [answer("long one")]
        assert one.connected_count + other.connected_count == 3
        away_s = max(one.longest_away_s, other.longest_away_s)
    figures.show(f"a web process killed in mid-stream: its reader was away for {away_s:.2f} s")
    assert site.questions() == {"long one": 1}


async def test_without_redis_chats_go_on_stop_works_and_all_heals_by_itself(site: Ground) -> None:
    stops_s, answers_s = [], []
    async with tabs(site) as (here, there), tabs(site) as (stopped, looks_on):
        await here.say("long one")
        await stopped.say("long and never finished")
        await streams_to(there, 100)
        await streams_to(looks_on, 50)
        site.layer.kill()
        gone_at_s = time.monotonic()
        stops_s.append(await stop(site, stopped, looks_on))
        number = 0
        while time.monotonic() - gone_at_s < REDIS_OUTAGE_S:
            number += 1
            asked_at_s = time.monotonic()
            async with tabs(site) as (asks, reads):
                await asks.say(f"without redis {number}")
                await asyncio.gather(asks.until_idle(), reads.until_idle())
                answers_s.append(time.monotonic() - asked_at_s)
                await asks.say(f"long without redis {number}")
                await streams_to(reads, 20)
                stops_s.append(await stop(site, asks, reads))
                await all_see_the_same(site, asks, reads)
        await all_see_the_same(site, here, there)
        assert list(here.texts.values()) == [answer("long one")]

        site.layer.start()
        back_at_s = time.monotonic()
        lag_s = FAR_S
        while lag_s > 0.5:
            # Text crosses processes as it streams again, not a checkpoint at a time.
            assert time.monotonic() - back_at_s < FAR_S, f"text still lags {lag_s:.1f} s behind"
            lag_s = await crossing_s(here, there)
        healed_s = time.monotonic() - back_at_s
        await all_see_the_same(site, here, there)
    figures.show(f"Redis gone for {REDIS_OUTAGE_S:g} s: healed {healed_s:.1f} s after it was back")
    figures.show_times("  without Redis: a new chat opened and answered, seen by both web processes", answers_s)
    figures.show_times("  without Redis: from Stop to idle and the model's connection closed", stops_s)
    assert max(stops_s) < STOPPED_WITHIN_S
    assert max(site.completions().values()) == 1


async def stop(site: Ground, presses: Tab, looks_on: Tab) -> float:
    """Press Stop. Seconds until both tabs say idle and the model server's connection is closed."""
    exchange = max(
        (
            each
            for each in site.upstream.exchanges
            if each.request.last_user_text == list(presses.messages.values())[-2]["content"]
        ),
        key=lambda each: each.request.number,
    )
    sent_at_s = time.monotonic()
    await presses.send(type="stop")
    await asyncio.gather(*(tab.until(lambda tab: tab.phase == "idle") for tab in (presses, looks_on)))
    idle_s = time.monotonic() - sent_at_s
    assert await exchange.ended() is Ending.CLOSED_BY_CLIENT
    assert exchange.ended_at_s is not None
    return max(idle_s, exchange.ended_at_s - sent_at_s)


async def crossing_s(here: Tab, there: Tab) -> float:
    """Ask something; the longest time between two pieces of its answer, in the tab at the other web process."""
    there.heard_at_s.clear()
    await here.say("long again")
    await asyncio.gather(here.until_idle(), there.until_idle())
    return max((later - earlier for earlier, later in itertools.pairwise(there.heard_at_s)), default=FAR_S)


@pytest.mark.parametrize("by", ["kill -9", "an administrator"])
async def test_postgresql_restarted_under_streams_loses_nothing(site: Ground, by: str) -> None:
    async with AsyncExitStack() as opened:
        pairs = [await opened.enter_async_context(tabs(site)) for _ in range(4)]
        for here, _ in pairs:
            await here.say("long one")
            await here.say("second")
        for _, there in pairs:
            await streams_to(there, 50)
        await asyncio.to_thread(site.database.kill if by == "kill -9" else site.database.end)
        # Sent meanwhile: nobody can accept it, and it is sent again until somebody does.
        late = [asyncio.create_task(here.say("third", within_s=FAR_S)) for here, _ in pairs]
        await asyncio.sleep(1)
        await asyncio.to_thread(site.database.start)
        back_at_s = time.monotonic()
        await asyncio.gather(*late)
        for here, there in pairs:
            await all_see_the_same(site, here, there)
            said = [(row["role"], row["state"], row["content"]) for row in here.messages.values()]
            questions = ("long one", "second", "third")
            assert said == [
                row
                for question in questions
                for row in (("user", "complete", question), ("assistant", "complete", answer(question)))
            ]
    figures.show(f"PostgreSQL restarted ({by}): all answered {time.monotonic() - back_at_s:.1f} s after it was back")


async def test_a_rolling_restart_of_all_processes_under_streams_loses_nothing(site: Ground) -> None:
    people = [site.person() for _ in range(2)]
    questions = [f"long {number}" for number in range(ROLLING_STREAMS)]
    site.upstream.script = lambda request: (Say(text=answer(request.last_user_text), delay_s=4 * TOKEN_DELAY_S),)
    async with AsyncExitStack() as opened:
        shown: list[Tab] = []
        for number in range(ROLLING_STREAMS):
            person = people[number % 2]
            conversation = await asyncio.to_thread(person.new_conversation)
            shown.append(await opened.enter_async_context(Tab(person, conversation)))
        await asyncio.gather(*(tab.say(text) for tab, text in zip(shown, questions, strict=True)))
        for tab in shown:
            await streams_to(tab, 10)
        finishing = [asyncio.create_task(finished(tab)) for tab in shown]
        took_s = []
        for process in reversed(site.fleet.processes):
            ended_at_s = time.monotonic()
            assert await asyncio.to_thread(process.stop, signal.SIGTERM, within_s=FAR_S) == 0
            took_s.append(time.monotonic() - ended_at_s)
            await asyncio.to_thread(process.start)
        finished_at_s = await asyncio.gather(*finishing)
        for tab, question in zip(shown, questions, strict=True):
            said = [(row["role"], row["state"], row["content"]) for row in tab.messages.values()]
            assert said == [("user", "complete", question), ("assistant", "complete", answer(question))]
        away_s = max(tab.longest_away_s for tab in shown)
        codes = {code for tab in shown for code in tab.close_codes}
    for question, at_s in zip(questions, finished_at_s, strict=True):
        asked = [each for each in site.upstream.exchanges if each.request.last_user_text == question]
        assert asked[-1].ending is Ending.COMPLETED
        assert all(each.request.arrived_at_s < at_s for each in asked), (
            f"{question} was asked again when it had finished"
        )
    figures.show(
        f"rolling restart under {ROLLING_STREAMS} streams: {len(site.upstream.exchanges)} questions to the model, "
        f"longest away {away_s:.1f} s, close codes {sorted(str(code) for code in codes)}"
    )
    figures.show_times("  from SIGTERM to exit 0", took_s)


async def test_a_worker_that_stood_still_for_too_long_changes_nothing_when_it_goes_on(
    site: Ground, folder: Path
) -> None:
    def script(request: ScriptedRequest) -> tuple[Step, ...]:
        if request.last_user_text == "tool" and not request.tool_results:
            return (CallTool(name="note", arguments='{"label": "stood still", "gate": "stood-still"}'),)
        return streaming(request)

    site.upstream.script = script
    async with AsyncExitStack() as opened:
        here, there = await opened.enter_async_context(tabs(site))
        await here.say("tool")
        await here.until(lambda tab: any(call["state"] == "running" for call in tab.calls.values()), what="a tool")
        worker = await asyncio.to_thread(site.performer, here.conversation, CALL_OWNER)
        streams = [await opened.enter_async_context(tabs(site)) for _ in range(4)]
        for tab, _ in streams:
            await tab.say("long one")
        for _, tab in streams:
            await streams_to(tab, 50)
        held = [tab for tab, _ in streams if site.performer(tab.conversation) is worker]
        asked_before = len(site.upstream.exchanges)
        worker.pause()
        try:
            for tab in (here, there):
                await tab.until(lambda tab: lost(tab) != [], within_s=FAR_S, what="an outcome to be lost")
            assert here.phase == "awaiting_approval"
            patient.open_gate(folder, "stood-still")
            for tab, _ in streams:
                await tab.until_idle()
            await here.send(type="resolve_unknown", call_id=lost(there)[0], choice="continue")
            await asyncio.gather(here.until_idle(), there.until_idle())
            pictures = [tab.picture() for pair in ((here, there), *streams) for tab in pair]
        finally:
            worker.resume()
        # It goes on, says what it has done meanwhile, and finds that others did it.
        await asyncio.sleep(2 * HEARTBEAT_TIMEOUT_S)
        assert worker.is_running
        assert [tab.picture() for pair in ((here, there), *streams) for tab in pair] == pictures
        for pair in ((here, there), *streams):
            await all_see_the_same(site, *pair)
        for tab, _ in streams:
            assert list(tab.texts.values()) == [answer("long one")]
    ran = [each for each in patient.executions(folder) if each.label == "stood still"]
    assert len(ran) == 1
    figures.show(
        f"a worker that stood still: {len(held)} streams and a tool taken from it, "
        f"{len(site.upstream.exchanges) - asked_before} questions to the model since"
    )


async def finished(tab: Tab) -> float:
    """When this tab was told that nothing runs any more."""
    await tab.until_idle(within_s=3 * FAR_S)
    return time.monotonic()


def lost(tab: Tab) -> list[str]:
    """The calls whose outcome a person has to decide on."""
    return [key for key, call in tab.calls.items() if call["state"] == "unknown" and "result" not in call]
