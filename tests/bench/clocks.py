"""What processes take of the machine, read from /proc. Must not know what they are."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import clock_gettime, monotonic

from tests.processes import below

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, kw_only=True, slots=True)
class Spent:
    """What was spent meanwhile. Seconds of CPU, but for `took_s`.

    others_s: of the core of the server under test, by anybody else. own_s: by this process, which is the load.
    """

    took_s: float
    cpu_s: float
    others_s: float
    own_s: float

    @property
    def core_percent(self) -> float:
        """How much of its core the server had."""
        return self.cpu_s / self.took_s * 100

    @property
    def others_percent(self) -> float:
        """How much of the server's core others had."""
        return max(0.0, self.others_s) / self.took_s * 100

    @property
    def own_percent(self) -> float:
        """How much of a core the load had: near 100, the load is the limit and not the server."""
        return self.own_s / self.took_s * 100


class Stopwatch:
    """Begins when it is made."""

    def __init__(self, pid: int, core: int) -> None:
        """core: that of the process."""
        self._pid, self._core = pid, core
        self._cpu_s, self._busy_s, self._own_s = cpu_s(pid), core_busy_s(core), cpu_s(os.getpid())
        self._began_s = monotonic()

    def read(self) -> Spent:
        """What was spent until now."""
        used_s = cpu_s(self._pid) - self._cpu_s
        return Spent(
            took_s=monotonic() - self._began_s,
            cpu_s=used_s,
            others_s=core_busy_s(self._core) - self._busy_s - used_s,
            own_s=cpu_s(os.getpid()) - self._own_s,
        )


def cpu_s(pid: int) -> float:
    """CPU time of a process so far, threads that have ended included."""
    # Linux makes the number of a process's clock so; Python has no name for it.
    return clock_gettime(~pid << 3 | 2)


def core_busy_s(core: int) -> float:
    """CPU time that anybody has used of a core so far."""
    line = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith(f"cpu{core} "))
    user, nice, system, _, _, *interrupts = (int(field) for field in line.split()[1:])
    return (user + nice + system + sum(interrupts[:2])) / TICKS_PER_SECOND


def memory_kib(pid: int, *, peak: bool = False) -> int:
    """What a process has in memory now, or has had at most since `forget_peak`, in KiB."""
    found = re.search(rf"{'VmHWM' if peak else 'VmRSS'}:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) if found else 0


def forget_peak(pid: int) -> None:
    """Let the peak of a process's memory begin anew."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def pin(pid: int, cores: set[int]) -> None:
    """Keep a process, with its threads and what it has started, on these cores."""
    for each in (pid, *(child.pid for child in below(pid))):
        with suppress(FileNotFoundError, ProcessLookupError):
            for thread in Path(f"/proc/{each}/task").iterdir():
                os.sched_setaffinity(int(thread.name), cores)
