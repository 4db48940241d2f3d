"""Owns the tasks that perform effects: keyed by effect, cancelled by run, drained at shutdown.

Knows that each performance ends in exactly one terminal event. Must not know what is performed, or the engine.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
from collections.abc import Awaitable, Callable
from typing import Protocol, assert_never

from chat import logs
from chat.core.effects import CancelRun, Effect, Order, RunTool, StartGeneration
from chat.core.events import Event, TerminalEvent
from chat.core.ids import ConversationId, RunId
from chat.errors import ConversationMissingError

logger = logging.getLogger(__name__)

# Between tries to report how a run ended: a database that is away must not leave a ghost behind.
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

    async def left(self) -> TerminalEvent | None:
        """The process ends: save what there is. None when another process will take the order over."""
        ...


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
        self._owners: dict[Order, asyncio.Task[None]] = {}
        self._performers: dict[Order, asyncio.Task[TerminalEvent]] = {}
        self._cancelled: set[Order] = set()
        self._is_draining = False

    def dispatch(self, conversation_id: ConversationId, effects: tuple[Effect, ...]) -> None:
        """Take orders. Returns at once."""
        for effect in effects:
            match effect:
                case CancelRun():
                    self.cancel(effect.run_id)
                case _ if not self._is_draining and effect not in self._owners:
                    self._start(conversation_id, effect)

    def cancel(self, run_id: RunId) -> None:
        """End what is performed for this run; without effect when that is nothing."""
        for order in self._performers:
            if order.run_id == run_id:
                self._cancel(order)

    def _cancel(self, order: Order) -> None:
        """Once and no more: a second word would break off what a performer does to end cleanly."""
        if order not in self._cancelled:
            self._cancelled.add(order)
            self._performers[order].cancel()

    @property
    def active(self) -> int:
        """How many effects are being performed."""
        return len(self._owners)

    async def perform(self, conversation_id: ConversationId, order: Order) -> None:
        """Take one order, and wait until its end was told. Who waits may be cancelled; the work goes on."""
        self.dispatch(conversation_id, (order,))
        owner = self._owners.get(order)
        if owner is not None:
            await asyncio.wait({owner})

    async def settle(self, *, within_s: float) -> None:
        """Until nothing is performed, or that long."""
        if self._owners:
            await asyncio.wait(self._owners.values(), timeout=within_s)

    async def drain(self) -> None:
        """Take no more orders, end what is performed, and keep what it has for whoever takes over."""
        self._is_draining = True
        for order in self._performers:
            self._cancel(order)
        await asyncio.gather(*self._owners.values(), return_exceptions=True)

    def _start(self, conversation_id: ConversationId, order: Order) -> None:
        performance = self._make(conversation_id, order)
        # The work goes on after whoever asked for it, so it inherits nothing that ends with them, such as the thread
        # of a request, in which it would look for the database.
        context = contextvars.Context()
        context.run(logs.about, conversation=conversation_id, run=order.run_id, order=_name(order))
        performer = asyncio.create_task(performance.perform(), name=f"perform {order.run_id}", context=context.copy())
        owner = asyncio.create_task(
            self._own(conversation_id, performance, performer), name=f"own {order.run_id}", context=context
        )
        self._performers[order] = performer
        self._owners[order] = owner
        owner.add_done_callback(lambda _: self._forget(order))

    def _forget(self, order: Order) -> None:
        del self._owners[order], self._performers[order]
        self._cancelled.discard(order)

    async def _own(
        self,
        conversation_id: ConversationId,
        performance: Performance,
        performer: asyncio.Task[TerminalEvent],
    ) -> None:
        await asyncio.wait({performer})
        event: TerminalEvent | None
        if performer.cancelled():
            event = await self._left(performance) if self._is_draining else performance.interrupted()
        elif fault := performer.exception():
            logger.error("A performance crashed in conversation %s", conversation_id, exc_info=fault)
            event = performance.crashed()
        else:
            event = performer.result()
        if event is not None:
            await self._tell(conversation_id, event)

    async def _left(self, performance: Performance) -> TerminalEvent | None:
        try:
            return await performance.left()
        except Exception:
            logger.exception("What a run had could not be saved at shutdown; what was saved before stays")
            return None

    async def _tell(self, conversation_id: ConversationId, event: TerminalEvent) -> None:
        tries = 0
        while True:
            try:
                await self._report(conversation_id, event)
            except ConversationMissingError:
                return
            except Exception:
                delays = REPORT_RETRY_DELAYS_S
                delay_s = delays[tries] if tries < len(delays) else REPORT_RETRY_LAST_DELAY_S
                logger.exception("The end of run %s could not be saved; again in %s s", event.run_id, delay_s)
                if self._is_draining:
                    return
                tries += 1
                await asyncio.sleep(delay_s)
            else:
                return


def _name(order: Order) -> str:
    """What tells an order apart from the others of its run."""
    match order:
        case StartGeneration():
            return f"generation {order.generation_no}"
        case RunTool():
            return f"call {order.call_id} execution {order.execution_no}"
        case _:
            assert_never(order)
