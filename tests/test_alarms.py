"""Alarms ring in time, those of a moment together, and none takes another with it."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from chat import alarms


async def test_each_rings_when_it_is_due_and_not_before() -> None:
    loop = asyncio.get_running_loop()
    rung: list[tuple[int, float]] = []

    def ring(number: int) -> None:
        rung.append((number, loop.time()))

    now_s = loop.time()
    for number in (3, 1, 2):
        alarms.call_at(now_s + number / 50, partial(ring, number))
    await alarms.sleep_until(now_s + 4 / 50)
    assert [number for number, _ in rung] == [1, 2, 3]
    assert all(at_s >= now_s + number / 50 - 0.001 for number, at_s in rung)


async def test_those_of_a_moment_cost_the_loop_one_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    timers: list[float] = []
    call_at = loop.call_at

    def counted(when_s: float, *words: Any, **named: Any) -> asyncio.TimerHandle:
        timers.append(when_s)
        return call_at(when_s, *words, **named)

    monkeypatch.setattr(loop, "call_at", counted)
    due_s = loop.time() + 0.01
    rung: list[int] = []
    for number in range(100):
        alarms.call_at(due_s, partial(rung.append, number))
    await alarms.sleep_until(due_s)
    assert rung == list(range(100))
    assert len(timers) == 1


async def test_one_that_fails_is_told_and_takes_no_other_with_it() -> None:
    loop = asyncio.get_running_loop()
    told: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda _, context: told.append(context))
    due_s = loop.time()
    alarms.call_at(due_s, partial(int, "nothing"))
    await alarms.sleep_until(due_s)
    assert isinstance(told[0]["exception"], ValueError)


async def test_who_was_cancelled_is_not_woken_any_more() -> None:
    loop = asyncio.get_running_loop()
    due_s = loop.time() + 0.01
    sleeper = asyncio.ensure_future(alarms.sleep_until(due_s))
    await asyncio.sleep(0)
    sleeper.cancel()
    await alarms.sleep_until(due_s)
    assert sleeper.cancelled()
