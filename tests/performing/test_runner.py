"""Who performs effects: each ends in one event, whatever happens to it, and nothing is left behind."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from uuid import UUID

import pytest
from django.db import DataError, OperationalError

from chat import runner
from chat.core.effects import CancelRun
from chat.core.events import GenerationCompleted, GenerationFailed, GenerationInterrupted, TerminalEvent
from chat.core.ids import ConversationId, RunId
from chat.errors import ConversationMissingError
from chat.runner import Runner
from tests.performing.outside import CONVERSATION, FAR_S, Gated, Outside, order, tool_order


async def test_a_performance_that_ends_is_reported_as_it_ended(outside: Outside) -> None:
    performance = await outside.begun(order(1))
    assert outside.runner.active == 1
    performance.end.set()
    assert await outside.until_reported(1) == [GenerationCompleted]
    assert outside.reports[0][0] == CONVERSATION


async def test_dispatch_returns_at_once_and_effects_are_performed_side_by_side(outside: Outside) -> None:
    outside.runner.dispatch(CONVERSATION, (order(1), order(2)))
    outside.runner.dispatch(ConversationId(UUID(int=2)), (order(3),))
    assert outside.runner.active == 3
    for performance in outside.performances.values():
        await performance.has_begun.wait()
    outside.performances[order(3).run_id, 1].end.set()
    await outside.until_reported(1)
    assert outside.reports[0][0] == ConversationId(UUID(int=2))


async def test_what_is_performed_inherits_nothing_of_whoever_asked_for_it(outside: Outside) -> None:
    request: ContextVar[str] = ContextVar("request", default="none")
    seen: list[str] = []

    class Looking(Gated):
        async def perform(self) -> TerminalEvent:
            seen.append(request.get())
            return await super().perform()

    runner = Runner(make=lambda conversation_id, effect: Looking(effect), report=outside.report)
    request.set("one that will have ended")
    runner.dispatch(CONVERSATION, (order(1),))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    runner.dispatch(CONVERSATION, (CancelRun(run_id=RunId(UUID(int=1))),))
    await runner.drain()
    assert seen == ["none"]


async def test_every_task_has_a_name(outside: Outside) -> None:
    await outside.begun(order(1))
    names = {task.get_name() for task in asyncio.all_tasks() - {asyncio.current_task()}}
    assert names == {f"perform {order(1).run_id}"}


async def test_cancelling_a_run_ends_its_performance_and_no_other(outside: Outside) -> None:
    first, second = await outside.begun(order(1)), await outside.begun(order(2))
    outside.runner.dispatch(CONVERSATION, (CancelRun(run_id=order(1).run_id),))
    assert await outside.until_reported(1) == [GenerationInterrupted]
    assert not first.is_running
    assert second.is_running


async def test_cancelling_a_run_ends_each_of_its_orders(outside: Outside) -> None:
    await outside.begun(order(1, 1))
    await outside.begun(order(1, 2))
    outside.runner.cancel(order(1).run_id)
    assert await outside.until_reported(2) == [GenerationInterrupted] * 2


async def test_cancelling_a_run_ends_the_tools_of_its_turn_and_no_others(outside: Outside) -> None:
    tools = [await outside.begun(tool_order(1, call)) for call in (1, 2, 3)]
    other = await outside.begun(tool_order(2, 4))
    assert outside.runner.active == 4
    outside.runner.dispatch(CONVERSATION, (CancelRun(run_id=order(1).run_id),))
    assert await outside.until_reported(3) == [GenerationInterrupted] * 3
    assert not any(performance.is_running for performance in tools)
    assert other.is_running


async def test_a_call_that_is_run_again_is_an_order_of_its_own(outside: Outside) -> None:
    await outside.begun(tool_order(1, 1))
    again = await outside.begun(tool_order(1, 1, execution_no=2))
    assert outside.runner.active == 2
    outside.runner.dispatch(CONVERSATION, (tool_order(1, 1, execution_no=2),))
    assert outside.runner.active == 2
    again.end.set()
    await outside.until_reported(1)


async def test_a_second_word_does_not_break_off_what_is_done_to_end_cleanly(outside: Outside) -> None:
    performance = await outside.begun(tool_order(1, 1))
    performance.reluctance = asyncio.Event()
    for _ in range(3):
        outside.runner.cancel(order(1).run_id)
        for _ in range(3):
            await asyncio.sleep(0)
    draining = asyncio.create_task(outside.runner.drain())
    for _ in range(3):
        await asyncio.sleep(0)
    assert performance.is_running
    performance.reluctance.set()
    async with asyncio.timeout(FAR_S):
        await draining
    assert not performance.is_broken_off


async def test_a_performance_can_be_cancelled_before_it_has_begun(outside: Outside) -> None:
    outside.runner.dispatch(CONVERSATION, (order(1), CancelRun(run_id=order(1).run_id)))
    assert await outside.until_reported(1) == [GenerationInterrupted]
    assert not outside.performances[order(1).run_id, 1].has_begun.is_set()


async def test_the_end_is_reported_only_when_nothing_of_it_runs_any_more(outside: Outside) -> None:
    performance = await outside.begun(order(1))
    performance.reluctance = asyncio.Event()
    outside.runner.cancel(order(1).run_id)
    for _ in range(10):
        await asyncio.sleep(0)
    assert performance.is_running
    assert outside.reports == []
    performance.reluctance.set()
    assert await outside.until_reported(1) == [GenerationInterrupted]


async def test_a_loop_that_ends_is_not_taken_for_a_stop(outside: Outside) -> None:
    performance = await outside.begun(order(1))
    (task,) = asyncio.all_tasks() - {asyncio.current_task()}
    task.cancel()
    await asyncio.wait({task})
    assert not performance.is_running
    assert task.cancelled()
    assert (outside.reports, outside.runner.active) == ([], 0)


async def test_cancelling_twice_or_too_late_changes_nothing(outside: Outside) -> None:
    performance = await outside.begun(order(1))
    performance.end.set()
    await outside.until_reported(1)
    outside.runner.cancel(order(1).run_id)
    outside.runner.cancel(order(7).run_id)
    performance = await outside.begun(order(2))
    outside.runner.cancel(order(2).run_id)
    outside.runner.cancel(order(2).run_id)
    assert await outside.until_reported(2) == [GenerationCompleted, GenerationInterrupted]


async def test_a_performance_that_crashes_is_reported_as_failed_and_logged(
    outside: Outside, caplog: pytest.LogCaptureFixture
) -> None:
    performance = await outside.begun(order(1))
    performance.fault = ZeroDivisionError("nobody foresaw this")
    performance.end.set()
    assert await outside.until_reported(1) == [GenerationFailed]
    assert "A performance crashed" in caplog.text
    assert "nobody foresaw this" in caplog.text


async def test_one_that_crashes_while_it_is_cancelled_still_ends_once(outside: Outside) -> None:
    performance = await outside.begun(order(1))
    performance.reluctance = asyncio.Event()
    performance.fault = ZeroDivisionError("too late")
    performance.end.set()
    await asyncio.sleep(0)
    outside.runner.cancel(order(1).run_id)
    performance.reluctance.set()
    await outside.until_reported(1)
    await outside.runner.drain()
    assert len(outside.reports) == 1


async def test_an_end_that_could_not_be_saved_is_reported_again(
    outside: Outside, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "REPORT_RETRY_DELAYS_S", (0.01,))
    monkeypatch.setattr(runner, "REPORT_RETRY_LAST_DELAY_S", 0.02)
    outside.faults = [OperationalError("it is away\nLINE 1: what was said") for _ in range(5)]
    performance = await outside.begun(order(1))
    performance.end.set()
    assert await outside.until_reported(1) == [GenerationCompleted]
    assert outside.tried == 6
    assert "could not be saved: it is away; again in 0.01 s" in caplog.text
    assert "could not be saved: it is away; again in 0.02 s" in caplog.text
    assert "Traceback" not in caplog.text
    assert "what was said" not in caplog.text


async def test_an_end_that_the_database_refuses_each_time_ends_as_what_it_takes(
    outside: Outside, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "REPORT_RETRY_DELAYS_S", (0.01, 0.01))
    outside.faults = [DataError("integer out of range") for _ in range(3)]
    performance = await outside.begun(order(1))
    performance.end.set()
    assert await outside.until_reported(1) == [GenerationFailed]
    [(_, end)] = outside.reports
    assert end == performance.unkept()
    assert "integer out of range" in caplog.text
    assert "can't be saved as it is, and is given up" in caplog.text


async def test_a_conversation_that_takes_no_end_at_all_is_left_for_whoever_starts_next(
    outside: Outside, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "REPORT_RETRY_DELAYS_S", (0.01,))
    outside.faults = [ValueError("its snapshot can't be read") for _ in range(100)]
    performance = await outside.begun(order(1))
    performance.end.set()
    async with asyncio.timeout(FAR_S):
        await outside.runner.settle(within_s=FAR_S)
    assert (outside.tried, outside.reports, outside.runner.active) == (4, [], 0)


async def test_an_end_in_a_conversation_that_is_gone_is_not_reported_again(outside: Outside) -> None:
    outside.faults = [ConversationMissingError()]
    performance = await outside.begun(order(1))
    performance.end.set()
    await outside.until_tried(1)
    await outside.runner.drain()
    assert (outside.tried, outside.reports) == (1, [])
