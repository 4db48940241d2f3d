"""Finds orders whose process is gone, and lets that be known to their conversations.

Knows when a process is held to be dead. Nobody's live order is touched: who could not be heard because the database was
away is not judged by that. Must not know how orders are performed.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path

from chat.clock import now_ms
from chat.conf import Conf
from chat.core.events import Event, GenerationLost, ToolLost
from chat.core.ids import ConversationId, RunId
from chat.liveness import Liveness
from chat.store import processes
from chat.store.processes import Known, Lost, LostCall, LostGeneration
from chat.store.threads import in_thread
from chat.tools.registry import all_tools

logger = logging.getLogger(__name__)


class Recovery:
    """The heartbeat of a process, and its look at the others.

    kind: what it does, see `Process.kind`. locks: the folder in which processes of this machine show that they live.
    apply: lets an event happen. cancel: ends what this process performs for a run.
    """

    def __init__(
        self,
        *,
        process_id: uuid.UUID,
        kind: str,
        locks: Path,
        conf: Conf,
        apply: Callable[[ConversationId, Event], Awaitable[object]],
        cancel: Callable[[RunId], None],
    ) -> None:
        self._process_id = process_id
        self._kind = kind
        self._liveness = Liveness(locks)
        self._conf = conf
        self._apply = apply
        self._cancel = cancel
        self._steady_since_s = time.monotonic()
        self._beat_at_s = time.monotonic()
        # When the last beat was, by the database's clock.
        self._told_at: datetime | None = None
        # Whether a worker was alive at the last beat.
        self.has_workers = True

    async def begin(self) -> None:
        """Show that this process lives."""
        await in_thread(processes.beat, self._process_id, kind=self._kind)
        self._liveness.hold(self._process_id)

    async def end(self) -> None:
        """This process performs nothing any more."""
        await in_thread(processes.say_goodbye, self._process_id)
        self._liveness.release()

    def forget_dead(self) -> None:
        """Remove the locks of what is long dead."""
        self._liveness.forget_dead()

    async def beat(self) -> None:
        """Say that this process lives, take over what dead ones had, and stop what somebody wants stopped."""
        await in_thread(processes.beat, self._process_id, kind=self._kind)
        now_s = time.monotonic()
        passed_s, self._beat_at_s = now_s - self._beat_at_s, now_s
        known = await in_thread(processes.known, silent_for_s=self._conf.agent_heartbeat_timeout_s)
        if passed_s > self._conf.agent_heartbeat_timeout_s / 2 or self._has_jumped(known, passed_s):
            # This process, or the database, stood still: so may the others' heartbeats have, and they get their time.
            # So they do when the clock was set by which they are judged.
            self._steady_since_s = now_s
        alive = self._alive(known)
        for lost in await in_thread(processes.lost_orders, alive, with_unclaimed=not self._conf.uses_workers):
            await self._take_over(lost)
        await self.cancel_stopping()

    async def cancel_stopping(self) -> None:
        """End what this process performs for runs that somebody stops, in case that the word of it was lost."""
        for run_id in await in_thread(processes.stopping_runs, self._process_id):
            self._cancel(run_id)

    def _has_jumped(self, known: Sequence[Known], passed_s: float) -> bool:
        """Whether the database's clock went otherwise than time did since the last beat."""
        own = next((process for process in known if process.process_id == self._process_id), None)
        before, self._told_at = self._told_at, None if own is None else own.beat_at
        if own is None or before is None:
            return False
        jump_s = (own.beat_at - before).total_seconds() - passed_s
        # Not heard a moment after its beat: it is set at this very moment.
        return abs(jump_s) > self._conf.agent_heartbeat_timeout_s / 2 or not own.is_heard

    def _alive(self, known: Sequence[Known]) -> set[uuid.UUID]:
        may_judge = self._beat_at_s - self._steady_since_s >= self._conf.agent_heartbeat_timeout_s
        alive = {
            process.process_id: process.kind
            for process in known
            if (process.is_heard or not may_judge) and not self._liveness.is_dead(process.process_id)
        }
        self.has_workers = "worker" in alive.values()
        return {self._process_id, *alive}

    async def _take_over(self, lost: Lost) -> None:
        logger.warning("An order of run %s lost its process; it is taken over", lost.run_id)
        event: Event
        match lost:
            case LostGeneration():
                event = GenerationLost(
                    run_id=lost.run_id,
                    generation_no=lost.generation_no,
                    text=lost.text,
                    can_ask_again=lost.loss_count < self._conf.agent_run_takeovers_max,
                    at_ms=now_ms(),
                )
            case LostCall():
                tool = all_tools().get(lost.tool)
                event = ToolLost(
                    run_id=lost.run_id,
                    call_id=lost.call_id,
                    execution_no=lost.execution_no,
                    can_run_again=tool is not None and tool.is_idempotent,
                    output=lost.output,
                    at_ms=now_ms(),
                )
        await self._apply(lost.conversation_id, event)
