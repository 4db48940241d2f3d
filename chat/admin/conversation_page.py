"""The page of one conversation: what its user saw, what ran, who decided, what staff said; and what can be done there.

Knows what the page shows, and which permission each button needs. Must not know how anything is done.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from chat import models
from chat.admin import exporting, wishes
from chat.admin.access import leave_trace
from chat.admin.actions import is_confirmed, note_of, question
from chat.admin.call_facts import call_facts
from chat.admin.filters import in_words
from chat.admin.listing import ReadOnlyAdmin, may, person_id
from chat.admin.seen import as_seen
from chat.clock import now_ms
from chat.core.ids import ConversationId
from chat.errors import ConversationMissingError
from chat.store import reads, reviews
from chat.store.reviews import Access, ReviewState

# The newest of each; the rest stands in the lists, which are linked.
ROWS_MAX = 50
CALL_COLUMNS = (
    "id",
    "conversation_id",
    "number",
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
    "decided_by__username",
)


def show(request: HttpRequest, object_id: str, *, model_admin: ReadOnlyAdmin) -> HttpResponse:
    """The page."""
    model_admin.check_may(request, "view_conversation")
    row = found(object_id)
    limit = settings.AGENTSITE.agent_page_messages
    view = reads.view(ConversationId(row.pk), limit=limit)
    shown, calls, has_older = view.messages, view.calls, view.has_older
    before = _position(request)
    if before is not None:
        shown, calls = reads.older(ConversationId(row.pk), before_position=before, limit=limit)
        has_older = bool(shown) and shown[0].position > 1
    leave_trace(request, row.pk, what=Access.CONVERSATION)
    made = models.ToolCall.objects.filter(conversation=row).order_by("-proposed_at", "-number")
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "title": str(row),
        "row": row,
        "agent": view.state.agent,
        "phase": in_words(row.phase),
        "seq": view.seq,
        "seen": as_seen(view.state, shown, calls, seq=view.seq),
        "older": shown[0].position if has_older else None,
        "is_newest": before is None,
        "calls": [call_facts(call) for call in made.select_related("decided_by").only(*CALL_COLUMNS)[:ROWS_MAX]],
        "runs": models.Run.objects.filter(conversation=row)[:ROWS_MAX],
        "reviews": models.Review.objects.filter(conversation=row).select_related("by")[:ROWS_MAX],
        "events_since": 0 if row.reviewed_seq is None else row.seq - row.reviewed_seq,
        "states": list(ReviewState),
        "rows_max": ROWS_MAX,
        "kept_days": settings.AGENTSITE.agent_deleted_kept_days,
        "may": {name: may(request, f"{name}_conversation") for name in ("review", "stop", "close", "export")}
        | {"events": may(request, "view_event"), "traces": may(request, "view_accesstrace")},
        "endings": tuple(exporting.FORMS),
    }
    return TemplateResponse(request, "admin/chat/conversation_page.html", context)


def found(object_id: object) -> models.Conversation:
    """The row of a conversation without its snapshot. Raises Http404."""
    rows = models.Conversation.objects.select_related("user").defer("snapshot")
    try:
        return rows.get(pk=UUID(str(object_id)))
    except (ValueError, models.Conversation.DoesNotExist):
        raise Http404 from None


def _position(request: HttpRequest) -> int | None:
    text = request.GET.get("before", "")
    return min(int(text[:10]), 2**31 - 1) if text.isascii() and text.isdigit() else None


@require_POST
def review(request: HttpRequest, conversation_id: UUID, model_admin: ReadOnlyAdmin) -> HttpResponse:
    """Say what one thinks of it."""
    model_admin.check_may(request, "view_conversation", "review_conversation")
    if request.POST.get("state") not in set(ReviewState):
        raise PermissionDenied
    state = ReviewState(request.POST["state"])
    row = found(conversation_id)
    reviews.review((row.pk,), state=state, note=note_of(request), user_id=person_id(request), at_ms=now_ms())
    leave_trace(request, row.pk, what=Access.REVIEW, subject=state.value)
    messages.success(request, f"Marked as {state.value}.")
    return _back(row)


@require_POST
def stop(request: HttpRequest, conversation_id: UUID, model_admin: ReadOnlyAdmin) -> HttpResponse:
    """Stop what runs."""
    return _wish(
        request, conversation_id, model_admin, permission="stop_conversation", wish=wishes.stop, done="Stopped."
    )


@require_POST
def close(request: HttpRequest, conversation_id: UUID, model_admin: ReadOnlyAdmin) -> HttpResponse:
    """Put it away, after a question."""
    permission = "close_conversation"
    if not is_confirmed(request):
        model_admin.check_may(request, "view_conversation", permission)
        title = "Put this conversation away? What runs in it is stopped, and its user does not see it any more."
        back = reverse("admin:chat_conversation_change", args=(conversation_id,))
        return question(model_admin, request, [found(conversation_id)], "put away", title, back=back)
    return _wish(request, conversation_id, model_admin, permission=permission, wish=wishes.close, done="Put away.")


@require_POST
def restore(request: HttpRequest, conversation_id: UUID, model_admin: ReadOnlyAdmin) -> HttpResponse:
    """Bring it back after it was put away."""
    return _wish(
        request,
        conversation_id,
        model_admin,
        permission="close_conversation",
        wish=wishes.restore,
        done="It is in its user's list again.",
    )


def _wish(
    request: HttpRequest,
    conversation_id: UUID,
    model_admin: ReadOnlyAdmin,
    *,
    permission: str,
    wish: Callable[..., str],
    done: str,
) -> HttpResponse:
    model_admin.check_may(request, "view_conversation", permission)
    row = found(conversation_id)
    refusal = wish(row.pk, user_id=person_id(request))
    messages.add_message(request, messages.WARNING if refusal else messages.SUCCESS, refusal or done)
    return _back(row)


@require_safe
def export(request: HttpRequest, conversation_id: UUID, ending: str, model_admin: ReadOnlyAdmin) -> HttpResponse:
    """Take it along, in one of the forms that its owner can."""
    model_admin.check_may(request, "view_conversation", "export_conversation")
    if ending not in exporting.FORMS:
        raise Http404
    try:
        response = exporting.one(conversation_id, ending)
    except ConversationMissingError:
        raise Http404 from None
    leave_trace(request, conversation_id, what=Access.EXPORT, subject=ending)
    return response


def _back(row: Any) -> HttpResponse:
    return redirect("admin:chat_conversation_change", row.pk)
