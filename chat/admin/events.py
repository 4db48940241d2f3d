"""The log: every event of every conversation, read-only.

Knows what the list and the page of an event show. Must not know what events mean.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from chat import models
from chat.admin import filters
from chat.admin.access import leave_trace
from chat.admin.listing import ReadOnlyAdmin
from chat.admin.past_page import pretty
from chat.store.reviews import Access

# No row's is longer, and Python makes no number of several thousand.
KEY_MAX_DIGITS = 19


@admin.register(models.Event)
class EventAdmin(ReadOnlyAdmin):
    """Events, newest first."""

    ordering = ("-id",)
    columns = ("seq", "name", "at", "conversation_id", "conversation__title", "actor__username")
    list_display = ("number", "name", "of_conversation", "actor_name", "happened_at", "travel")
    list_display_links = ("number",)
    sortable_by = ()
    list_filter = (filters.EventNameFilter,)
    search_fields = ("conversation",)
    search_help_text = "The id of a conversation."

    @admin.display(description="event")
    def number(self, row: models.Event) -> int:
        """Its number in its conversation."""
        return row.seq

    @admin.display(description="conversation")
    def of_conversation(self, row: models.Event) -> SafeString:
        """The events of the same conversation."""
        return format_html('<a href="?q={}">{}</a>', row.conversation_id, str(row.conversation))

    @admin.display(description="actor")
    def actor_name(self, row: models.Event) -> str:
        """The person whose wish it was."""
        return row.actor.get_username() if row.actor else "–"

    @admin.display(description="at")
    def happened_at(self, row: models.Event) -> str:
        """When it came in."""
        return f"{row.at:%Y-%m-%d %H:%M:%S}.{row.at.microsecond // 1000:03}"

    @admin.display(description="as it was")
    def travel(self, row: models.Event) -> SafeString:
        """The way to what the user saw then."""
        place = reverse("admin:chat_conversation_at", args=(row.conversation_id,))
        return format_html('<a href="{}?at={}">Show</a>', place, row.seq)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """The events of one conversation, which have an index of their own."""
        if not search_term.strip():
            return queryset, False
        try:
            chosen = UUID(search_term.strip())
        except ValueError:
            request.searched = "That is not the id of a conversation, such as its address has it."  # type: ignore[attr-defined]
            return queryset.none(), False
        request.searched = "Searched: the log of the conversation with this id."  # type: ignore[attr-defined]
        return queryset.filter(conversation_id=chosen).order_by("-seq"), False

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The page of one event."""
        if request.method not in {"GET", "HEAD"}:
            raise PermissionDenied
        self.check_may(request, "view_event")
        rows = models.Event.objects.select_related("conversation", "actor").defer("conversation__snapshot")
        is_key = object_id.isascii() and object_id.isdigit() and len(object_id) <= KEY_MAX_DIGITS
        row = rows.filter(pk=int(object_id)).first() if is_key else None
        if row is None:
            raise Http404
        leave_trace(request, row.conversation_id, what=Access.EVENT, seq=row.seq)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"Event {row.seq}: {row.name}",
            "row": row,
            "payload": pretty(row.payload),
        }
        return TemplateResponse(request, "admin/chat/event_page.html", context)
