"""Which processes perform runs, and which orders have lost theirs."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.db.models import Count

from chat import models
from chat.core.ids import CallId, ConversationId, RunId

# Long enough for whoever asks what happened to an owner.
FORGOTTEN_AFTER = timedelta(days=1)


@dataclass(frozen=True, kw_only=True, slots=True)
class LostGeneration:
    """An order to the model whose process is gone.

    text: what its answer had when it was last saved.
    loss_count: how often an order of the run was lost before.
    """

    conversation_id: ConversationId
    owner: uuid.UUID
    run_id: RunId
    generation_no: int
    text: str
    loss_count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LostCall:
    """An order to a tool whose process is gone. `output` is what it had printed when that was last saved."""

    conversation_id: ConversationId
    owner: uuid.UUID
    run_id: RunId
    call_id: CallId
    execution_no: int
    tool: str
    output: str


Lost = LostGeneration | LostCall


def beat(process_id: uuid.UUID) -> None:
    """Say that this process is alive."""
    now = datetime.now(UTC)
    if not models.Process.objects.filter(id=process_id).update(beat_at=now):
        models.Process.objects.create(id=process_id, started_at=now, beat_at=now)
        active = models.Run.objects.filter(ended_at=None).values("owner")
        models.Process.objects.filter(beat_at__lt=now - FORGOTTEN_AFTER).exclude(id__in=active).delete()


def say_goodbye(process_id: uuid.UUID) -> None:
    """This process performs nothing any more: what it leaves can be taken over at once."""
    models.Process.objects.filter(id=process_id).delete()


def orders_of_others(process_id: uuid.UUID, *, silent_for_s: float) -> tuple[list[Lost], list[Lost]]:
    """Open orders of other processes: of those silent for so long or gone, and of those heard of since.

    A run that waits for a person has no open order: nothing of it can be lost.
    """
    orders = [*_generations(process_id), *_calls(process_id)]
    if not orders:
        return [], []
    heard_since = datetime.now(UTC) - timedelta(seconds=silent_for_s)
    heard = set(
        models.Process.objects.filter(id__in={order.owner for order in orders}, beat_at__gte=heard_since).values_list(
            "id", flat=True
        )
    )
    return [order for order in orders if order.owner not in heard], [order for order in orders if order.owner in heard]


def _generations(process_id: uuid.UUID) -> list[Lost]:
    runs = models.Run.objects.filter(ended_at=None).exclude(owner=process_id).order_by("started_at")
    texts = dict(
        models.Message.objects.filter(run_id__in=[run.id for run in runs], state="streaming").values_list(
            "run_id", "content"
        )
    )
    # Each answer that was begun has one order; every other was given because the one before was lost.
    answer_counts = dict(models.Message.objects.filter(run_id__in=texts).values_list("run_id").annotate(Count("id")))
    return [
        LostGeneration(
            conversation_id=ConversationId(run.conversation_id),
            owner=run.owner,
            run_id=RunId(run.id),
            generation_no=run.generation_no,
            text=texts[run.id],
            loss_count=run.generation_no - answer_counts[run.id],
        )
        for run in runs
        if run.id in texts
    ]


def _calls(process_id: uuid.UUID) -> list[Lost]:
    calls = models.ToolCall.objects.filter(state__in=("approved", "running")).exclude(owner=process_id)
    return [
        LostCall(
            conversation_id=ConversationId(call.conversation_id),
            owner=call.owner or process_id,
            run_id=RunId(call.run_id),
            call_id=CallId(call.id),
            execution_no=call.execution_no,
            tool=call.tool,
            output=call.output,
        )
        for call in calls
    ]


def stopping_runs(process_id: uuid.UUID) -> set[RunId]:
    """Runs with orders of this process that somebody asked to stop, so that a lost word of it does no harm."""
    runs = models.Run.objects.filter(owner=process_id, ended_at=None, conversation__phase="stopping")
    calls = models.ToolCall.objects.filter(
        owner=process_id, state__in=("approved", "running"), conversation__phase="stopping"
    )
    return {RunId(run) for run in [*runs.values_list("id", flat=True), *calls.values_list("run_id", flat=True)]}
