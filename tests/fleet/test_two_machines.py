"""Two machines, each with a web process and a worker; PostgreSQL and Redis are on the first. The cable is pulled.

What is on the second machine then reaches the model and its readers, but neither the database nor Redis.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import CallTool, Ending, Say, ScriptedRequest, Step
from tests.fleet.fleet import Fleet, Seat
from tests.fleet.ground import CALL_OWNER, Ground
from tests.fleet.links import network
from tests.fleet.machine import HERE
from tests.fleet.machines import Machines, apart, two_machines
from tests.fleet.postgres import postgres
from tests.fleet.redis import redis
from tests.fleet.tab import Tab, fresh_picture
from tests.journeys import figures
from tests.patient import tools as patient
from tests.processes import wait_until

CUT_S = float(os.environ.get("CUT_S") or 20)
TAKEN_OVER_WITHIN_S = 10.0
FAR_S = 120.0
CHATS = 6
# Longer than the time after which a silent process is held to be dead, and shorter than the cut.
LONG = "".join(f" word-{number}" for number in range(150))
TOKEN_DELAY_S = 0.05

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def machines() -> Iterator[Machines]:
    """Two of them, and a cable."""
    with two_machines() as made:
        yield made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the patient tools leave what they did."""
    return tmp_path_factory.mktemp("machines")


@pytest.fixture(scope="module")
def running(machines: Machines, upstream: ScriptedServer, folder: Path) -> Iterator[Ground]:
    """A site on both machines, with its heartbeats as they are by default."""
    with network() as net, postgres(machines.one) as database, redis(machines.one) as layer:
        name = database.new_database()
        host, port = upstream.base_url.removeprefix("http://").removesuffix("/v1").split(":")
        ways = [net.link((host, int(port)), at=gateway) for gateway in machines.gateways]

        def seat_of(process: str) -> Seat:
            if process == "manage":
                url = database.url(name, address=machines.one.outside)
                return Seat(database_url=url, redis_url=layer.url(), upstream=upstream.base_url, machine=HERE)
            number = int(process[-1])
            return Seat(
                database_url=database.url(name),
                redis_url=layer.url(),
                upstream=f"http://{machines.gateways[number].address}:{ways[number].port}/v1",
                machine=apart((machines.one, machines.other)[number]),
            )

        hosts = ",".join(("127.0.0.1", machines.one.outside, machines.other.outside))
        fleet = Fleet(folder, net, seat_of, {"ALLOWED_HOSTS": hosts, **patient.environ(folder)})
        try:
            fleet.start(within_s=FAR_S)
            yield Ground(fleet=fleet, database=database, database_name=name, layer=layer, upstream=upstream, links={})
        finally:
            fleet.close()


@pytest.fixture
def site(running: Ground, machines: Machines) -> Iterator[Ground]:
    """The same, and a model that was asked nothing yet. Afterwards every log gives its rows."""
    running.upstream.exchanges.clear()
    running.upstream.script = script
    yield running
    machines.plug_it_in()
    running.mend()
    running.check_replay()


def script(request: ScriptedRequest) -> tuple[Step, ...]:
    """Calls a tool that waits at a gate, or streams for a while."""
    text = request.last_user_text
    if text.startswith("tool") and not request.tool_results:
        return (CallTool(name="note", arguments=f'{{"label": "{text}", "gate": "{text}"}}'),)
    return (Say(text=answer(text), delay_s=TOKEN_DELAY_S),)


def answer(question: str) -> str:
    """What the model says to it."""
    return f"re: {question}{LONG}" if question.startswith("long") else f"re: {question}"


async def test_two_machines_cut_off_from_each_other_agree_when_they_are_joined_again(
    site: Ground, machines: Machines, folder: Path
) -> None:
    here, there = (site.person(web=number) for number in range(2))
    far_worker = site.fleet.workers[1]
    async with AsyncExitStack() as opened:
        pairs: list[tuple[Tab, Tab]] = []
        for _ in range(CHATS):
            conversation = await asyncio.to_thread(here.new_conversation)
            one = await opened.enter_async_context(Tab(here, conversation))
            pairs.append((one, await opened.enter_async_context(Tab(there, conversation))))
        tools = pairs[: CHATS // 2]
        for number, (tab, _) in enumerate(pairs):
            await tab.say(f"tool {number}" if number < CHATS // 2 else f"long {number}")
        for number, (tab, _) in enumerate(pairs):
            if number < CHATS // 2:
                await tab.until(lambda tab: any(call["state"] == "running" for call in tab.calls.values()))
            else:
                await tab.until(lambda tab: any(tab.texts.values()), what="text")
        lost_tools = [
            tab
            for tab, _ in tools
            if await asyncio.to_thread(site.performer, tab.conversation, CALL_OWNER) is far_worker
        ]
        asked_before = len(site.upstream.exchanges)

        machines.pull_the_cable()
        cut_at_s = time.monotonic()
        for number in range(CHATS // 2):
            patient.open_gate(folder, f"tool {number}")
        # On the first machine everything goes on, with what the second one had.
        for tab in lost_tools:
            await tab.until(lambda tab: lost(tab) != [], within_s=FAR_S, what="an outcome to be lost")
            await tab.send(type="resolve_unknown", call_id=lost(tab)[0], choice="continue")
        for tab, _ in pairs:
            await tab.until_idle(within_s=FAR_S)
        went_on_s = time.monotonic() - cut_at_s
        await pairs[0][0].say("near")
        # From the second one nothing can be said: it is said again until somebody hears it.
        far = asyncio.create_task(pairs[1][1].say("far", within_s=FAR_S))
        await pairs[0][0].until_idle()
        await asyncio.sleep(max(0.0, CUT_S - (time.monotonic() - cut_at_s)))
        assert not far.done()
        pictures = {tab.conversation: tab.picture() for tab, _ in pairs[2:]}

        machines.plug_it_in()
        healed_at_s = time.monotonic()
        await far
        for tab, other in pairs:
            await asyncio.gather(tab.until_idle(within_s=FAR_S), other.until_idle(within_s=FAR_S))
            await other.until(lambda other, tab=tab: other.picture() == tab.picture(), within_s=FAR_S)  # type: ignore[misc]
        healed_s = time.monotonic() - healed_at_s
        # What the second machine had done meanwhile came too late to change anything.
        for tab, other in pairs[2:]:
            assert tab.picture() == other.picture() == pictures[tab.conversation]
        for tab, _ in pairs:
            for person in (here, there):
                assert await fresh_picture(person, tab.conversation) == tab.picture()
        said = [[text for text in tab.texts.values() if text] for tab, _ in pairs]
    labels = [each.label for each in patient.executions(folder)]
    assert sorted(labels) == [f"tool {number}" for number in range(CHATS // 2)]
    assert said[0][-1] == "re: near"
    assert said[1][-1] == "re: far"
    for number in range(CHATS // 2, CHATS):
        assert said[number] == [answer(f"long {number}")]
    figures.show(
        f"two machines cut off for {CUT_S:g} s: {len(lost_tools)} tools lost, "
        f"{len(site.upstream.exchanges) - asked_before} questions to the model since; "
        f"all done on the first after {went_on_s:.1f} s, the same on both {healed_s:.1f} s after the end"
    )


async def test_a_worker_killed_on_another_machine_is_replaced_in_seconds(site: Ground) -> None:
    person = site.person(web=0)
    worker = site.fleet.workers[1]
    async with AsyncExitStack() as opened:
        tabs = []
        for number in range(CHATS):
            conversation = await asyncio.to_thread(person.new_conversation)
            tab = await opened.enter_async_context(Tab(person, conversation))
            await tab.say(f"long {number}")
            await tab.until(lambda tab: any(tab.texts.values()), what="text")
            tabs.append(tab)
            if await asyncio.to_thread(site.performer, conversation) is worker:
                break
        question = f"long {len(tabs) - 1}"
        worker.kill()
        killed_at_s = time.monotonic()

        def asked() -> list[float]:
            known = list(site.upstream.exchanges)
            return [each.request.arrived_at_s for each in known if each.request.last_user_text == question]

        await asyncio.to_thread(wait_until, lambda: len(asked()) > 1, within_s=FAR_S, what="the question to come again")
        took_s = asked()[1] - killed_at_s
        for tab in tabs:
            await tab.until_idle(within_s=FAR_S)
        assert list(tabs[-1].texts.values()) == [answer(question)]
    endings = [each.ending for each in site.upstream.exchanges if each.request.last_user_text == question]
    assert endings == [Ending.CLOSED_BY_CLIENT, Ending.COMPLETED]
    figures.show(f"a worker killed on another machine: the model is asked again after {took_s:.1f} s")
    assert took_s < TAKEN_OVER_WITHIN_S


def lost(tab: Tab) -> list[str]:
    """The calls whose outcome a person has to decide on."""
    return [key for key, call in tab.calls.items() if call["state"] == "unknown" and "result" not in call]
