"""Alarms that many share: what is due in the same millisecond costs the loop one timer.

A timer of the loop is an object of its own there, in its heap of timers, closed one by one. Of thousands of short
pauses a second most end together (`chat/tempo.py`). Must not know who waits, or for what.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from functools import partial

_Due = tuple[asyncio.AbstractEventLoop, int]
_calls: dict[_Due, list[Callable[[], object]]] = {}


def call_at(when_s: float, call: Callable[[], object]) -> None:
    """Call when the running loop's clock has come that far, a millisecond late at most. It can't be called off."""
    loop = asyncio.get_running_loop()
    due = loop, math.ceil(when_s * 1000)
    calls = _calls.get(due)
    if calls is None:
        calls = _calls[due] = []
        loop.call_at(due[1] / 1000, _ring, due)
    calls.append(call)


async def sleep_until(when_s: float) -> None:
    """Until the running loop's clock has come that far."""
    waiter = asyncio.get_running_loop().create_future()
    call_at(when_s, partial(_end, waiter))
    await waiter


def _ring(due: _Due) -> None:
    for call in _calls.pop(due):
        try:
            call()
        except Exception as fault:
            # One that fails takes no other with it.
            due[0].call_exception_handler({"message": f"An alarm failed: {call}", "exception": fault})


def _end(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
