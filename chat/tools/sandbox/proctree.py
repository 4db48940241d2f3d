"""Looks at trees of processes from outside, through /proc: who is in one, and what it uses.

Knows /proc. Processes come and go while it looks, so everything here may miss one and nothing raises for it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What the processes of a tree use together, at one moment."""

    resident_bytes: int
    tasks: int
    # Of those that live; a child's time is its parent's once it was waited for.
    cpu_s: float


def members(root: int) -> tuple[int, ...]:
    """The root and all its descendants, parents first."""
    found = [root]
    seen = {root}
    for pid in found:
        try:
            threads = os.listdir(f"/proc/{pid}/task")
        except OSError:
            continue
        for thread in threads:
            try:
                children = Path(f"/proc/{pid}/task/{thread}/children").read_bytes()
            except OSError:
                continue
            for child in map(int, children.split()):
                if child not in seen:
                    seen.add(child)
                    found.append(child)
    return tuple(found)


def is_running(pid: int) -> bool:
    """Whether it still exists and is more than an entry that its parent has not looked at."""
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    except (OSError, IndexError):
        return False


def usage(pids: tuple[int, ...], *, is_exact: bool = False) -> Usage:
    """is_exact: counts a page that several processes share once, which is slower and for suspects only."""
    resident, tasks, ticks = 0, 0, 0
    for pid in pids:
        try:
            # The name comes in parentheses and may hold anything, so the numbers start after the last one.
            fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            continue
        if len(fields) < 22:
            continue
        ticks += sum(map(int, fields[11:15]))
        tasks += int(fields[17])
        own = int(fields[21]) * _PAGE_BYTES
        resident += _proportional_bytes(pid, own) if is_exact else own
    return Usage(resident_bytes=resident, tasks=tasks, cpu_s=ticks / _TICKS_PER_S)


def _proportional_bytes(pid: int, resident: int) -> int:
    """A process can forbid this look at itself; then it is taken for what it seems."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    return resident
