"""What happens to the parts of a site while people use it: every few seconds something random, mended soon after.

Each fault of a run is drawn from its seed alone, so that a run can be replayed.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from tests.fleet.fleet import WebProcess, WorkerProcess
from tests.fleet.ground import Ground
from tests.fleet.postgres import PostgresProcess
from tests.fleet.redis import RedisProcess
from tests.processes import wait_until

Target = WebProcess | WorkerProcess | PostgresProcess | RedisProcess

EVERY_S = 5.0
START_WITHIN_S = 90.0
# From shorter than a heartbeat to longer than the time after which a silent process is held to be dead.
HELD_S = (0.5, 8.0)
GONE_S = (0.2, 4.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """One that is drawn. name: for the record. mend: ends it, after `lasts_s`."""

    name: str
    lasts_s: float
    happen: Callable[[], object]
    mend: Callable[[], object]


class Faults:
    """Draws faults and lets them happen, never two to the same part at once."""

    def __init__(self, site: Ground, seed: int) -> None:
        self.happened: Counter[str] = Counter()
        self.record: list[str] = []
        self._site = site
        self._chance = random.Random(seed)
        self._busy: set[str] = set()
        self._mending: set[asyncio.Task[None]] = set()

    async def go_on(self, seconds: float) -> None:
        """Every few seconds one, for so long; then all is whole again."""
        loop = asyncio.get_running_loop()
        began_s, number = loop.time(), 0
        while (number + 1) * EVERY_S < seconds:
            number += 1
            # On the hour, whatever the one before took: a slow machine sees no fewer faults.
            await asyncio.sleep(max(0.0, began_s + number * EVERY_S - loop.time()))
            part = self._chance.choice(self._parts())
            fault = self._draw(part)
            if part in self._busy:
                self.record.append(f"{number * EVERY_S:.0f} s: {fault.name} (not possible: it was being mended)")
                continue
            self.record.append(f"{number * EVERY_S:.0f} s: {fault.name} for {fault.lasts_s:.1f} s")
            self.happened[fault.name.partition(" ")[0]] += 1
            self._busy.add(part)
            task = asyncio.create_task(self._let_happen(part, fault), name=fault.name)
            self._mending.add(task)
        await asyncio.gather(*self._mending)

    async def _let_happen(self, part: str, fault: Fault) -> None:
        await asyncio.to_thread(fault.happen)
        await asyncio.sleep(fault.lasts_s)
        await asyncio.to_thread(fault.mend)
        self._busy.discard(part)

    def _parts(self) -> list[str]:
        fleet = self._site.fleet
        webs = [f"web-{number}" for number in range(len(fleet.webs))]
        workers = [f"worker-{number}" for number in range(len(fleet.workers))]
        links = [f"{process} {service}" for process, service in self._site.links]
        # Processes fall over more often than services, and single links as often as those.
        return [*webs, *workers, *workers, "redis", "postgres", *self._chance.sample(links, 2)]

    def _draw(self, part: str) -> Fault:
        chance = self._chance
        kind = chance.choice(("kill", "kill", "end", "hold", "hold"))
        held_s, gone_s = chance.uniform(*HELD_S), chance.uniform(*GONE_S)
        if " " in part:
            link = self._site.links[part.partition(" ")[0], part.partition(" ")[2]]
            if kind == "hold":
                return Fault(name=f"stall {part}", lasts_s=held_s, happen=link.stall, mend=link.heal)
            return Fault(name=f"cut {part}", lasts_s=gone_s, happen=link.cut, mend=link.heal)
        target = self._target(part)
        if kind == "hold":
            return Fault(name=f"hold {part}", lasts_s=held_s, happen=target.pause, mend=target.resume)
        happen = target.kill if kind == "kill" else partial(_end, target)
        return Fault(name=f"{kind} {part}", lasts_s=gone_s, happen=happen, mend=partial(_start, target))

    def _target(self, part: str) -> Target:
        if part == "redis":
            return self._site.layer
        if part == "postgres":
            return self._site.database
        kindred, _, number = part.partition("-")
        return self._site.fleet.webs[int(number)] if kindred == "web" else self._site.fleet.workers[int(number)]


def _end(target: Target) -> None:
    if isinstance(target, PostgresProcess):
        target.end()
    else:
        assert target.stop(signal.SIGTERM, within_s=START_WITHIN_S) == 0, f"{target.log} tells why it did not end well"


def _start(target: Target) -> None:
    """As whoever watches over processes does it: again when one ends by itself, since what it needs is not there."""
    if not isinstance(target, WebProcess | WorkerProcess):
        target.start()
        return
    target.launch()

    def is_up() -> bool:
        if not target.is_running:
            target.launch()
            return False
        return target.answers("/healthz") if isinstance(target, WebProcess) else target.is_ready()

    wait_until(is_up, within_s=START_WITHIN_S, what=f"a process to come up again; see {target.log}")
