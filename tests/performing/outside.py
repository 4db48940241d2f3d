"""What is around a runner: performances that wait at gates, and a database that is as well as it is made.

Knows what a runner is given. Must not know what it is tested for.
"""

from __future__ import annotations

import asyncio
from typing import TypedDict
from uuid import UUID

from chat.core.effects import Order, RunTool, StartGeneration
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

    def unkept(self) -> TerminalEvent:
        failure = Failure(fault="unknown", words="It could not be stored.")
        return GenerationFailed(**self._common(), text="", reasoning="", failure=failure)

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
