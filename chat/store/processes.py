"""Which processes there are, and which orders have lost theirs."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Q
from django.db.models.functions import Now

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
    run_id: RunId
    generation_no: int
    text: str
    loss_count: int


@dataclass(frozen=True, kw_only=True, slots=True)
class LostCall:
    """An order to a tool whose process is gone. `output` is what it had printed when that was last saved."""

    conversation_id: ConversationId
    run_id: RunId
    call_id: CallId
    execution_no: int
    tool: str
    output: str


Lost = LostGeneration | LostCall


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """A process that said that it is there. beat_at: when, by the clock of the database. is_heard: lately enough to be
    alive.
    """

    process_id: uuid.UUID
    kind: str
    beat_at: datetime
    is_heard: bool


def beat(process_id: uuid.UUID, *, kind: str) -> None:
    """Say that this process is alive."""
    if models.Process.objects.filter(id=process_id).update(beat_at=Now()):
        return
    place = {"host": socket.gethostname(), "pid": os.getpid()}
    models.Process.objects.create(id=process_id, kind=kind, started_at=Now(), beat_at=Now(), **place)
    active = models.Run.objects.filter(ended_at=None).exclude(owner=None).values("owner")
    models.Process.objects.filter(beat_at__lt=_ago(FORGOTTEN_AFTER)).exclude(id__in=active).delete()


def _ago(time: timedelta) -> datetime:
    # An expression for the database, whose clock is the same for all machines.
    ago: datetime = Now() - time  # type: ignore[assignment]
    return ago


def say_goodbye(process_id: uuid.UUID) -> None:
    """This process performs nothing any more: what it leaves can be taken over at once."""
    models.Process.objects.filter(id=process_id).delete()


def try_to_write() -> None:
    """Raises what a database raises that can be read, and takes nothing."""
    models.Process.objects.filter(id=uuid.uuid4()).update(beat_at=Now())


def known(*, silent_for_s: float) -> list[Known]:
    """Every process that has not said goodbye; those silent for so long are not heard."""
    silence = timedelta(seconds=silent_for_s)
    # Nobody was heard in the future: the clock went back since, maybe after their end.
    silent = Q(beat_at__lt=_ago(silence)) | Q(beat_at__gt=_ago(-silence))
    heard = set(models.Process.objects.exclude(silent).values_list("id", flat=True))
    return [
        Known(process_id=process_id, kind=kind, beat_at=beat_at, is_heard=process_id in heard)
        for process_id, kind, beat_at in models.Process.objects.values_list("id", "kind", "beat_at")
    ]


def lost_orders(alive: Collection[uuid.UUID], *, with_unclaimed: bool) -> list[Lost]:
    """Open orders of processes that are not among those alive.

    with_unclaimed: also those that nobody has taken yet, where there is nobody else to take them.
    A run that waits for a person has no open order: nothing of it can be lost.
    """
    is_lost = ~Q(owner__in=alive) & Q(owner__isnull=False)
    if with_unclaimed:
        is_lost |= Q(owner__isnull=True)
    return [*_generations(models.Run.objects.filter(is_lost, ended_at=None)), *_calls(is_lost)]


def _generations(lost: Iterable[models.Run]) -> list[Lost]:
    runs = sorted(lost, key=lambda run: run.started_at)
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
            run_id=RunId(run.id),
            generation_no=run.generation_no,
            text=texts[run.id],
            loss_count=run.generation_no - answer_counts[run.id],
        )
        for run in runs
        if run.id in texts
    ]


def _calls(is_lost: Q) -> list[Lost]:
    return [
        LostCall(
            conversation_id=ConversationId(call.conversation_id),
            run_id=RunId(call.run_id),
            call_id=CallId(call.id),
            execution_no=call.execution_no,
            tool=call.tool,
            output=call.output,
        )
        for call in models.ToolCall.objects.filter(is_lost, state__in=("approved", "running"))
    ]


def stopping_runs(process_id: uuid.UUID) -> set[RunId]:
    """Runs with orders of this process that somebody asked to stop, so that a lost word of it does no harm."""
    runs = models.Run.objects.filter(owner=process_id, ended_at=None, conversation__phase="stopping")
    calls = models.ToolCall.objects.filter(
        owner=process_id, state__in=("approved", "running"), conversation__phase="stopping"
    )
    return {RunId(run) for run in [*runs.values_list("id", flat=True), *calls.values_list("run_id", flat=True)]}
