"""The way from a coroutine to blocking code of the store."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import Any, ParamSpec, TypeVar

from django.conf import settings
from django.db import close_old_connections, connection, transaction

P = ParamSpec("P")
T = TypeVar("T")

# Each of them waits until all are kept.
STEPS_AT_A_TIME = 16

# What a step returned, or what it raised.
_Outcome = tuple[Any, Exception | None]


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function of the store, which is one transaction, in a thread that has the database.

    SQLite takes one writer at a time, so there one thread does for the whole process, with a connection that stays
    open: to open one costs more than most of what is done with it. PostgreSQL is asked from several threads at once,
    and calls may end in another order than they began.
    """
    call: Callable[[], T] = partial(function, *args, **kwargs)
    if not _is_sqlite():
        call = partial(_with_connection_of_pool, call)
    return await asyncio.get_running_loop().run_in_executor(_threads(), contextvars.copy_context().run, call)


class Steps:
    """Functions of the store that are one transaction each, and can be called again once it was taken back.

    Where one thread does them all, what comes while it is busy goes next, in one transaction: to begin and to end one,
    and the way to the thread and back, take as long as a step. Belongs to one event loop.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []
        self._is_busy = False

    async def take(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call one, and wait until what it wrote is kept. Raises what it raises."""
        if not _is_sqlite():
            return await in_thread(function, *args, **kwargs)
        taken: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        step = partial(contextvars.copy_context().run, partial(function, *args, **kwargs))
        self._waiting.append((step, taken))
        if not self._is_busy:
            self._take_next()
        return await taken

    def _take_next(self) -> None:
        next_ones, self._waiting = self._waiting[:STEPS_AT_A_TIME], self._waiting[STEPS_AT_A_TIME:]
        self._is_busy = bool(next_ones)
        if next_ones:
            steps = [step for step, _ in next_ones]
            doing = asyncio.get_running_loop().run_in_executor(_threads(), _together, steps)
            doing.add_done_callback(partial(self._end, [taken for _, taken in next_ones]))

    def _end(self, waiting: Sequence[asyncio.Future[Any]], doing: asyncio.Future[list[_Outcome]]) -> None:
        self._take_next()
        for taken, (result, fault) in zip(waiting, doing.result(), strict=True):
            if taken.cancelled():
                continue
            if fault is None:
                taken.set_result(result)
            else:
                taken.set_exception(fault)


def _together(steps: Sequence[Callable[[], Any]]) -> list[_Outcome]:
    if len(steps) > 1:
        try:
            with transaction.atomic():
                return [(step(), None) for step in steps]
        except Exception:  # noqa: S110 - nothing was kept: each goes by itself, and says what is wrong with it
            pass
    return [_alone(step) for step in steps]


def _alone(step: Callable[[], Any]) -> _Outcome:
    try:
        return step(), None
    except Exception as fault:
        return None, fault


@cache
def _is_sqlite() -> bool:
    # Each coroutine that looks at `connection` gets one of its own, never opened, and keeps it as long as it lives.
    return connection.vendor == "sqlite"


def _with_connection_of_pool(function: Callable[[], T]) -> T:
    close_old_connections()
    try:
        return function()
    finally:
        close_old_connections()


@cache
def _threads() -> ThreadPoolExecutor:
    count = 1 if _is_sqlite() else settings.AGENTSITE.agent_database_threads_max
    return ThreadPoolExecutor(count, thread_name_prefix="database")
