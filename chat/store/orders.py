"""Orders as they are open: what a job that names one has to bring, and those that nobody has taken."""

from __future__ import annotations

import random
import uuid
from datetime import timedelta

from django.db.models import OuterRef, Subquery
from django.db.models.functions import Now

from chat import models
from chat.core.effects import Order, RunTool, StartGeneration
from chat.core.ids import CallId, MessageId, RunId
from chat.core.orders import order_of
from chat.store.rows import call_value


def untaken_call(call_id: CallId, execution_no: int) -> RunTool | None:
    """The order to run a call; None when it is over, or somebody has it."""
    rows = models.ToolCall.objects.filter(id=call_id, execution_no=execution_no, state="approved", owner=None)
    row = rows.first()
    return None if row is None else order_of(call_value(row))


def untaken() -> list[tuple[models.Conversation, Order]]:
    """Every order that nobody has taken."""
    found: list[tuple[models.Conversation, Order]] = []
    answers = models.Message.objects.filter(run_id=OuterRef("id"), state="streaming").order_by("pk")
    runs = models.Run.objects.filter(ended_at=None, owner=None).select_related("conversation")
    # One query for all of them: every worker asks, every second, and most when many wait.
    for run in runs.annotate(answer_id=Subquery(answers.values("message_id")[:1])).exclude(answer_id=None):
        order = StartGeneration(
            run_id=RunId(run.id), generation_no=run.generation_no, message_id=MessageId(run.answer_id)
        )
        found.append((run.conversation, order))
    calls = models.ToolCall.objects.filter(state="approved", owner=None).select_related("conversation")
    found += [(call.conversation, order_of(call_value(call))) for call in calls]
    return found


def worker_of_tools(row: models.Conversation, *, silent_for_s: float) -> uuid.UUID | None:
    """The worker in which a conversation's kernel lives; when it is not heard of, one that is has it from now on.

    None when no worker is heard of. Two in the same work folder would take its files from each other.
    """
    heard = workers_heard(silent_for_s=silent_for_s)
    if heard and row.tools_at not in heard:
        row.tools_at = random.choice(heard)  # noqa: S311 - any is as good as another
        models.Conversation.objects.filter(id=row.id).update(tools_at=row.tools_at)
    return row.tools_at if heard else None


def workers_heard(*, silent_for_s: float) -> list[uuid.UUID]:
    """The workers that are alive."""
    heard_since = Now() - timedelta(seconds=silent_for_s)
    rows = models.Process.objects.filter(kind="worker", beat_at__gte=heard_since)
    return list(rows.values_list("id", flat=True))
