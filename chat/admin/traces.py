"""What staff looked at, and what they said: lists that nobody can change.

Knows the two tables. Must not know who writes them.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from chat import models
from chat.admin import filters
from chat.admin.listing import Lines, badge


def _page(conversation_id: UUID, words: str) -> SafeString:
    place = reverse("admin:chat_conversation_change", args=(conversation_id,))
    return format_html('<a href="{}">{}</a>', place, words)


@admin.register(models.AccessTrace)
class AccessTraceAdmin(Lines):
    """Who looked at what."""

    columns = ("staff_name", "what", "conversation_id", "subject", "seq", "address", "at")
    list_display = ("happened_at", "staff_name", "what", "of_conversation", "subject", "seq", "address")
    list_filter = (filters.AccessFilter,)
    search_fields = ("staff_name",)
    search_help_text = "The name of a member of staff, as it was then, or the id of a conversation."

    @admin.display(description="at")
    def happened_at(self, row: models.AccessTrace) -> str:
        """When."""
        return f"{row.at:%Y-%m-%d %H:%M:%S}"

    @admin.display(description="conversation")
    def of_conversation(self, row: models.AccessTrace) -> SafeString:
        """Of which conversation."""
        return _page(row.conversation_id, str(row.conversation_id))

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By a whole name or id: both have an index."""
        text = search_term.strip()
        if not text:
            return queryset, False
        try:
            return queryset.filter(conversation_id=UUID(text)), False
        except ValueError:
            return queryset.filter(Q(staff__username=text) | Q(staff_name=text)), False


@admin.register(models.Review)
class ReviewAdmin(Lines):
    """What staff said of conversations, every word of it."""

    columns = ("state", "note", "seq", "at", "conversation_id", "conversation__title", "by__username")
    list_display = ("happened_at", "says", "of_conversation", "by_name", "seq", "note")
    list_filter = (filters.ReviewStateFilter,)

    @admin.display(description="at")
    def happened_at(self, row: models.Review) -> str:
        """When."""
        return f"{row.at:%Y-%m-%d %H:%M}"

    @admin.display(description="review")
    def says(self, row: models.Review) -> SafeString:
        """What it says."""
        return badge(filters.in_words(row.state), "bad" if row.state == "flagged" else "good")

    @admin.display(description="by")
    def by_name(self, row: models.Review) -> str:
        """Who said it."""
        return row.by.get_username() if row.by else "a user who was deleted"

    @admin.display(description="conversation")
    def of_conversation(self, row: models.Review) -> SafeString:
        """Of which conversation."""
        return _page(row.conversation_id, str(row.conversation))
