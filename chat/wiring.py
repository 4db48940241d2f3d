"""Builds engine, runner, bus and what they need, and starts and stops them: the one place that knows who is who.

A `Site` belongs to one process and one event loop. Servers start it as they come up (see `agentsite.asgi`), a worker by
its command; a socket without a server, as in tests, starts it by coming.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import logging
import sys
import uuid
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from django.conf import settings

from chat import metrics
from chat.bus import Bus, Subscriber
from chat.clock import now_ms
from chat.conf import Conf
from chat.copies import Copies
from chat.core.effects import CancelRun, Effect, Order
from chat.core.events import Event
from chat.core.ids import ConversationId
from chat.core.state import Conversation
from chat.engine import Engine
from chat.outside import Outside
from chat.performers.untaken import ends_of_untaken
from chat.recovery import Recovery
from chat.relay import Relay
from chat.render import fragments, highlight
from chat.runner import Performance, Runner
from chat.store import faults, purge, reads
from chat.store.commits import HandOver
from chat.store.quotas import Quota
from chat.store.threads import in_thread
from chat.workplace import Workplace, limits, work_folder

if TYPE_CHECKING:
    from chat.jobs import JobLoop

__all__ = ["Site", "limits", "running", "site", "stop", "subscribers", "work_folder"]

logger = logging.getLogger(__name__)

# In which processes of this machine show that they live.
LOCK_FOLDER = Path(settings.BASE_DIR) / "var" / "processes"
# How often is looked for what was deleted long enough ago.
PURGE_INTERVAL_S = 3600
# How often the database is asked what others did, while the channel layer can't tell.
UNHEARD_INTERVAL_S = 0.25
# Streams make thousands of objects a second and hardly a cycle: to look for cycles after each 700 took a twelfth of a
# loaded core. But what sockets leave behind must be found before it is tens of megabytes, so that all is looked through
# after half a million.
GC_THRESHOLDS = (20_000, 5, 5)
# A tenth of Python's own.
SWITCH_INTERVAL_S = 0.0005


class Site:
    """Everything that runs in this process.

    worker_concurrency: how many orders it takes at once, as a worker; 0: it serves, and performs what it starts itself
    unless workers do that.
    """

    def __init__(self, conf: Conf, *, worker_concurrency: int = 0) -> None:
        self.conf = conf
        self.process_id = uuid.uuid4()
        self._is_worker = is_worker = worker_concurrency > 0
        performs = is_worker or not conf.uses_workers
        self.bus = Bus(backlog_max=conf.agent_socket_backlog_max_frames, subscribers=subscribers, watch=metrics.watch)
        self.runner = Runner(make=self._performance, report=self._report)
        silent_for_s = conf.agent_heartbeat_timeout_s
        hand_over: HandOver | None = None
        self._jobs: JobLoop | None = None
        if conf.uses_workers:
            # The engine of jobs takes a third of a second to import, which a site without workers need not wait for.
            from chat import jobs  # noqa: PLC0415

            hand_over = partial(jobs.hand_over, silent_for_s=silent_for_s)
            if is_worker:
                self._jobs = jobs.JobLoop(
                    worker_id=self.process_id,
                    concurrency=worker_concurrency,
                    perform=self.runner.perform,
                    heartbeat_s=conf.agent_heartbeat_interval_s,
                    silent_for_s=silent_for_s,
                )
        self.engine = Engine(
            process_id=self.process_id,
            announce=self.bus.announce,
            dispatch=self._dispatch,
            hand_over=hand_over,
            quota=Quota(
                messages_per_hour=conf.agent_messages_max_per_hour,
                runs_at_once=conf.agent_runs_max_per_user,
                tokens_per_day=conf.agent_tokens_max_per_day,
            ),
        )
        outside = Outside(engine=self.engine, bus=self.bus, conf=conf)
        self._workplace = Workplace(conf, outside=outside) if performs else None
        self._recovery = Recovery(
            process_id=self.process_id,
            kind="worker" if is_worker else "server" if performs else "web",
            locks=LOCK_FOLDER,
            conf=conf,
            apply=self._report,
            cancel=self.runner.cancel,
        )
        self.relay: Relay | None = None
        if conf.redis_url:
            self.relay = Relay(
                self.bus,
                process_id=self.process_id,
                flushes_per_second_max=conf.agent_relay_flushes_per_second_max,
                cancel=self.runner.cancel if performs else None,
            )
            self.bus.exchange = self.relay
        self._measure()
        self._keeping: list[asyncio.Task[None]] = []
        self._endings: set[asyncio.Task[None]] = set()
        self._starting: asyncio.Task[None] | None = None
        # Whether the database took what was written when the last heartbeat was.
        self.can_save = True

    @property
    def copies(self) -> Copies | None:
        """Copies of what other processes perform; None where there are none."""
        return None if self.relay is None else self.relay.copies

    async def start(self) -> None:
        """Come up, and take over what dead processes left. Without effect when it has."""
        if self._starting is None or (self._starting.done() and self._starting.exception()):
            self._starting = asyncio.create_task(self._start(), name="site start")
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        # First what may not be there yet, so that nothing stands half built when the start is tried again.
        await self._recovery.begin()
        if self._workplace is not None:
            await self._workplace.open()
        if self.relay is not None:
            await self.relay.start()
        await self._beat()
        self._recovery.forget_dead()
        self._keeping = [
            asyncio.create_task(self._keep_beating(), name="heartbeat"),
            asyncio.create_task(self._keep_purging(), name="purge"),
        ]
        if self.relay is not None:
            self._keeping.append(asyncio.create_task(self._keep_mending(self.relay), name="mending"))
        if self._jobs is not None:
            self._jobs.start()
        if not self._is_worker:
            await asyncio.to_thread(highlight.prepare)
            await asyncio.to_thread(fragments.prepare)
        # After each statement the store waits for the interpreter, which a busy loop gives up sooner so: a Stop must
        # not wait for hundreds of such moments.
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        # A full collection stops a loaded server for 100 ms and more; what lives from the start needs none.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        # What only the start needed, migrations most of all, goes back to the system, where its library can do that.
        if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
            trim(0)

    async def stop(self) -> None:
        """Go down: readers are told to come back elsewhere, and runs are left for whoever takes over."""
        if self._starting is not None:
            await asyncio.wait({self._starting})
        self.bus.say_goodbye()
        if self._jobs is not None:
            # Most of what runs ends in good time, and is not asked for again by others.
            self._jobs.take_no_more()
            await self.runner.settle(within_s=self.conf.agent_drain_timeout_s)
        for task in self._keeping:
            task.cancel()
        await asyncio.gather(*self._keeping, return_exceptions=True)
        await self.runner.drain()
        await self.engine.settle()
        if self._jobs is not None:
            await self._jobs.stop()
        if self._workplace is not None:
            await self._workplace.close()
        await self._recovery.end()
        if self.relay is not None:
            await self.relay.stop()

    def _performance(self, conversation_id: ConversationId, order: Order) -> Performance:
        assert self._workplace is not None  # noqa: S101 - who performs nothing is given no orders
        return self._workplace.performance(conversation_id, order)

    async def _report(self, conversation_id: ConversationId, event: Event) -> object:
        return await self.engine.apply(conversation_id, event)

    def _dispatch(self, state: Conversation, effects: tuple[Effect, ...]) -> None:
        """What becomes of effects after their commit. Orders that were handed over find their worker by themselves."""
        if not self.conf.uses_workers:
            self.runner.dispatch(state.conversation_id, effects)
            return
        for effect in effects:
            if isinstance(effect, CancelRun):
                self.runner.cancel(effect.run_id)
                if self.relay is not None:
                    self.relay.cancel_elsewhere(effect.run_id)
                for event in ends_of_untaken(state, at_ms=now_ms()):
                    ending = asyncio.create_task(self._end_untaken(state.conversation_id, event), name="end untaken")
                    self._endings.add(ending)
                    ending.add_done_callback(self._endings.discard)

    async def _end_untaken(self, conversation_id: ConversationId, event: Event) -> None:
        # It is refused when a worker has the order, who ends it.
        try:
            await self.engine.apply(conversation_id, event)
        except Exception:
            logger.exception("A stopped order could not be ended here; the worker that takes it ends it")

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(self.conf.agent_heartbeat_interval_s)
            try:
                await self._beat()
                self._note_saving(None)
                if self._jobs is not None:
                    await self._jobs.mend()
            except Exception as fault:
                if faults.is_of_database(fault):
                    self._note_saving(fault)
                else:
                    logger.exception("The heartbeat failed; it goes on")

    def _note_saving(self, fault: Exception | None) -> None:
        """Say once that the database takes nothing, and once that it does again."""
        could_save, self.can_save = self.can_save, fault is None
        if fault is not None and could_save:
            words = "Nothing can be saved (%s): give the database room and the right to write, or bring it back"
            logger.error(words, faults.in_a_line(fault))
        elif fault is None and not could_save:
            logger.warning("The database takes what is written again")

    async def _beat(self) -> None:
        await self._recovery.beat()
        if self._workplace is None:
            self.bus.note_performers(are_there=self._recovery.has_workers)

    async def _keep_mending(self, relay: Relay) -> None:
        """Look up what others may have said in vain: the more often, the less they can be heard."""
        while True:
            await asyncio.sleep(self.conf.agent_heartbeat_interval_s if relay.is_heard else UNHEARD_INTERVAL_S)
            try:
                await self._recovery.cancel_stopping()
                await self._mend_copies(relay)
            except Exception:
                logger.exception("What others did could not be looked up; it is tried again")

    async def _mend_copies(self, relay: Relay) -> None:
        conversation_ids, message_ids = relay.copies.wanted()
        if not conversation_ids:
            return
        is_lost, may_come = False, relay.is_heard
        for head in await in_thread(reads.heads, conversation_ids, texts_of=message_ids):
            is_lost |= relay.copies.found(
                head.conversation_id, seq=head.seq, text=head.text, reasoning=head.reasoning, may_come=may_come
            )
        if is_lost:
            self.bus.note_loss()

    def _measure(self) -> None:
        """Let the figures of this process be read."""
        metrics.gauge("sockets", "Sockets in this process.", lambda: len(list(self.bus.readers)))
        metrics.gauge("orders", "Orders that this process performs.", lambda: self.runner.active)
        relay = self.relay
        if relay is not None:
            metrics.gauge("relay_heard", "1 while the channel layer answers.", lambda: relay.is_heard)
            words = "Words for other processes that the channel layer did not take."
            metrics.total("relay_dropped", words, lambda: relay.dropped_count)
            words = "Gaps in what other processes said that were found and mended."
            metrics.total("relay_healed", words, lambda: relay.copies.healed_count)

    async def purge(self) -> int:
        """Remove for good the conversations that were deleted long enough ago; how many they were."""
        # A kernel of another process has ended by then.
        kept = max(
            timedelta(days=self.conf.agent_deleted_kept_days), timedelta(seconds=self.conf.agent_sandbox_idle_timeout_s)
        )
        before = datetime.now(UTC) - kept
        count = 0
        for conversation_id in await in_thread(purge.due, deleted_before=before):
            if self._workplace is not None:
                await self._workplace.close_kernel(conversation_id)
            remove_folder = work_folder(conversation_id).remove
            count += await in_thread(purge.remove, conversation_id, deleted_before=before, remove_folder=remove_folder)
        return count

    async def _keep_purging(self) -> None:
        while True:
            try:
                await self.purge()
                if self._jobs is not None:
                    await self._jobs.forget_old()
            except Exception:
                logger.exception("What was deleted could not be removed; it is tried again")
            await asyncio.sleep(PURGE_INTERVAL_S)


# Called with every announcement of this process; other apps add theirs in `AppConfig.ready`.
subscribers: list[Subscriber] = [metrics.count]

_sites: dict[asyncio.AbstractEventLoop, Site] = {}


def site(*, worker_concurrency: int = 0) -> Site:
    """The site of this event loop, which may not have started: enough for wishes that start no run."""
    loop = asyncio.get_running_loop()
    for other in [known for known in _sites if known.is_closed()]:
        del _sites[other]
    if loop not in _sites:
        _sites[loop] = Site(settings.AGENTSITE, worker_concurrency=worker_concurrency)
    return _sites[loop]


async def running() -> Site:
    """The same, started."""
    known = site()
    await known.start()
    return known


async def stop() -> None:
    """Stop the site of this event loop, when there is one."""
    known = _sites.pop(asyncio.get_running_loop(), None)
    if known is not None:
        await known.stop()
