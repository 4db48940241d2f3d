"""The jobs that bring orders to workers, where there are workers.

Knows the tables of the engine of jobs. Its own page is replaced: its filters read all jobs to know their choices, and
its actions end a job, which ends nothing of the order that it brought; that is stopped in its conversation.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from procrastinate.contrib.django.models import ProcrastinateEvent, ProcrastinateJob

from chat.admin import filters
from chat.admin.listing import Lines, badge

KINDS = {"todo": "warn", "doing": "good", "failed": "bad", "aborted": "bad"}


class JobAdmin(Lines):
    """Each job that waits or is done, and for a day those that did not end well."""

    columns = ("status", "queue_name", "args", "attempts")
    list_display = ("id", "how_far", "order", "queue_name", "since", "attempts")
    list_filter = (filters.JobStatusFilter,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """With the time of what last happened to it."""
        newest = ProcrastinateEvent.objects.filter(job=OuterRef("pk")).order_by("-id").values("at")[:1]
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.annotate(newest_at=Subquery(newest))  # type: ignore[no-any-return]

    @admin.display(description="status")
    def how_far(self, row: ProcrastinateJob) -> SafeString:
        """Its state."""
        return badge(row.status, KINDS.get(row.status, ""))

    @admin.display(description="since")
    def since(self, row: Any) -> str:
        """When that began."""
        return f"{row.newest_at:%Y-%m-%d %H:%M:%S}" if row.newest_at else ""

    @admin.display(description="order")
    def order(self, row: ProcrastinateJob) -> SafeString:
        """What is to be done, and in which conversation."""
        words = "Run a tool" if row.args.get("call") else "Ask the model"
        conversation = row.args.get("conversation", "")
        place = reverse("admin:chat_conversation_change", args=(conversation,))
        return format_html('{} in <a href="{}">{}</a>', words, place, conversation)


admin.site.unregister(ProcrastinateJob)
admin.site.register(ProcrastinateJob, JobAdmin)
