"""The way from a coroutine to blocking code of the store."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar, cast

from channels.db import database_sync_to_async

P = ParamSpec("P")
T = TypeVar("T")


async def in_thread(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Call a function of the store, which is one transaction, in the thread of the database."""
    return cast(T, await database_sync_to_async(function)(*args, **kwargs))
