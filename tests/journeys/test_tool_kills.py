"""The plug is pulled at random moments around a yes and a run: no call is run twice, and a person decides what is lost.

`TOOL_KILLS` in the environment says how often, `TOOL_KILL_SEED` replays the moments; the seed is shown with the
figures. What ran is told by lines that each execution writes, with its time, and by /proc.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import os
import random
import re
import signal
import sqlite3
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, closing, suppress
from pathlib import Path
from statistics import median

import pytest
from websockets.exceptions import ConnectionClosed

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import ScriptedRequest, Step
from tests.journeys import figures
from tests.journeys.place import FAR_S, Place
from tests.journeys.tooling import (
    Ledger,
    ModelCall,
    approve,
    at_work_in,
    calling,
    calls_of,
    leaving_nothing,
    own_folders,
    python,
    shell,
    site_with_tools,
)
from tests.processes import Running, below, is_held, still_running, wait_until
from tests.server import Frame, ServerProcess, Wire

KILLS = int(os.environ.get("TOOL_KILLS") or 100)
SEED = int(os.environ.get("TOOL_KILL_SEED") or random.randrange(10**9))
CONVERSATIONS = 2
# A turn with its calls takes about 0.5 s: a kill finds anything from the yes on its way to all done.
LONGEST_TALK_S = 0.7
# Of the time that a start takes. What was lost is taken over at its end, and what nobody had begun is begun then.
PARTS_OF_START = (0.6, 1.2)
# Kernels come up after the server: now and then there is time for them.
LONG_TALK_S = 2.5
DECISIONS = ("run_again", "run_again", "continue")


@pytest.fixture(scope="module")
def server(upstream: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of its own, because it does not live long."""
    running = site_with_tools(tmp_path_factory.mktemp("tool-kills"), upstream.base_url)
    with leaving_nothing(running):
        running.start()
        yield running


def calls_of_turn(request: ScriptedRequest) -> Sequence[Step]:
    """Two commands, and now and then a cell; each says in its ledger that it runs, in the middle of its time."""
    name = request.last_user_text
    calls: list[ModelCall] = [
        shell(f"sleep 0.03; echo {name}-{number} $EPOCHREALTIME >> {Ledger.NAME}; sleep 0.05") for number in range(2)
    ]
    if int(name.partition(".")[2]) % 3 == 1:
        line = f"print('{name}-cell', time.time(), file=open('{Ledger.NAME}', 'a'), flush=True)"
        calls.insert(0, python(f"import time; {line}; time.sleep(0.05)"))
    return calling(*calls)(request)


class Talk:
    """A person in one conversation, who says yes to everything and decides on what was lost, whoever dies meanwhile."""

    def __init__(self, place: Place, number: int, chance: random.Random) -> None:
        self.place = place
        self.ledger = Ledger(place.conversation)
        self.yeses: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        self.choices: Counter[str] = Counter()
        self._number = number
        self._turn = 0
        self._unheard = ""
        self._chance = chance

    async def go_on(self, wire: Wire, *, begins: bool) -> None:
        """Do what can be done now. begins: also a new turn, when all is done."""
        done: set[tuple[str, str]] = set()
        while True:
            known = calls_of(wire)
            for call in known.values():
                is_new = (call["call_id"], call["state"]) not in done
                done.add((call["call_id"], call["state"]))
                if is_new and call["state"] == "proposed":
                    self.yeses[call["call_id"]] += 1
                    await approve(wire, call)
                elif is_new and call["state"] == "unknown" and "result" not in call:
                    await self._decide(wire, call)
            if wire.state["phase"] == "idle":
                if not begins:
                    return
                await self._say(wire)
            await wire.receive(within_s=FAR_S)

    async def _decide(self, wire: Wire, call: Frame) -> None:
        choice = self._chance.choice(DECISIONS)
        self.lost[call["call_id"]] += 1
        self.choices[choice] += 1
        if choice == "run_again":
            self.yeses[call["call_id"]] += 1
        await wire.send(type="resolve_unknown", call_id=call["call_id"], choice=choice)

    async def _say(self, wire: Wire) -> None:
        """The next turn; the same words again when nobody may have heard the last ones."""
        if self._unheard in wire.messages:
            self._unheard = ""
        if not self._unheard:
            self._turn += 1
            self._unheard = str(uuid.uuid4())
        await wire.say(f"{self._number}.{self._turn}", id=self._unheard)
        await wire.until_known(self._unheard)
        self._unheard = ""


def kill(server: ServerProcess) -> tuple[list[Running], set[Path]]:
    """`kill -9`. What it had started, and the folders that it had for itself."""
    # Held for the moment, so that it starts nothing that this look at it would miss.
    os.kill(server.pid, signal.SIGSTOP)
    try:
        wait_until(lambda: is_held(server.pid), within_s=FAR_S, what="a server to be held")
        return below(server.pid), own_folders(server)
    finally:
        server.kill()


def grants_of(server: ServerProcess) -> dict[str, list[float]]:
    """When (Unix time) a person said that a call may run, by the call: the yes, and each `run_again`."""
    with closing(sqlite3.connect(f"file:{server.folder}/db.sqlite3?mode=ro", uri=True)) as database:
        wishes = database.execute(
            "SELECT payload FROM chat_event WHERE name IN ('tool_approved', 'tool_unknown_resolved') ORDER BY id"
        ).fetchall()
    grants: dict[str, list[float]] = {}
    for wish in (json.loads(payload) for (payload,) in wishes):
        if wish.get("choice") != "continue":
            grants.setdefault(wish["call_id"], []).append(wish["at_ms"] / 1000)
    return grants


def check(talk: Talk, grants: dict[str, list[float]]) -> Counter[str]:
    """No yes was good for more than one execution; the states in which the calls of a conversation ended."""
    ran: dict[str, list[float]] = {}
    for line in talk.ledger.lines:
        name, at_s = line.split()
        ran.setdefault(name, []).append(float(at_s))
    calls = talk.place.export()["tool_calls"]
    for call in calls:
        found = re.search(r"\d+\.\d+-\w+", json.dumps(call["arguments"]))
        assert found
        runs_s = ran.pop(found[0], [])
        granted_s = grants[call["call_id"]]
        assert len(granted_s) <= talk.yeses[call["call_id"]]
        each = [
            sum(begin_s <= run_s < end_s for run_s in runs_s)
            for begin_s, end_s in itertools.pairwise([*granted_s, math.inf])
        ]
        assert sum(each) == len(runs_s), f"{call} ran before somebody said yes"
        assert max(each) <= 1, f"{call} ran twice: {runs_s} for {granted_s}"
        assert call["state"] in {"succeeded", "unknown"}, call
        assert call["state"] == "unknown" or each[-1] == 1, f"{call} did not run"
    assert ran == {}
    return Counter(call["state"] for call in calls)


@pytest.mark.timeout(900)
async def test_a_server_killed_at_random_moments_runs_no_call_twice(place: Place) -> None:
    moments, chance = random.Random(SEED), random.Random(SEED + 1)
    figures.show(f"kill -9 among tools: TOOL_KILLS={KILLS} TOOL_KILL_SEED={SEED}")
    place.answers(calls_of_turn)
    server = place.server
    others = [place.person.new_conversation() for _ in range(CONVERSATIONS - 1)]
    talks = [
        Talk(
            Place(server=server, upstream=place.upstream, person=place.person, conversation=conversation),
            number,
            chance,
        )
        for number, conversation in enumerate([place.conversation, *others])
    ]
    gone_s: list[float] = []
    folders: set[Path] = set()
    in_start = 0
    starts_s: list[float] = []

    async def pull_the_plug() -> None:
        tree, own = await asyncio.to_thread(kill, server)
        killed_at_s = time.monotonic()
        folders.update(own)
        await asyncio.to_thread(
            wait_until, lambda: not still_running(tree), within_s=FAR_S, what="the end of a sandbox"
        )
        gone_s.append(time.monotonic() - killed_at_s)

    async def talk_until_killed(talk: Talk, wire: Wire) -> None:
        with suppress(ConnectionClosed):
            await talk.go_on(wire, begins=True)

    began_at_s = time.monotonic()
    while len(gone_s) < KILLS:
        async with AsyncExitStack() as sockets:
            wires = [await sockets.enter_async_context(talk.place.socket()) for talk in talks]
            talking = [asyncio.create_task(talk_until_killed(*each)) for each in zip(talks, wires, strict=True)]
            await asyncio.sleep(moments.uniform(0, LONGEST_TALK_S if moments.random() < 0.9 else LONG_TALK_S))
            await pull_the_plug()
            await asyncio.gather(*talking)
        if moments.random() < 0.25 and len(gone_s) < KILLS:
            server.launch()
            await asyncio.sleep(moments.uniform(*PARTS_OF_START) * median(starts_s or [2.0]))
            await pull_the_plug()
            in_start += 1
        starting_at_s = time.monotonic()
        await asyncio.to_thread(server.start)
        starts_s.append(time.monotonic() - starting_at_s)
    for talk in talks:
        async with talk.place.socket() as wire:
            await talk.go_on(wire, begins=False)
    took_s = time.monotonic() - began_at_s

    tree = below(server.pid)
    assert server.stop() == 0
    checked = server.manage("check_replay")
    left = [*still_running(tree), *at_work_in({*folders, *(talk.ledger.folder for talk in talks)})]
    server.start()
    assert left == []
    assert [folder for folder in folders if folder.exists()] == []
    assert len(folders) > in_start
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "Traceback" not in server.log.read_text()
    grants = grants_of(server)
    states = sum((check(talk, grants) for talk in talks), Counter[str]())
    lines = sum(len(talk.ledger.lines) for talk in talks)
    lost = sum((talk.lost for talk in talks), Counter[str]())
    choices = sum((talk.choices for talk in talks), Counter[str]())
    figures.show(
        f"  {len(gone_s)} kills, {in_start} in a start, in {took_s:.0f} s; {sum(states.values())} calls, {lines} "
        f"executions, {lost.total()} outcomes lost ({dict(choices)}), ended {dict(states)}; {checked.stdout.strip()}"
    )
    figures.show_times("  started again", starts_s)
    figures.show_times("  the killed server's sandboxes gone", gone_s)
