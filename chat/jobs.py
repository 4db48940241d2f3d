"""Orders as jobs of procrastinate, and the loop that takes them in a worker.

Knows how an order is written as a job, within the transaction of the step that gave it, and who takes it. A job only
brings an order to a worker: whose it is and how it ends is told by the log and its rows, so a job that is lost or comes
twice does no harm. Must not know how orders are performed.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, assert_never

from asgiref.sync import sync_to_async
from django.apps import apps
from django.db import close_old_connections, transaction
from procrastinate.contrib.django import app as jobs_app
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.job_context import JobContext
from procrastinate.jobs import Status
from procrastinate.worker import Worker

from chat.core.effects import Order, RunTool, StartGeneration
from chat.core.ids import CallId, ConversationId, MessageId, RunId
from chat.store import orders
from chat.store.threads import in_thread

logger = logging.getLogger(__name__)

TASK = "perform"
QUEUE = "orders"
# A notice of a new job can be missed while another is fetched; then it is found by looking.
POLL_INTERVAL_S = 0.2
RETRY_DELAY_S = 1.0
# When the engine of jobs has to be started anew, work under way goes on without its job.
LET_GO_AFTER_S = 0.1
# Jobs that did not end well, for whoever asks what happened.
KEPT_H = 24

Perform = Callable[[ConversationId, Order], Awaitable[None]]


def hand_over(row: Any, given: tuple[Order, ...], *, silent_for_s: float) -> None:
    """Leave orders of a conversation's row for workers, within the transaction of their step.

    silent_for_s: after which a worker is not waited for. A tool runs where the conversation's kernel lives.
    """
    for order in given:
        queue = QUEUE
        if isinstance(order, RunTool):
            worker = orders.worker_of_tools(row, silent_for_s=silent_for_s)
            queue = QUEUE if worker is None else _own_queue(worker)
        name, words = _written(order)
        job = jobs_app.configure_task(TASK, queue=queue, queueing_lock=name)
        job.defer(conversation=str(row.id), **words)


def hand_over_again(*, silent_for_s: float) -> int:
    """Leave the orders anew that nobody has taken and no job brings any more; how many they were."""
    given = orders.untaken()
    names = {_written(order)[0] for _, order in given}
    job_model = apps.get_app_config("procrastinate").get_model("ProcrastinateJob")
    jobs = job_model._default_manager.filter(status__in=("todo", "doing"))
    heard = {QUEUE, *map(_own_queue, orders.workers_heard(silent_for_s=silent_for_s))}
    brought = jobs.filter(queueing_lock__in=names, queue_name__in=heard)
    known = set(brought.values_list("queueing_lock", flat=True))
    count = 0
    for row, order in given:
        name, _ = _written(order)
        if name in known:
            continue
        try:
            with transaction.atomic():
                # What waits for a worker that is gone would be in the way.
                jobs.filter(queueing_lock=name, status="todo").delete()
                hand_over(row, (order,), silent_for_s=silent_for_s)
        except AlreadyEnqueued:
            continue
        count += 1
    return count


def _written(order: Order) -> tuple[str, dict[str, Any]]:
    """What names an order, and what its job says."""
    match order:
        case StartGeneration():
            words = {"run": str(order.run_id), "generation": order.generation_no, "message": str(order.message_id)}
            return f"{order.run_id} {order.generation_no}", words
        case RunTool():
            # Its arguments can be long, and are in its row.
            words = {"call": str(order.call_id), "execution": order.execution_no}
            return f"{order.call_id} {order.execution_no}", words
        case _:
            assert_never(order)


def _own_queue(worker: uuid.UUID) -> str:
    # PostgreSQL tells of a new job on a channel of this name, for which it has room for 40 characters.
    return f"{QUEUE} {worker.hex}"


@jobs_app.task(name=TASK, pass_context=True)  # type: ignore[untyped-decorator]
async def perform(
    context: JobContext,
    *,
    conversation: str,
    run: str = "",
    generation: int = 0,
    message: str = "",
    call: str = "",
    execution: int = 0,
) -> None:
    """One job: perform the order that it names, unless that is over."""
    order: Order | None
    if call:
        order = await in_thread(orders.untaken_call, CallId(uuid.UUID(call)), execution)
    else:
        order = StartGeneration(
            run_id=RunId(uuid.UUID(run)), generation_no=generation, message_id=MessageId(uuid.UUID(message))
        )
    if order is not None:
        work: Perform = context.additional_context["perform"]
        await work(ConversationId(uuid.UUID(conversation)), order)


class JobLoop:
    """Takes jobs, as long as its process wants them.

    worker_id: the process. concurrency: how many at once. perform: does what a job asks for.
    heartbeat_s, silent_for_s: how often the loop says that it lives, and when others are held to be dead.
    """

    def __init__(
        self, *, worker_id: uuid.UUID, concurrency: int, perform: Perform, heartbeat_s: float, silent_for_s: float
    ) -> None:
        self._queues = [QUEUE, _own_queue(worker_id)]
        self._name = str(worker_id)
        self._concurrency = concurrency
        self._perform = perform
        self._heartbeat_s = heartbeat_s
        self._silent_for_s = silent_for_s
        self._is_stopping = False
        self._worker: Worker | None = None
        self._working: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to take jobs."""
        self._working = asyncio.create_task(self._keep_working(), name="jobs")

    def take_no_more(self) -> None:
        """Take no new jobs. Those that were taken go on."""
        self._is_stopping = True
        if self._worker is not None:
            self._worker.shutdown_graceful_timeout = None
            self._worker.stop()

    async def stop(self) -> None:
        """Until the jobs that were taken have ended."""
        if self._working is not None:
            await asyncio.wait({self._working})

    async def mend(self) -> None:
        """Remove jobs of workers that died, and bring orders anew that lost their job."""
        # The manager asks in a thread whose connection nobody else sees to: one that broke would stay broken.
        await sync_to_async(close_old_connections)()
        manager = jobs_app.job_manager
        for job in await manager.get_stalled_jobs(seconds_since_heartbeat=self._silent_for_s):
            try:
                await manager.finish_job(job, Status.ABORTED, delete_job=True)
            except ConnectorException as fault:
                # Mostly another worker was first; what else it may be, the next look finds again.
                logger.info("Job %s was not removed: %s", job.id, fault.__cause__ or fault)
        count = await in_thread(hand_over_again, silent_for_s=self._silent_for_s)
        if count:
            logger.warning("%s orders had lost their jobs and were left anew", count)

    async def forget_old(self) -> None:
        """Remove jobs that ended long ago."""
        await sync_to_async(close_old_connections)()
        await jobs_app.job_manager.delete_old_jobs(
            nb_hours=KEPT_H, include_failed=True, include_cancelled=True, include_aborted=True
        )

    async def _keep_working(self) -> None:
        while not self._is_stopping:
            try:
                await self._work()
            except Exception as fault:
                logger.warning("Jobs can't be taken: %r", fault.__cause__ or fault)
            if not self._is_stopping:
                await asyncio.sleep(RETRY_DELAY_S)

    async def _work(self) -> None:
        app = jobs_app.with_connector(jobs_app.connector.get_worker_connector())
        async with app.open_async():
            self._worker = Worker(
                app,
                queues=self._queues,
                name=self._name,
                concurrency=self._concurrency,
                fetch_job_polling_interval=POLL_INTERVAL_S,
                shutdown_graceful_timeout=LET_GO_AFTER_S,
                delete_jobs="successful",
                additional_context={"perform": self._perform},
                install_signal_handlers=False,
                update_heartbeat_interval=self._heartbeat_s,
                stalled_worker_timeout=self._silent_for_s,
            )
            if not self._is_stopping:
                await self._worker.run()
