"""What a piece of work costs, measured so that it can be compared with other work in the same test.

A machine has slow days: a test compares two costs of the same minute, never one cost with a number of seconds.
"""

from __future__ import annotations

import gc
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


def least_cpu_s(act: Callable[[], object], *, runs: int = 3) -> float:
    """The least CPU time of several runs, in seconds: what others take of the machine is no cost of ours."""
    return min(_cpu_s(act) for _ in range(runs))


async def least_cpu_s_of(act: Callable[[], Awaitable[object]], *, runs: int = 3) -> float:
    """The same of something that is awaited; other tasks of this process count."""
    taken_s = []
    for _ in range(runs):
        with without_collections():
            started_s = time.process_time()
            await act()
            taken_s.append(time.process_time() - started_s)
    return min(taken_s)


def _cpu_s(act: Callable[[], object]) -> float:
    with without_collections():
        started_s = time.process_time()
        act()
        return time.process_time() - started_s
