"""The processes of the site, to be read: which there are, what they do, and when each was last heard of."""

from __future__ import annotations

from datetime import UTC, datetime

from django.contrib import admin
from django.db.models import Count, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import HttpRequest

from chat import models
from chat.admin.listing import ReadOnlyAdmin


@admin.register(models.Process)
class ProcessAdmin(ReadOnlyAdmin):
    """Servers, webs and workers."""

    list_display = ("kind", "host", "pid", "open_orders", "heard", "started_at", "id")
    list_display_links = None
    sortable_by = ()
    ordering = ("kind", "host", "pid")

    def get_queryset(self, request: HttpRequest) -> QuerySet[models.Process]:
        """With how many orders each has."""
        runs = models.Run.objects.filter(owner=OuterRef("id"), ended_at=None, conversation__phase="generating")
        calls = models.ToolCall.objects.filter(owner=OuterRef("id"), state__in=("approved", "running"))
        return models.Process.objects.annotate(
            asks=Coalesce(Subquery(runs.order_by().values("owner").annotate(n=Count("id")).values("n")), 0),
            runs=Coalesce(Subquery(calls.order_by().values("owner").annotate(n=Count("id")).values("n")), 0),
        )

    @admin.display(description="open orders")
    def open_orders(self, row: models.Process) -> str:
        """What it performs."""
        return f"{row.asks} to the model, {row.runs} to tools"  # type: ignore[attr-defined]

    @admin.display(description="last heard of")
    def heard(self, row: models.Process) -> str:
        """How long ago."""
        return f"{max(0, round((datetime.now(UTC) - row.beat_at).total_seconds()))} s ago"
