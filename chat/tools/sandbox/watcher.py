"""Bounds in total: looks at what each room's processes and folder use together, and says which limit is broken.

Knows /proc and folders through their modules. Rlimits hold for one process; here a hundred small ones count as one.
Ends nothing itself. All of this blocks: call it in a thread.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

from chat.tools.sandbox import proctree
from chat.tools.sandbox.folder import WorkFolder
from chat.tools.sandbox.proctree import Usage
from chat.tools.sandbox.room import Room
from chat.tools.sandbox.values import Limits

# Between two looks at a folder in which something is executed, and in which nothing is.
SCAN_INTERVAL_S = 0.2
IDLE_SCAN_INTERVAL_S = 3.0
# An exact count of shared memory takes milliseconds for each process; and so does a scan of a full folder. Of the
# time, they get at most this part.
DUTY_CYCLE = 0.1


@dataclass(slots=True)
class _Seen:
    """What is remembered of a room between two looks."""

    # What a plain sum counts too often, because forked processes share it.
    shared_bytes: int = 0
    next_exact_s: float = 0
    next_scan_s: float = 0
    # CPU time that its processes had used when it became idle; None while it is busy.
    cpu_when_idle_s: float | None = None


class Watcher:
    """Looks at rooms, again and again."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._seen: WeakKeyDictionary[Room, _Seen] = WeakKeyDictionary()

    def broken_limit(self, room: Room) -> str:
        """In words, which limit the room breaks now; empty when none."""
        seen = self._seen.setdefault(room, _Seen())
        pids = tuple(pid for process in room.processes for pid in process.members())
        if not pids:
            return ""
        used = proctree.usage(pids)
        return (
            self._broken_by_memory(pids, used, seen)
            or self._broken_by_tasks(used)
            or self._broken_while_idle(room, used, seen)
            or self._broken_by_files(room, seen)
        )

    def _broken_by_memory(self, pids: tuple[int, ...], used: Usage, seen: _Seen) -> str:
        limit = self._limits.memory_max_bytes
        now = time.monotonic()
        if used.resident_bytes <= limit:
            seen.shared_bytes = 0
            return ""
        # A page that was shared and is written to does not show in the sum, so an exact look is due now and then, too.
        if used.resident_bytes - seen.shared_bytes > limit or now > seen.next_exact_s:
            exact = proctree.usage(pids, is_exact=True).resident_bytes
            if exact > limit:
                return f"It used more than {limit >> 20:,} MB of memory."
            seen.shared_bytes = used.resident_bytes - exact
            seen.next_exact_s = time.monotonic() + (time.monotonic() - now) / DUTY_CYCLE
        return ""

    def _broken_by_tasks(self, used: Usage) -> str:
        # An ordinary user's own limit with Landlock counts what others of his do, so it leaves some room.
        limit = self._limits.tasks_max
        return f"It started more than {limit:,} processes and threads." if used.tasks > limit * 2 else ""

    def _broken_while_idle(self, room: Room, used: Usage, seen: _Seen) -> str:
        limit = self._limits.idle_cpu_max_s
        if room.is_busy:
            seen.cpu_when_idle_s = None
        elif seen.cpu_when_idle_s is None:
            seen.cpu_when_idle_s = used.cpu_s
        elif used.cpu_s - seen.cpu_when_idle_s > limit:
            return f"What it left behind used more than {limit:g} s of CPU time."
        return ""

    def _broken_by_files(self, room: Room, seen: _Seen) -> str:
        now = time.monotonic()
        if now < seen.next_scan_s:
            return ""
        breach = room.folder.scan(self._limits).breach
        place = room.place
        if not breach and place and place.scratch:
            limits = replace(self._limits, folder_max_bytes=self._limits.tmp_max_bytes)
            breach = WorkFolder(place.scratch).scan(limits).breach
        took_s = time.monotonic() - now
        interval_s = SCAN_INTERVAL_S if room.is_busy else IDLE_SCAN_INTERVAL_S
        seen.next_scan_s = now + max(interval_s, took_s / DUTY_CYCLE)
        return f"It wrote {breach}." if breach else ""
