"""Pages. Parse, authorise, apply, render."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote
from uuid import UUID

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.contrib.auth.models import AnonymousUser, User
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from chat import codec, wiring
from chat.clock import now_ms
from chat.core.events import ConversationDeleted, ConversationRenamed, ConversationRestored, WishEvent
from chat.core.ids import ConversationId
from chat.core.state import Refused
from chat.errors import ConversationMissingError
from chat.render import fragments, ids, state_parts
from chat.store import agents, reads
from chat.store.commits import Committed
from chat.tools import workshop
from chat.web import exports, uploads
from chat.web.reader import LIST_LIMIT

TITLE_LIMIT_CHARACTERS = 200
SEARCH_LIMIT_CHARACTERS = 200


def _user_id(request: HttpRequest) -> int:
    user: User | AnonymousUser = request.user
    assert user.pk is not None  # noqa: S101 - behind login_required
    return int(user.pk)


def nowhere(request: HttpRequest, **_: object) -> HttpResponse:
    """Nothing is here."""
    raise Http404


@login_required
@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """The newest conversation, or a new one."""
    deleted = request.GET.get("deleted", "")
    newest = reads.newest(user_id=_user_id(request)) or async_to_sync(_start)(_user_id(request))
    response = redirect("conversation", newest)
    if deleted:
        response["Location"] += f"?deleted={quote(deleted)}"
    return response


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """A new conversation, with the agent that was chosen."""
    if request.method != "POST":
        # Whoever had to log in first comes back without the form that they sent.
        return redirect("home")
    is_htmx = "HX-Request" in request.headers
    try:
        chosen = request.POST.get("agent")
        agent_id = UUID(chosen) if chosen else None
        address = resolve_url("conversation", async_to_sync(_start)(_user_id(request), agent_id))
    except (ValueError, agents.AgentMissingError):
        words = str(agents.AgentMissingError())
        if is_htmx:
            return HttpResponse(f"{words}\n", status=400, content_type="text/plain")
        return render(request, "chat/agent_missing.html", {"words": words}, status=400)
    return HttpResponse(status=204, headers={"HX-Redirect": address}) if is_htmx else redirect(address)


async def _start(user_id: int, agent_id: UUID | None = None) -> ConversationId:
    return await wiring.site().engine.start(user_id=user_id, agent_id=agent_id)


async def _has_performers() -> bool:
    return wiring.site().bus.has_performers


@login_required
@require_safe
def conversation(request: HttpRequest, conversation_id: UUID) -> HttpResponse:
    """A conversation as it stands; the socket goes on from there."""
    user_id = _user_id(request)
    view = _view(request, conversation_id, limit=settings.AGENTSITE.agent_page_messages)
    state = view.state
    return render(
        request,
        "chat/conversation.html",
        {
            "conversation": {
                "id": conversation_id,
                "title": state.title,
                "phase": codec.phase_name(state.phase),
                "seq": view.seq,
                "agent": state.agent,
            },
            "agents": agents.choices(user_id),
            "agent_off": agents.why_off(state.agent, user_id),
            "messages_html": fragments.messages(view.messages, view.calls, conversation_id=conversation_id),
            "has_older": view.has_older,
            "before": view.messages[0].position if view.has_older else None,
            "queue": state_parts.queue_context(state),
            "status": state_parts.status_context(state, has_performers=async_to_sync(_has_performers)()),
            "allowed_tools": state.allowed_tools,
            "controls": state_parts.controls_context(state),
            "entries": [_line(entry) for entry in reads.entries(user_id=user_id, limit=LIST_LIMIT)],
            "deleted": _deleted(request),
            "uploads": uploads.what_is_taken(),
            "is_demo": settings.AGENTSITE.is_demo,
            "why_off": workshop.why_off() if request.user.is_staff else "",
        },
    )


def _line(entry: reads.Entry) -> dict[str, Any]:
    return fragments.entry_context(entry.conversation_id, entry.title, entry.phase, entry.agent)


def _deleted(request: HttpRequest) -> dict[str, Any] | None:
    """The conversation that was just deleted, so that it can be taken back."""
    try:
        deleted = ConversationId(UUID(request.GET.get("deleted", "")))
    except ValueError:
        return None
    title = reads.deleted_title(deleted, user_id=_user_id(request))
    return None if title is None else {"id": deleted, "title": title}


@login_required
@require_safe
def older(request: HttpRequest, conversation_id: UUID) -> HttpResponse:
    """The messages before a position, to be put in front of those on the page."""
    try:
        before = int(request.GET.get("before", ""))
    except ValueError:
        return HttpResponse("before: give a position, such as ?before=51\n", status=400, content_type="text/plain")
    try:
        values, calls = reads.older(
            ConversationId(conversation_id),
            user_id=_user_id(request),
            before_position=min(max(before, 0), 2**31 - 1),
            limit=settings.AGENTSITE.agent_page_messages,
        )
    except ConversationMissingError:
        raise Http404 from None
    has_older = bool(values) and values[0].position > 1
    return render(
        request,
        "chat/older_messages.html",
        {
            "conversation": {"id": conversation_id},
            "messages_html": fragments.messages(values, calls, conversation_id=conversation_id),
            "before": values[0].position if has_older else None,
        },
    )


@login_required
@require_POST
def rename(request: HttpRequest, conversation_id: UUID) -> HttpResponse:
    """Give a conversation a name."""
    title = " ".join(request.POST.get("title", "").replace("\0", "").split())
    if not 1 <= len(title) <= TITLE_LIMIT_CHARACTERS:
        words = f"A name has 1 to {TITLE_LIMIT_CHARACTERS} characters.\n"
        return HttpResponse(words, status=400, content_type="text/plain")
    _apply(request, conversation_id, ConversationRenamed(title=title, at_ms=now_ms()))
    return _done(request, f"/c/{conversation_id}/")


@login_required
@require_POST
def delete(request: HttpRequest, conversation_id: UUID) -> HttpResponse:
    """Put a conversation away; the next page offers to take that back."""
    _apply(request, conversation_id, ConversationDeleted(at_ms=now_ms()))
    return _done(request, f"/?deleted={conversation_id}")


@login_required
@require_POST
def restore(request: HttpRequest, conversation_id: UUID) -> HttpResponse:
    """Take back that a conversation was put away."""
    _apply(request, conversation_id, ConversationRestored(at_ms=now_ms()))
    return _done(request, f"/c/{conversation_id}/")


def _apply(request: HttpRequest, conversation_id: UUID, event: WishEvent) -> Committed | None:
    """Let a person's wish happen to their own conversation; None when it was so already."""
    user_id = _user_id(request)
    is_theirs = reads.is_owner(
        ConversationId(conversation_id), user_id=user_id, is_deleted=isinstance(event, ConversationRestored)
    )
    if not is_theirs:
        raise Http404
    result = async_to_sync(_let_happen)(ConversationId(conversation_id), event, user_id)
    return None if isinstance(result, Refused) else result


async def _let_happen(conversation_id: ConversationId, event: WishEvent, user_id: int) -> Any:
    return await wiring.site().engine.apply(conversation_id, event, actor_id=user_id)


def _done(request: HttpRequest, address: str) -> HttpResponse:
    """htmx is told by the socket what changed; a plain form goes on to a page."""
    return HttpResponse(status=204) if request.headers.get("HX-Request") else redirect(address)


def _view(request: HttpRequest, conversation_id: UUID, *, limit: int | None) -> reads.View:
    try:
        return reads.view(ConversationId(conversation_id), user_id=_user_id(request), limit=limit)
    except ConversationMissingError:
        raise Http404 from None


@login_required
@require_safe
def message_text(request: HttpRequest, conversation_id: UUID, message_id: UUID) -> HttpResponse:
    """One message as it was written, for the clipboard."""
    try:
        found = reads.message(ConversationId(conversation_id), message_id, user_id=_user_id(request))
    except ConversationMissingError:
        raise Http404 from None
    return HttpResponse(found.content, content_type="text/plain; charset=utf-8")


@login_required
@require_safe
def export_json(request: HttpRequest, conversation_id: UUID) -> HttpResponse:
    """The whole conversation as JSON."""
    text = exports.as_json(_view(request, conversation_id, limit=None))
    return _download(HttpResponse(text, content_type="application/json"), "json")


@login_required
@require_safe
def export_markdown(request: HttpRequest, conversation_id: UUID) -> HttpResponse:
    """The whole conversation as Markdown."""
    text = exports.as_markdown(_view(request, conversation_id, limit=None))
    return _download(HttpResponse(text, content_type="text/markdown; charset=utf-8"), "md")


def _download(response: HttpResponse, ending: str) -> HttpResponse:
    response["Content-Disposition"] = f'attachment; filename="conversation.{ending}"'
    return response


@login_required
@require_safe
def search(request: HttpRequest) -> HttpResponse:
    """Conversations with a text in their name or messages, as lines of the list."""
    query = request.GET.get("q", "").replace("\0", "").strip()[:SEARCH_LIMIT_CHARACTERS]
    if not query:
        entries = reads.entries(user_id=_user_id(request), limit=LIST_LIMIT)
        lines = [_line(entry) for entry in entries]
    else:
        lines = [_found(found) for found in reads.search(user_id=_user_id(request), text=query, limit=LIST_LIMIT)]
    return render(request, "chat/search.html", {"results": lines, "query": query})


def _found(found: reads.Found) -> dict[str, Any]:
    line = _line(found.entry)
    if found.message_id is not None:
        line["url"] += f"#{ids.message(found.message_id)}"
    return line | {"snippet": found.snippet}
