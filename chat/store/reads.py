"""What pages, sockets and performers read."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from django.db.models import OuterRef, Q, Subquery

from chat import codec, models
from chat.core.calls import ToolCall
from chat.core.ids import CallId, ConversationId, MessageId
from chat.core.messages import Message, Role
from chat.core.state import Conversation
from chat.errors import ConversationMissingError
from chat.store import statements
from chat.store.rows import call_value, message_value, milliseconds

SNIPPET_CHARACTERS = 120


@dataclass(frozen=True, kw_only=True, slots=True)
class View:
    """A conversation as it stands, with some of its messages.

    event_type: stored name of the newest event.
    messages: in order. calls: those of these messages, in order, and others that changed.
    has_older: whether there are messages before the first of them.
    performer: the process that has the open order to the model; None when there is none, or nobody has it yet.
    """

    user_id: int
    seq: int
    event_type: str
    state: Conversation
    messages: tuple[Message, ...]
    calls: tuple[ToolCall, ...]
    has_older: bool
    created_at_ms: int
    performer: uuid.UUID | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """How far a conversation has come. text, reasoning: what was saved of the answer that streams; None without one."""

    conversation_id: ConversationId
    seq: int
    text: str | None
    reasoning: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A line of the list of conversations. `phase` is its stored name. agent: as it was called at the start, or ""."""

    conversation_id: ConversationId
    title: str
    phase: str
    agent: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A conversation that was searched for. message_id, snippet: the place in it; None and empty for its name alone."""

    entry: Entry
    message_id: MessageId | None
    snippet: str


def view(
    conversation_id: ConversationId, *, user_id: int | None = None, limit: int | None, changed_after: int = 0
) -> View:
    """The conversation with its last `limit` messages (None: all).

    changed_after: leaves out what has not changed since that event; a message that streams always has.

    user_id: whose it must be; None when that was checked before.
    Raises ConversationMissingError, also for one that is another's or deleted.
    """
    row = _row(conversation_id, user_id)
    state = codec.decode_snapshot(row.snapshot)
    if changed_after:
        changed = models.Message.objects.filter(Q(changed_seq__gt=changed_after) | Q(state="streaming"))
        rows = list(changed.filter(conversation=row).order_by("-position")[:limit])
    else:
        rows = statements.select(models.Message, order_by="-position", limit=limit, conversation_id=row.id)
    messages = [message_value(message) for message in reversed(rows)]
    newest = statements.select(models.Event, conversation_id=row.id, seq=row.seq)
    return View(
        user_id=row.user_id,
        seq=row.seq,
        event_type=newest[0].name,
        state=state,
        messages=tuple(messages),
        calls=_calls_of(row, messages, changed_after=changed_after),
        has_older=bool(messages) and messages[0].position > 1,
        created_at_ms=milliseconds(row.created_at),
        performer=_performer(state),
    )


def _performer(state: Conversation) -> uuid.UUID | None:
    if state.run is None or not state.is_asking_model:
        return None
    runs = statements.select(models.Run, id=state.run.run_id)
    return runs[0].owner if runs else None


def heads(conversation_ids: Collection[ConversationId], *, texts_of: Collection[MessageId]) -> list[Head]:
    """How far these conversations have come, with what was saved of some of their answers."""
    rows = models.Message.objects.filter(message_id__in=texts_of, conversation_id__in=conversation_ids)
    texts = {
        conversation_id: (content, reasoning)
        for conversation_id, content, reasoning in rows.values_list("conversation_id", "content", "reasoning")
    }
    seqs = models.Conversation.objects.filter(id__in=conversation_ids).values_list("id", "seq")
    found = []
    for conversation_id, seq in seqs:
        text, reasoning = texts.get(conversation_id, (None, None))
        found.append(Head(conversation_id=ConversationId(conversation_id), seq=seq, text=text, reasoning=reasoning))
    return found


def _calls_of(row: models.Conversation, messages: Sequence[Message], *, changed_after: int = 0) -> tuple[ToolCall, ...]:
    if not row.call_count:
        return ()
    wanted = Q(message_id__in=[message.message_id for message in messages if message.role is Role.ASSISTANT])
    if changed_after:
        wanted |= Q(changed_seq__gt=changed_after)
    rows = models.ToolCall.objects.filter(wanted, conversation=row).order_by("proposed_at", "number")
    return tuple(call_value(call) for call in rows)


def older(
    conversation_id: ConversationId, *, user_id: int | None = None, before_position: int, limit: int
) -> tuple[tuple[Message, ...], tuple[ToolCall, ...]]:
    """The `limit` messages before a position, in order, and their calls. Raises ConversationMissingError.

    user_id: as that of `view`.
    """
    row = _row(conversation_id, user_id)
    rows = models.Message.objects.filter(conversation=row, position__lt=before_position)
    messages = tuple(message_value(message) for message in reversed(rows.order_by("-position")[:limit]))
    return messages, _calls_of(row, messages)


def message(conversation_id: ConversationId, message_id: uuid.UUID, *, user_id: int) -> Message:
    """One message of the transcript. Raises ConversationMissingError, also when only the message is missing."""
    row = models.Message.objects.filter(conversation=_row(conversation_id, user_id), message_id=message_id).first()
    if row is None:
        raise ConversationMissingError
    return message_value(row)


def _row(conversation_id: ConversationId, user_id: int | None) -> models.Conversation:
    found = statements.select(models.Conversation, id=conversation_id)
    if not found or (user_id is not None and (found[0].user_id != user_id or found[0].is_deleted)):
        raise ConversationMissingError
    return found[0]


def is_owner(conversation_id: ConversationId, *, user_id: int, is_deleted: bool = False) -> bool:
    """Whether this user has this conversation, among those they kept or those they deleted."""
    return models.Conversation.objects.filter(id=conversation_id, user_id=user_id, is_deleted=is_deleted).exists()


def deleted_title(conversation_id: ConversationId, *, user_id: int) -> str | None:
    """The name of a conversation that this user deleted; None when there is none such."""
    rows = models.Conversation.objects.filter(id=conversation_id, user_id=user_id, is_deleted=True)
    return rows.values_list("title", flat=True).first()


def newest(*, user_id: int) -> ConversationId | None:
    """The user's conversation in which a message was sent last."""
    row = models.Conversation.objects.filter(user_id=user_id, is_deleted=False).values_list("id", flat=True).first()
    return None if row is None else ConversationId(row)


def entries(*, user_id: int, limit: int) -> tuple[Entry, ...]:
    """The user's conversations, newest first."""
    rows = models.Conversation.objects.filter(user_id=user_id, is_deleted=False)
    return tuple(
        Entry(conversation_id=ConversationId(row_id), title=title, phase=phase, agent=agent)
        for row_id, title, phase, agent in rows.values_list("id", "title", "phase", "agent_name")[:limit]
    )


def search(*, user_id: int, text: str, limit: int) -> tuple[Found, ...]:
    """The user's conversations that have a text in their name or messages, newest first, and the newest such place."""
    found = models.Message.objects.filter(conversation=OuterRef("pk"), content__icontains=text).order_by("-position")
    rows = (
        models.Conversation.objects.filter(user_id=user_id, is_deleted=False)
        .annotate(place=Subquery(found.values("message_id")[:1]), words=Subquery(found.values("content")[:1]))
        .filter(Q(title__icontains=text) | Q(place__isnull=False))
    )
    return tuple(
        Found(
            entry=Entry(conversation_id=ConversationId(row.id), title=row.title, phase=row.phase, agent=row.agent_name),
            message_id=None if row.place is None else MessageId(row.place),
            snippet=_around(row.words or "", text),
        )
        for row in rows[:limit]
    )


def _around(content: str, text: str) -> str:
    """A line of a message in which a text is found."""
    at = max(content.lower().find(text.lower()), 0)
    start = max(at - SNIPPET_CHARACTERS // 3, 0)
    line = " ".join(content[start : start + SNIPPET_CHARACTERS].split())
    return f"{'…' if start else ''}{line}{'…' if start + SNIPPET_CHARACTERS < len(content) else ''}"


def call(conversation_id: ConversationId, call_id: uuid.UUID) -> ToolCall | None:
    """One tool call of a conversation; None when there is no such."""
    row = models.ToolCall.objects.filter(conversation_id=conversation_id, id=call_id).first()
    return None if row is None else call_value(row)


def save_output(call_id: CallId, *, execution_no: int, output: str) -> None:
    """Keep what a running call has printed so far."""
    models.ToolCall.objects.filter(id=call_id, execution_no=execution_no, state="running").update(output=output)
