"""The way from a coroutine to blocking code of the store."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import ParamSpec, TypeVar, cast

from channels.db import DatabaseSyncToAsync, database_sync_to_async
from django.conf import settings
from django.db import connection

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function of the store, which is one transaction, in a thread that has the database.

    SQLite takes one writer at a time, so there one thread does for the whole process; PostgreSQL is asked from several
    at once, and calls may end in another order than they began.
    """
    if connection.vendor == "sqlite":
        return cast(T, await database_sync_to_async(function)(*args, **kwargs))
    call = DatabaseSyncToAsync(function, thread_sensitive=False, executor=_threads())
    return cast(T, await call(*args, **kwargs))


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(settings.AGENTSITE.agent_database_threads_max, thread_name_prefix="database")
