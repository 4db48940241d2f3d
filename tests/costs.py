"""What a piece of work costs, measured so that it can be compared with other work in the same test.

A machine has slow days: a test compares two costs of the same minute, never one cost with a number of seconds.
"""

from __future__ import annotations

import gc
import math
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager


@contextmanager
def without_collections() -> Iterator[None]:
    """No garbage is collected meanwhile: that costs what all earlier tests have left, not what this one does."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


TRIES = 5
# What a calm machine needs to start a process, generously.
START_S = 0.03


def slowness() -> float:
    """How many times as slow as a calm machine this one is just now, at least 1: a time that was promised for a calm
    one is multiplied with it.
    """
    started_s = time.perf_counter()
    subprocess.run([sys.executable, "-I", "-S", "-c", ""], check=True)
    return max(1.0, (time.perf_counter() - started_s) / START_S)


def least_ratio(act: Callable[[], object], other: Callable[[], object], *, enough: float) -> float:
    """How many times the CPU time of `other` an act takes: the least of TRIES measurements of the two,
    one right after the other; the first one below `enough` is returned at once.

    A machine that is slow for a moment spoils one measurement; a cost that is too high spoils all of them.
    """
    least = math.inf
    for _ in range(TRIES):
        least = min(least, _cpu_s(act) / _cpu_s(other))
        if least < enough:
            break
    return least


async def least_ratio_of(
    act: Callable[[], Awaitable[object]], other: Callable[[], Awaitable[object]], *, enough: float
) -> float:
    """The same of what is awaited; other tasks of this process count."""
    least = math.inf
    for _ in range(TRIES):
        least = min(least, await _cpu_s_of(act) / await _cpu_s_of(other))
        if least < enough:
            break
    return least


def _cpu_s(act: Callable[[], object]) -> float:
    with without_collections():
        started_s = time.process_time()
        act()
        return time.process_time() - started_s


async def _cpu_s_of(act: Callable[[], Awaitable[object]]) -> float:
    with without_collections():
        started_s = time.process_time()
        await act()
        return time.process_time() - started_s
