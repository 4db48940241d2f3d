"""Owns the tasks that perform effects: keyed by effect, cancelled by run, drained at shutdown.

Knows that each performance ends in exactly one terminal event. Must not know what is performed, or the engine.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, assert_never

from chat import logs
from chat.core.effects import CancelRun, Effect, Order, RunTool, StartGeneration
from chat.core.events import Event, TerminalEvent
from chat.core.ids import ConversationId, RunId
from chat.errors import ConversationMissingError
from chat.store import faults

logger = logging.getLogger(__name__)

# Between tries to report how a run ended: a database that is away must not leave a ghost behind. When it is there and
# refuses so often, it refuses what it is to keep.
REPORT_RETRY_DELAYS_S = (0.1, 0.3, 1.0, 3.0)
REPORT_RETRY_LAST_DELAY_S = 5.0


class Performance(Protocol):
    """One effect while it is performed."""

    async def perform(self) -> TerminalEvent:
        """Do it, and say how it ended."""
        ...

    def interrupted(self) -> TerminalEvent:
        """How it ended when it was cancelled; called once nothing of it runs any more."""
        ...

    def crashed(self) -> TerminalEvent:
        """How it ended when `perform` raised something that nobody foresaw."""
        ...

    def unkept(self) -> TerminalEvent:
        """How it ended when that can't be kept as it was: only that, without anything that somebody else wrote."""
        ...

    async def left(self) -> TerminalEvent | None:
        """The process ends: save what there is. None when another process will take the order over."""
        ...


class _Work:
    """An order that was taken, and the task that performs it and then tells how it ended."""

    __slots__ = ("_is_cancelled", "_is_performing", "task")

    task: asyncio.Task[None]

    def __init__(self) -> None:
        self._is_cancelled = self._is_performing = False

    def cancel(self) -> None:
        """End what is performed, and not the word of its end. Once and no more: a second word would break off what a
        performer does to end cleanly.
        """
        if not self._is_cancelled:
            self._is_cancelled = True
            # A task that has not begun would end without a word.
            if self._is_performing:
                self.task.cancel()

    def begin(self) -> None:
        """From now on a cancel reaches the task. Raises CancelledError when one came before."""
        if self._is_cancelled:
            raise asyncio.CancelledError
        self._is_performing = True

    def end(self) -> None:
        """It does no more, and what follows is not cancelled."""
        if self._is_performing and self._is_cancelled:
            self.task.uncancel()
        self._is_performing = False


class Runner:
    """Performs effects as asyncio tasks in this process.

    make: the performance of an effect. report: lets its terminal event happen.
    """

    def __init__(
        self,
        *,
        make: Callable[[ConversationId, Order], Performance],
        report: Callable[[ConversationId, Event], Awaitable[object]],
    ) -> None:
        self._make = make
        self._report = report
        self._works: dict[Order, _Work] = {}
        self._is_draining = False

    def dispatch(self, conversation_id: ConversationId, effects: tuple[Effect, ...]) -> None:
        """Take orders. Returns at once."""
        for effect in effects:
            match effect:
                case CancelRun():
                    self.cancel(effect.run_id)
                case _ if not self._is_draining and effect not in self._works:
                    self._start(conversation_id, effect)

    def cancel(self, run_id: RunId) -> None:
        """End what is performed for this run; without effect when that is nothing."""
        for order, work in self._works.items():
            if order.run_id == run_id:
                work.cancel()

    @property
    def active(self) -> int:
        """How many effects are being performed."""
        return len(self._works)

    async def perform(self, conversation_id: ConversationId, order: Order) -> None:
        """Take one order, and wait until its end was told. Who waits may be cancelled; the work goes on."""
        self.dispatch(conversation_id, (order,))
        if order in self._works:
            await asyncio.wait({self._works[order].task})

    async def settle(self, *, within_s: float) -> None:
        """Until nothing is performed, or that long."""
        if self._works:
            await asyncio.wait([work.task for work in self._works.values()], timeout=within_s)

    async def drain(self) -> None:
        """Take no more orders, end what is performed, and keep what it has for whoever takes over."""
        self._is_draining = True
        for work in self._works.values():
            work.cancel()
        await asyncio.gather(*[work.task for work in self._works.values()], return_exceptions=True)

    def _start(self, conversation_id: ConversationId, order: Order) -> None:
        performance = self._make(conversation_id, order)
        # The work goes on after whoever asked for it, so it inherits nothing that ends with them, such as the thread
        # of a request, in which it would look for the database.
        context = contextvars.Context()
        context.run(logs.about, conversation=conversation_id, run=order.run_id, order=_name(order))
        work = self._works[order] = _Work()
        work.task = asyncio.create_task(
            self._own(conversation_id, work, performance), name=f"perform {order.run_id}", context=context
        )
        work.task.add_done_callback(partial(self._forget, order))

    def _forget(self, order: Order, _: object) -> None:
        del self._works[order]

    async def _own(self, conversation_id: ConversationId, work: _Work, performance: Performance) -> None:
        event: TerminalEvent | None
        try:
            work.begin()
            try:
                event = await performance.perform()
            finally:
                work.end()
        except asyncio.CancelledError:
            if work.task.cancelling():
                # By nobody here: the loop ends.
                raise
            event = await self._left(performance) if self._is_draining else performance.interrupted()
        except Exception as fault:
            logger.error("A performance crashed in conversation %s", conversation_id, exc_info=fault)
            event = performance.crashed()
        if event is not None and not await self._tell(conversation_id, event):
            await self._tell(conversation_id, performance.unkept())

    async def _left(self, performance: Performance) -> TerminalEvent | None:
        try:
            return await performance.left()
        except Exception:
            logger.exception("What a run had could not be saved at shutdown; what was saved before stays")
            return None

    async def _tell(self, conversation_id: ConversationId, event: TerminalEvent) -> bool:
        """Let an end be known, however long the database is away. False when that refuses this end itself."""
        tries = 0
        while True:
            try:
                await self._report(conversation_id, event)
            except ConversationMissingError:
                return True
            except Exception as fault:
                delays = REPORT_RETRY_DELAYS_S
                delay_s = delays[tries] if tries < len(delays) else REPORT_RETRY_LAST_DELAY_S
                if self._is_draining:
                    logger.warning("The end of run %s could not be saved: %s", event.run_id, faults.in_a_line(fault))
                    return True
                if faults.is_of_database(fault):
                    words = "The end of run %s could not be saved: %s; again in %s s"
                    logger.warning(words, event.run_id, faults.in_a_line(fault), delay_s)
                elif tries < len(delays):
                    logger.exception("The end of run %s could not be saved; again in %s s", event.run_id, delay_s)
                else:
                    logger.error("The end of run %s can't be saved as it is, and is given up", event.run_id)
                    return False
                tries += 1
                await asyncio.sleep(delay_s)
            else:
                return True


def _name(order: Order) -> str:
    """What tells an order apart from the others of its run."""
    match order:
        case StartGeneration():
            return f"generation {order.generation_no}"
        case RunTool():
            return f"call {order.call_id} execution {order.execution_no}"
        case _:
            assert_never(order)
