"""Who serves and who performs: the processes of the site, whether they live, and what they have in hand.

Knows the table of processes, and whose orders are open. Must not know how processes are started.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import (
    Count,
    DurationField,
    Exists,
    ExpressionWrapper,
    F,
    IntegerField,
    OuterRef,
    QuerySet,
    Subquery,
)
from django.db.models.functions import Coalesce, Now
from django.http import HttpRequest
from django.utils.safestring import SafeString

from chat import models
from chat.admin import filters
from chat.admin.listing import Lines, badge
from chat.core.calls import CallState

IN_HAND = (CallState.APPROVED.value, CallState.RUNNING.value)


@admin.register(models.Process)
class ProcessAdmin(Lines):
    """Each process that has not said goodbye. One that died stays for a day, so that it can be asked about."""

    columns = ("kind", "host", "pid", "started_at", "beat_at")
    ordering = ("kind", "host", "pid")
    list_display = ("kind", "host", "pid", "id", "started", "heard", "orders")
    list_filter = (filters.KindFilter,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With its silence, by the clock of the database, and the number of its open orders."""
        answers = models.Message.objects.filter(run_id=OuterRef("id"), state="streaming")
        runs = models.Run.objects.filter(Exists(answers), owner=OuterRef("pk"), ended_at=None)
        calls = models.ToolCall.objects.filter(owner=OuterRef("pk"), state__in=IN_HAND)
        silence = ExpressionWrapper(Now() - F("beat_at"), output_field=DurationField())
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.annotate(silence=silence, order_count=_count(runs) + _count(calls))  # type: ignore[no-any-return]

    @admin.display(description="started")
    def started(self, row: models.Process) -> str:
        """When."""
        return f"{row.started_at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="last heard")
    def heard(self, row: Any) -> SafeString:
        """How long ago, and whether that is too long."""
        silence: timedelta = row.silence
        is_lost = silence.total_seconds() > settings.AGENTSITE.agent_heartbeat_timeout_s
        return badge(f"{max(0.0, silence.total_seconds()):.0f} s ago", "bad" if is_lost else "good")

    @admin.display(description="open orders")
    def orders(self, row: Any) -> int:
        """How many answers and tool calls it performs, or had when it was last heard of."""
        return int(row.order_count)


def _count(rows: QuerySet[Any]) -> Coalesce:
    counted = rows.order_by().values("owner").annotate(number=Count("pk")).values("number")
    return Coalesce(Subquery(counted), 0, output_field=IntegerField())
