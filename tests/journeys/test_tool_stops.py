"""A running tool is stopped: when the phase is idle, nothing of what it started runs any more.

What runs is told by /proc: each process of a tool bears a mark in its name or its command line.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
import uuid
from collections.abc import Iterator, Sequence

import pytest

from chat.core.orders import STOPPED_RESULT
from chat.llm.scripted import ScriptedServer
from tests.journeys import figures
from tests.journeys.place import FAR_S, Place
from tests.journeys.tooling import (
    Ledger,
    ModelCall,
    approve,
    at_work_in,
    calling,
    calls_of,
    marked,
    own_folders,
    proposed,
    python,
    serving_tools,
    shell,
    until_output,
)
from tests.processes import below
from tests.server import ServerProcess, Wire

ROUNDS = 7
ANY_MOMENT_ROUNDS = 20
# From the yes to the first output of a command are about 0.1 s.
LONGEST_WAIT_S = 0.15
SEED = int(os.environ.get("TOOL_STOP_SEED") or random.randrange(10**9))

# {mark} is the mark, {python} a Python inside. A process that is started by no other program is marked by its name.
SHELLS = {
    "sleeps": "echo on; exec -a {mark} sleep 1000",
    "traps every signal that can be trapped": (
        "trap '' INT TERM HUP QUIT PIPE; echo on {mark}; while :; do sleep 0.02; done"
    ),
    "has children in other sessions": (
        "for n in 1 2 3; do setsid bash -c '(exec -a {mark} sleep 1000 &) ; exec -a {mark} sleep 1000' & done; "
        "trap '' TERM; (trap '' INT TERM; exec -a {mark} sleep 1000) & echo on; wait"
    ),
    "floods": "echo {mark}; yes {mark}",
}
FORKING = """
import os, signal, subprocess, time

def name_it():
    with open("/proc/self/comm", "w") as name:
        name.write("{mark}")

for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if os.fork() == 0:
            name_it()
            while True:
                time.sleep(0.01)
        os._exit(0)
subprocess.Popen(["{mark}", "1000"], executable="/bin/sleep", start_new_session=True)
"""
CELLS = {
    "sleeps": "import subprocess\nsubprocess.Popen(['{mark}', '1000'], executable='/bin/sleep')\n"
    "print('on')\nimport time; time.sleep(1000)",
    "traps every signal that can be trapped": (
        "import signal, time\n"
        "for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP): signal.signal(number, signal.SIG_IGN)\n"
        "open('/proc/self/comm', 'w').write('{mark}')\nprint('on')\n"
        "while True:\n    try: time.sleep(0.01)\n    except BaseException: pass"
    ),
    "has children in other sessions": FORKING + "time.sleep(0.05); print('on'); time.sleep(1000)",
    "floods": "import subprocess\nsubprocess.Popen(['{mark}', '1000'], executable='/bin/sleep')\n"
    "while True: print('flood ' * 20)",
}
KINDS = {
    **{f"a command that {name}": (shell, command) for name, command in SHELLS.items()},
    **{f"a cell that {name}": (python, code) for name, code in CELLS.items()},
}


@pytest.fixture(scope="module")
def server(upstream: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A site with tools."""
    with serving_tools(tmp_path_factory.mktemp("tool-stops"), upstream.base_url) as running:
        yield running


@pytest.fixture
def mark() -> str:
    """What the processes of this test are known by; fits into a process's name."""
    return f"m{uuid.uuid4().hex[:12]}"


class Deaths:
    """When (`time.monotonic()`) each of some processes ended, as the kernel tells it."""

    def __init__(self, pids: Sequence[int]) -> None:
        self.at_s: dict[int, float] = {}
        self._all = asyncio.Event()
        self._open: dict[int, int] = {}
        for pid in pids:
            try:
                self._open[pid] = os.pidfd_open(pid)
            except ProcessLookupError:
                continue
        for pid, handle in self._open.items():
            asyncio.get_running_loop().add_reader(handle, self._note, pid, handle)

    async def all(self) -> float:
        """When the last one ended; now when there was none."""
        if self._open:
            async with asyncio.timeout(FAR_S):
                await self._all.wait()
        return max(self.at_s.values(), default=time.monotonic())

    def _note(self, pid: int, handle: int) -> None:
        self.at_s[pid] = time.monotonic()
        asyncio.get_running_loop().remove_reader(handle)
        os.close(handle)
        if len(self.at_s) == len(self._open):
            self._all.set()


async def begin(wire: Wire, call: ModelCall, place: Place) -> None:
    """Have the model make the call, and say yes to it."""
    place.answers(calling(call))
    await wire.say("Run it.")
    await approve(wire, (await proposed(wire))[0])


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", KINDS)
async def test_stop_ends_all_that_a_tool_has_started(place: Place, mark: str, kind: str) -> None:
    make, text = KINDS[kind]
    idle_s: list[float] = []
    dead_s: list[float] = []
    async with place.socket() as wire:
        for _ in range(ROUNDS):
            await begin(wire, make(text.replace("{mark}", mark)), place)
            await until_output(wire)
            alive = await asyncio.to_thread(marked, mark)
            assert alive, "there is nothing to be stopped"
            deaths = Deaths(alive)
            sent_at_s = time.monotonic()
            await wire.send(type="stop")
            await wire.until_idle(within_s=FAR_S)
            idle_s.append(time.monotonic() - sent_at_s)
            assert await asyncio.to_thread(marked, mark) == []
            dead_s.append(await deaths.all() - sent_at_s)
        states = [(call["state"], call["result"]) for call in calls_of(wire).values()]
    assert states == [("stopped", STOPPED_RESULT)] * ROUNDS
    both_s = [max(pair) for pair in zip(idle_s, dead_s, strict=True)]
    figures.show_times(f"stop of {kind}: all dead", dead_s)
    figures.show_times(f"stop of {kind}: idle and all dead", both_s)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["a command that sleeps", "a cell that sleeps"])
async def test_stop_at_any_moment_after_the_yes_leaves_nothing(place: Place, mark: str, kind: str) -> None:
    chance = random.Random(SEED)
    make, text = KINDS[kind]
    took_s: list[float] = []
    async with place.socket() as wire:
        for _ in range(ANY_MOMENT_ROUNDS):
            await begin(wire, make(text.replace("{mark}", mark)), place)
            await asyncio.sleep(chance.uniform(0, LONGEST_WAIT_S))
            sent_at_s = time.monotonic()
            await wire.send(type="stop")
            await wire.until_idle(within_s=FAR_S)
            took_s.append(time.monotonic() - sent_at_s)
            assert await asyncio.to_thread(marked, mark) == []
        states = {call["state"] for call in calls_of(wire).values()}
        sandboxes = at_work_in({*own_folders(place.server), Ledger(place.conversation).folder})
        assert set(sandboxes) <= {each.pid for each in below(place.server.pid)}
    assert states == {"stopped"}
    figures.show_times(f"stop at any moment of {kind} (TOOL_STOP_SEED={SEED}): idle and all dead", took_s)
