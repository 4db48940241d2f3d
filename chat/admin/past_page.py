"""Time travel: a conversation as its user saw it at any event of its log.

Knows the fold and what the page shows of it. Must not know how a log is folded.
"""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import get_user_model
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.views.decorators.http import require_safe

from chat import models
from chat.admin.access import leave_trace
from chat.admin.conversation_page import found
from chat.admin.differences import differences
from chat.admin.listing import ReadOnlyAdmin
from chat.admin.seen import as_seen
from chat.core.calls import CallState
from chat.core.ids import ConversationId
from chat.store import history
from chat.store.history import Past
from chat.store.reviews import Access


@require_safe
def show(request: HttpRequest, conversation_id: UUID, model_admin: ReadOnlyAdmin) -> HttpResponse:
    """The page. `?at=` names the event; without it, the newest."""
    model_admin.check_may(request, "view_conversation", "view_event")
    row = found(conversation_id)
    seq = _within(request.GET.get("at", ""), row.seq)
    context: dict[str, Any] = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "title": f"{row}: event {seq} of {row.seq}",
        "row": row,
        "seq": seq,
        "steps": _steps(seq, row.seq),
    }
    leave_trace(request, row.pk, what=Access.PAST, seq=seq)
    try:
        past = history.past(ConversationId(row.pk), seq)
    except history.BrokenLogError as fault:
        context["fault"] = str(fault)
    else:
        context |= _shown(past)
    return TemplateResponse(request, "admin/chat/past_page.html", context)


def _within(text: str, newest: int) -> int:
    """The event that was asked for; what is no event of this log is the nearest one."""
    number = int(text[:10]) if text.isascii() and text.isdigit() else newest
    return min(max(number, 1), newest)


def _steps(seq: int, newest: int) -> tuple[tuple[str, int | None], ...]:
    """Ways to other events: words, and where they lead; None where there is nothing to lead to."""
    return (
        ("First", 1 if seq > 1 else None),
        ("Previous", seq - 1 if seq > 1 else None),
        ("Next", seq + 1 if seq < newest else None),
        ("Newest", newest if seq < newest else None),
    )


def _shown(past: Past) -> dict[str, Any]:
    moment = past.moment
    line, state = moment.line, moment.state
    # As the user's page: the newest, and the others behind a button.
    limit = settings.AGENTSITE.agent_page_messages
    messages = past.messages[-limit:]
    before = models.Event.objects.filter(conversation_id=state.conversation_id, seq=line.seq - 1)
    earlier = before.values_list("at", flat=True).first()
    names = get_user_model().objects.filter(pk=line.actor_id or 0).values_list("username", flat=True)
    return {
        "line": line,
        "actor": "the site" if line.actor_id is None else names.first() or "a user who was deleted",
        "since": None if earlier is None else (line.at - earlier).total_seconds(),
        "payload": pretty(line.payload),
        "wrong": moment.wrong,
        "differences": differences(moment.before, state),
        "seen": as_seen(state, messages, past.calls, seq=line.seq),
        "left_out": len(past.messages) - len(messages),
        "writes": state.is_asking_model,
        "prints": any(call.state is CallState.RUNNING for call in state.calls),
    }


def pretty(payload: str) -> str:
    """A payload with a line for each field; as it is when it is damaged."""
    try:
        return json.dumps(json.loads(payload), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return payload
