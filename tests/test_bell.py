"""A bell lets the one go on who waits, and is not lost when nobody does."""

from __future__ import annotations

import asyncio

import pytest

from chat.bell import Bell


async def test_who_waits_goes_on_when_it_is_set_and_waits_again_once_it_is_cleared() -> None:
    bell = Bell()
    waiter = asyncio.ensure_future(bell.wait())
    await asyncio.sleep(0)
    assert not waiter.done()
    bell.set()
    bell.set()
    await waiter
    await bell.wait()
    bell.clear()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(bell.wait(), 0.01)


async def test_it_is_not_lost_when_the_one_who_waited_was_cancelled() -> None:
    bell = Bell()
    waiter = asyncio.ensure_future(bell.wait())
    await asyncio.sleep(0)
    waiter.cancel()
    bell.set()
    with pytest.raises(asyncio.CancelledError):
        await waiter
    await asyncio.wait_for(bell.wait(), 1)


async def test_cleared_before_the_one_who_waited_had_its_turn_it_lets_it_wait_on() -> None:
    bell = Bell()
    waiter = asyncio.ensure_future(bell.wait())
    await asyncio.sleep(0)
    bell.set()
    bell.clear()
    await asyncio.sleep(0)
    assert not waiter.done()
    bell.set()
    await asyncio.wait_for(waiter, 1)
