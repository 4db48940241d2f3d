"""The way from a coroutine to blocking code of the store."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from typing import ParamSpec, TypeVar

from django.conf import settings
from django.db import close_old_connections, connection

P = ParamSpec("P")
T = TypeVar("T")


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
