"""Tool calls: the list, and the page of one, where staff decide what was given to them.

Knows what both show, and who may decide what. Must not know how a decision comes about.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import Case, QuerySet, TextField, Value, When
from django.db.models.functions import Right
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator

from chat import models
from chat.admin import deciding, filters
from chat.admin.access import leave_trace
from chat.admin.call_facts import call_facts, decider, decision_words, duration, waits_words
from chat.admin.listing import ReadOnlyAdmin, badge
from chat.core.calls import CallState
from chat.render.calls import call_context
from chat.store.reviews import Access
from chat.store.rows import call_value

ERROR_CHARACTERS = 120
# Where the last line of an error lies, with what comes after it.
RESULT_END_CHARACTERS = 500
# How lines begin that come after an error in what a tool brings.
AFTER_ERROR = ("Exit code ", "The kernel was restarted", "Shown to the user: ")


@admin.register(models.ToolCall)
class ToolCallAdmin(ReadOnlyAdmin):
    """Tool calls of everybody, newest first."""

    ordering = ("-proposed_at", "-id")
    date_hierarchy = "proposed_at"
    columns = (
        "tool",
        "state",
        "needs_staff",
        "execution_no",
        "is_staff_decision",
        "decision_scope",
        "proposed_at",
        "decided_at",
        "started_at",
        "ended_at",
        "conversation_id",
        "number",
        "decided_by__username",
    )
    list_display = ("tool", "stands", "decision", "who", "waited", "took", "error", "of_conversation", "proposed")
    list_display_links = ("tool",)
    sortable_by = ()
    list_filter = (filters.CallStateFilter, filters.ToolFilter, filters.DecisionFilter)
    search_fields = ("id",)
    search_help_text = "The id of a conversation or of a tool call."

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """The rows; of a result no more than the end, and that only of a failure."""
        failure = When(state=CallState.FAILED.value, then=Right("result", RESULT_END_CHARACTERS))
        rows = super().get_queryset(request)
        annotated: QuerySet[Any] = rows.annotate(failure=Case(failure, default=Value(""), output_field=TextField()))
        return annotated

    @admin.display(description="state")
    def stands(self, row: models.ToolCall) -> SafeString:
        """How far it has come."""
        facts = call_facts(row)
        return badge(facts["state"], facts["kind"])

    @admin.display(description="decision")
    def decision(self, row: models.ToolCall) -> str:
        """What was decided."""
        return decision_words(row)

    @admin.display(description="decided by")
    def who(self, row: models.ToolCall) -> str:
        """Who decided."""
        return decider(row) or "–"

    @admin.display(description="waited")
    def waited(self, row: models.ToolCall) -> str:
        """How long it waited for a person."""
        return str(call_facts(row)["waited"]) or "–"

    @admin.display(description="took")
    def took(self, row: models.ToolCall) -> str:
        """How long it ran."""
        return duration(row.ended_at, row.started_at) or "–"

    @admin.display(description="error")
    def error(self, row: Any) -> str:
        """The last line of why it failed: there a traceback says it."""
        lines = [line for line in row.failure.splitlines() if any(map(str.isalnum, line))]
        errors = [line for line in lines if not line.startswith(AFTER_ERROR)]
        return Truncator((errors or lines or ["–"])[-1].strip()).chars(ERROR_CHARACTERS)

    @admin.display(description="conversation")
    def of_conversation(self, row: models.ToolCall) -> SafeString:
        """The way to its conversation."""
        place = reverse("admin:chat_conversation_change", args=(row.conversation_id,))
        return format_html('<a href="{}">{}…</a>', place, str(row.conversation_id)[:8])

    @admin.display(description="proposed")
    def proposed(self, row: models.ToolCall) -> str:
        """When the model made it."""
        return f"{row.proposed_at:%Y-%m-%d %H:%M:%S}"

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """By an id: both kinds have an index."""
        if not search_term.strip():
            return queryset, False
        try:
            name = UUID(search_term.strip())
        except ValueError:
            request.searched = "That is not an id, such as an address has it."  # type: ignore[attr-defined]
            return queryset.none(), False
        request.searched = "Searched: the call with this id, and the calls of the conversation with it."  # type: ignore[attr-defined]
        rows = queryset.filter(conversation_id=name)
        return (rows if rows.exists() else queryset.filter(pk=name)), False

    def get_urls(self) -> list[URLPattern]:
        """The address of decisions, before the admin's own."""
        own = [
            path(
                "<uuid:call_id>/decide/",
                self.admin_site.admin_view(deciding.decide),
                {"model_admin": self},
                name="chat_toolcall_decide",
            )
        ]
        return own + super().get_urls()

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        """The page of one call."""
        if request.method not in {"GET", "HEAD"}:
            raise PermissionDenied
        self.check_may(request, "view_toolcall")
        row = deciding.found(object_id)
        leave_trace(request, row.conversation_id, what=Access.CALL, subject=row.pk)
        value = call_value(row)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"{row.tool}: {waits_words(row) or filters.in_words(row.state)}",
            "row": row,
            "call": call_context(value),
            "proposed": call_context(replace(value, arguments=value.proposed_arguments)),
            "facts": call_facts(row),
            "is_asked": deciding.is_asked(row),
            "why_not": deciding.why_not(request, row),
        }
        return TemplateResponse(request, "admin/chat/call_page.html", context)
