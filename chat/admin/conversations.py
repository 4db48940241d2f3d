"""The list of conversations, and the addresses of their pages.

Knows what the list shows and which view answers where. Must not know what is on the pages.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import SafeString

from chat import models
from chat.admin import conversation_page, filters, past_page, search
from chat.admin.actions import ACTIONS
from chat.admin.listing import ReadOnlyAdmin, badge, may

PHASE_KINDS = {"awaiting_approval": "warn", "generating": "good", "running_tools": "good", "stopping": "warn"}
REVIEW_KINDS = {"reviewed": "good", "flagged": "bad"}


@admin.register(models.Conversation)
class ConversationAdmin(ReadOnlyAdmin):
    """Conversations of everybody."""

    ordering = ("-active_at", "-id")
    date_hierarchy = "active_at"
    lookups = ("user__id__exact",)
    columns = (
        "title",
        "phase",
        "is_deleted",
        "seq",
        "active_at",
        "message_count",
        "call_count",
        "failed_call_count",
        "prompt_tokens",
        "completion_tokens",
        "review_state",
        "reviewed_seq",
        "user__username",
    )
    list_display = ("name", "owner", "stands", "reviewed", "last_activity", "calls", "message_total", "tokens")
    list_display_links = ("name",)
    sortable_by = ()
    list_filter = (
        filters.ReviewFilter,
        filters.PhaseFilter,
        filters.WaitingFilter,
        filters.FailedFilter,
        filters.OwnerFilter,
        filters.AgentFilter,
        filters.PutAwayFilter,
        filters.SearchFilter,
    )
    # What is searched stands in `chat.admin.search`; this makes the field appear.
    search_fields = ("title",)
    search_help_text = (
        "In titles, user names and ids. For the texts of messages choose “Texts of messages” among the filters."
    )
    actions = ACTIONS

    @admin.display(description="conversation")
    def name(self, row: models.Conversation) -> SafeString:
        """Its title."""
        return format_html("{}{}", str(row), badge("put away") if row.is_deleted else "")

    @admin.display(description="user")
    def owner(self, row: models.Conversation) -> SafeString:
        """Whose it is, with a way to the others of theirs."""
        query = urlencode({"user__id__exact": row.user_id})
        return format_html('<a href="?{}">{}</a>', query, row.user.get_username())

    @admin.display(description="phase")
    def stands(self, row: models.Conversation) -> SafeString:
        """Where it stands."""
        return badge(filters.in_words(row.phase), PHASE_KINDS.get(row.phase, ""))

    @admin.display(description="messages")
    def message_total(self, row: models.Conversation) -> int:
        """How many."""
        return row.message_count

    @admin.display(description="tool calls")
    def calls(self, row: models.Conversation) -> SafeString:
        """How many, and how many of them failed."""
        failed = badge(f"{row.failed_call_count} failed", "bad") if row.failed_call_count else ""
        return format_html("{} {}", row.call_count, failed)

    @admin.display(description="tokens in, out")
    def tokens(self, row: models.Conversation) -> str:
        """What its answers took, as far as they told."""
        return f"{row.prompt_tokens:,} / {row.completion_tokens:,}"

    @admin.display(description="last activity")
    def last_activity(self, row: models.Conversation) -> str:
        """When a message was last sent."""
        return f"{row.active_at:%Y-%m-%d %H:%M}"

    @admin.display(description="review")
    def reviewed(self, row: models.Conversation) -> SafeString | str:
        """What staff said of it, and how much has happened since."""
        if not row.review_state:
            return "–"
        since = row.seq - (row.reviewed_seq or 0)
        words = f" {since} events since" if since else ""
        return format_html("{}{}", badge(filters.in_words(row.review_state), REVIEW_KINDS[row.review_state]), words)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """A bounded search, which tells the list what it looked at."""
        is_in_texts = request.GET.get("in") == filters.IN_TEXTS
        found, words = search.find(queryset, search_term, is_in_texts=is_in_texts)
        request.searched = words  # type: ignore[attr-defined]
        return found, False

    def has_review_permission(self, request: HttpRequest) -> bool:
        """Whether they may say what they think of it."""
        return may(request, "review_conversation")

    def has_stop_permission(self, request: HttpRequest) -> bool:
        """Whether they may stop what runs."""
        return may(request, "stop_conversation")

    def has_close_permission(self, request: HttpRequest) -> bool:
        """Whether they may put conversations away."""
        return may(request, "close_conversation")

    def has_export_permission(self, request: HttpRequest) -> bool:
        """Whether they may take conversations along."""
        return may(request, "export_conversation")

    def get_urls(self) -> list[URLPattern]:
        """The pages of one conversation, before the admin's own."""
        pages = (
            ("at", past_page.show, "at/"),
            ("review", conversation_page.review, "review/"),
            ("stop", conversation_page.stop, "stop/"),
            ("close", conversation_page.close, "close/"),
            ("restore", conversation_page.restore, "restore/"),
            ("export", conversation_page.export, "export.<str:ending>"),
        )
        own = [
            path(
                f"<uuid:conversation_id>/{place}",
                self.admin_site.admin_view(view),
                {"model_admin": self},
                name=f"chat_conversation_{name}",
            )
            for name, view, place in pages
        ]
        return own + super().get_urls()

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The page of one conversation, which nobody can change here."""
        if request.method not in {"GET", "HEAD"}:
            raise PermissionDenied
        return conversation_page.show(request, object_id, model_admin=self)
