"""Who performs effects: each ends in one event, whatever happens to it, and nothing is left behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextvars import ContextVar
from typing import TypedDict
from uuid import UUID

import pytest

from chat.core.effects import CancelRun, Order, RunTool, StartGeneration
from chat.core.events import (
    Event,
    GenerationCompleted,
    GenerationFailed,
    GenerationInterrupted,
    TerminalEvent,
)
from chat.core.ids import CallId, ConversationId, MessageId, RunId
from chat.core.messages import Failure, Telemetry
from chat.core.permissions import OrderName, order_of
from chat.errors import ConversationMissingError
from chat.runner import Runner

CONVERSATION = ConversationId(UUID(int=1))
FAR_S = 20.0


def order(run: int, generation_no: int = 1) -> StartGeneration:
    return StartGeneration(
        run_id=RunId(UUID(int=run)), generation_no=generation_no, message_id=MessageId(UUID(int=1_000 + run))
    )


def tool_order(run: int, call: int, execution_no: int = 1) -> RunTool:
    return RunTool(
        run_id=RunId(UUID(int=run)),
        call_id=CallId(UUID(int=call)),
        execution_no=execution_no,
        tool="act",
        arguments="{}",
    )


class Common(TypedDict):
    """What all terminal events have."""

    run_id: RunId
    generation_no: int
    telemetry: Telemetry
    at_ms: int


class Gated:
    """A performance that begins, waits at a gate, and ends as it is told to.

    end: released when it may go on; `fault` is raised then, and `reluctance` is what it still does when cancelled.
    """

    def __init__(self, effect: Order) -> None:
        self.effect = effect
        self.has_begun = asyncio.Event()
        self.end = asyncio.Event()
        self.fault: BaseException | None = None
        self.reluctance: asyncio.Event | None = None
        self.is_running = False
        self.keeping_fault: Exception | None = None
        self.last_word: TerminalEvent | None = None
        self.is_broken_off = False
        self.kept = 0

    async def perform(self) -> TerminalEvent:
        self.is_running = True
        self.has_begun.set()
        try:
            await self.end.wait()
            if self.fault is not None:
                raise self.fault
        finally:
            try:
                if self.reluctance is not None:
                    await self.reluctance.wait()
            except asyncio.CancelledError:
                self.is_broken_off = True
                raise
            finally:
                self.is_running = False
        return GenerationCompleted(**self._common(), text="all", reasoning="")

    def interrupted(self) -> TerminalEvent:
        assert not self.is_running
        return self.interrupted_word()

    def interrupted_word(self) -> TerminalEvent:
        return GenerationInterrupted(**self._common(), text="so far", reasoning="")

    def crashed(self) -> TerminalEvent:
        failure = Failure(fault="unknown", words="Something went wrong.")
        return GenerationFailed(**self._common(), text="so far", reasoning="", failure=failure)

    async def left(self) -> TerminalEvent | None:
        assert not self.is_running
        if self.keeping_fault is not None:
            raise self.keeping_fault
        self.kept += 1
        return self.last_word

    def _common(self) -> Common:
        return Common(run_id=self.effect.run_id, generation_no=order_of(self.effect)[1], telemetry=Telemetry(), at_ms=1)


class Outside:
    """What is around a runner: makes performances, and takes reports as well as its database is."""

    def __init__(self) -> None:
        self.runner = Runner(make=self.make, report=self.report)
        self.performances: dict[OrderName, Gated] = {}
        self.reports: list[tuple[ConversationId, Event]] = []
        self.faults: list[Exception] = []
        self.tried = 0
        self.reported = asyncio.Condition()

    def make(self, conversation_id: ConversationId, effect: Order) -> Gated:
        performance = Gated(effect)
        self.performances[order_of(effect)] = performance
        return performance

    async def report(self, conversation_id: ConversationId, event: Event) -> object:
        async with self.reported:
            self.tried += 1
            self.reported.notify_all()
        if self.faults:
            raise self.faults.pop(0)
        async with self.reported:
            self.reports.append((conversation_id, event))
            self.reported.notify_all()
        return None

    async def begun(self, effect: Order) -> Gated:
        """The performance of this effect, once it has begun."""
        self.runner.dispatch(CONVERSATION, (effect,))
        performance = self.performances[order_of(effect)]
        await performance.has_begun.wait()
        return performance

    async def until_reported(self, count: int) -> list[type[Event]]:
        """The kinds of what was reported, once it is so many."""
        async with asyncio.timeout(FAR_S), self.reported:
            await self.reported.wait_for(lambda: len(self.reports) >= count)
        return self.kinds

    async def until_tried(self, count: int) -> None:
        async with asyncio.timeout(FAR_S), self.reported:
            await self.reported.wait_for(lambda: self.tried >= count)

    @property
    def kinds(self) -> list[type[Event]]:
        return [type(event) for _, event in self.reports]


@pytest.fixture
async def outside() -> AsyncIterator[Outside]:
    """Drained when the test ends; no task may be left."""
    outside = Outside()
    yield outside
    for performance in outside.performances.values():
        if performance.reluctance is not None:
            performance.reluctance.set()
    await outside.runner.drain()
    await asyncio.sleep(0)
    assert outside.runner.active == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


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
    assert names == {f"perform {order(1).run_id}", f"own {order(1).run_id}"}


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
    outside: Outside, caplog: pytest.LogCaptureFixture
) -> None:
    outside.faults = [OSError("the database is away"), OSError("still away")]
    performance = await outside.begun(order(1))
    performance.end.set()
    assert await outside.until_reported(1) == [GenerationCompleted]
    assert outside.tried == 3
    assert "could not be saved; again in 0.1 s" in caplog.text
    assert "could not be saved; again in 0.3 s" in caplog.text


async def test_an_end_in_a_conversation_that_is_gone_is_not_reported_again(outside: Outside) -> None:
    outside.faults = [ConversationMissingError()]
    performance = await outside.begun(order(1))
    performance.end.set()
    await outside.until_tried(1)
    await outside.runner.drain()
    assert (outside.tried, outside.reports) == (1, [])


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
