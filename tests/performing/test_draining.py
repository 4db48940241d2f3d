"""What a runner does when its process ends: what there is is kept, and nothing is waited for that may not come."""

from __future__ import annotations

import asyncio

from chat.core.effects import CancelRun
from chat.core.events import GenerationCompleted, GenerationInterrupted
from tests.performing.outside import CONVERSATION, FAR_S, Outside, order, tool_order


async def test_draining_keeps_what_there_is_and_reports_nothing(outside: Outside) -> None:
    performances = [await outside.begun(order(run)) for run in (1, 2)]
    await outside.runner.drain()
    assert [performance.kept for performance in performances] == [1, 1]
    assert not any(performance.is_running for performance in performances)
    assert outside.reports == []


async def test_draining_reports_what_ended_with_the_process(outside: Outside) -> None:
    performance = await outside.begun(tool_order(1, 1))
    performance.last_word = performance.interrupted_word()
    await outside.runner.drain()
    assert outside.kinds == [GenerationInterrupted]


async def test_draining_waits_until_everything_has_ended(outside: Outside) -> None:
    performance = await outside.begun(order(1))
    performance.reluctance = asyncio.Event()
    draining = asyncio.create_task(outside.runner.drain())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not draining.done()
    performance.reluctance.set()
    async with asyncio.timeout(FAR_S):
        await draining


async def test_what_ends_by_itself_while_draining_is_reported(outside: Outside) -> None:
    performance = await outside.begun(order(1))
    performance.end.set()
    await asyncio.sleep(0)
    await outside.runner.drain()
    assert outside.kinds == [GenerationCompleted]
    assert performance.kept == 0


async def test_a_runner_that_was_drained_takes_no_more_orders(outside: Outside) -> None:
    await outside.runner.drain()
    outside.runner.dispatch(CONVERSATION, (order(1), CancelRun(run_id=order(1).run_id)))
    assert (outside.performances, outside.runner.active) == ({}, 0)


async def test_draining_does_not_wait_for_a_database_that_is_away(outside: Outside) -> None:
    outside.faults = [OSError("the database is away")] * 50
    performance = await outside.begun(order(1))
    performance.end.set()
    await outside.until_tried(1)
    async with asyncio.timeout(FAR_S):
        await outside.runner.drain()
    assert outside.tried == 2


async def test_one_that_can_not_keep_its_text_does_not_keep_others_from_it(outside: Outside) -> None:
    first, second = await outside.begun(order(1)), await outside.begun(order(2))
    first.keeping_fault = OSError("the disk is full")
    await outside.runner.drain()
    assert (first.kept, second.kept) == (0, 1)
