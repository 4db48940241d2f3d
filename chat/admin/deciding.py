"""Decisions of staff on tool calls that were given to them: who may, and what they wished.

Knows the two-person rule as the door holds it. Must not know pages.
"""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from chat import models
from chat.admin import wishes
from chat.admin.listing import ReadOnlyAdmin, may, person_id
from chat.core.calls import CallState, Choice

REASON_MAX_CHARACTERS = 32_000
NOT_YOURS = "This conversation is yours: another member of staff must decide."
NOT_ALLOWED = "You may look at it, and not decide: that needs the permission to decide tool calls."
DONE = {
    "approve": "Approved: it runs.",
    "reject": "Rejected.",
    Choice.RUN_AGAIN.value: "It runs again.",
    Choice.CONTINUE.value: "The run goes on without it.",
}


def found(object_id: object) -> models.ToolCall:
    """The row of a call, with its conversation, but for the snapshot. Raises Http404."""
    rows = models.ToolCall.objects.select_related("decided_by", "conversation__user").defer("conversation__snapshot")
    try:
        return rows.get(pk=UUID(str(object_id)))
    except (ValueError, models.ToolCall.DoesNotExist):
        raise Http404 from None


def is_asked(call: models.ToolCall) -> bool:
    """Whether it waits for a member of staff."""
    waits = call.state in {CallState.PROPOSED, CallState.UNKNOWN} and not call.is_settled
    return call.needs_staff and waits


def why_not(request: HttpRequest, call: models.ToolCall) -> str:
    """Why this person can't decide it; empty when they can."""
    if call.conversation.user_id == person_id(request):
        return NOT_YOURS
    return "" if may(request, "decide_toolcall") else NOT_ALLOWED


@require_POST
def decide(request: HttpRequest, call_id: UUID, model_admin: ReadOnlyAdmin) -> HttpResponse:
    """Let a call run, or refuse it; `digest` names the arguments that were on the page."""
    model_admin.check_may(request, "view_toolcall", "decide_toolcall")
    call = found(call_id)
    if not call.needs_staff or why_not(request, call):
        raise PermissionDenied
    choice = request.POST.get("choice", "")
    refusal = _wish(request, call, choice)
    messages.add_message(request, messages.WARNING if refusal else messages.SUCCESS, refusal or DONE[choice])
    return redirect("admin:chat_toolcall_change", call.pk)


def _wish(request: HttpRequest, call: models.ToolCall, choice: str) -> str:
    user_id = person_id(request)
    match choice:
        case "approve":
            digest = request.POST.get("digest", "")
            return wishes.approve(call.conversation_id, call.pk, digest=digest, user_id=user_id)
        case "reject":
            reason = request.POST.get("reason", "").replace("\0", "").strip()[:REASON_MAX_CHARACTERS]
            return wishes.reject(call.conversation_id, call.pk, reason=reason, user_id=user_id)
        case Choice.RUN_AGAIN.value | Choice.CONTINUE.value:
            return wishes.resolve(call.conversation_id, call.pk, choice=Choice(choice), user_id=user_id)
        case _:
            raise PermissionDenied
