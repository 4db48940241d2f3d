"""Frames of clients: parsed strictly, and turned into events.

Frames are the enemy's, events are ours: they share no class. The shapes are CONTRACT's; unknown types, unknown
or missing fields, wrong types and values out of range are refused with words that say what was expected.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from typing import Annotated, Any, Literal, assert_never
from uuid import UUID

import msgspec

from chat.core import events
from chat.core.calls import Artifact, Choice, Scope
from chat.core.ids import OWN_VERSION, CallId, MessageId, RunId
from chat.core.messages import Delivery
from chat.errors import AgentsiteError

CONTENT_LIMIT_CHARACTERS = 32_000
# JSON may write a character as twelve; the rest is for the other fields and htmx's HEADERS. A reason or a set of
# arguments is at most as long as a message.
FRAME_LIMIT_CHARACTERS = 12 * CONTENT_LIMIT_CHARACTERS + 16_000
# More than any queue holds; keeps numbers within what every database and client can hold.
POSITION_MAX = 1_000_000
REF_LIMIT_CHARACTERS = 100
# A fault quotes the value that it is about, which may be as long as a frame.
FAULT_LIMIT_CHARACTERS = 300
ATTACHMENTS_MAX = 20
# Far less than what parsers follow, also deep inside of others' calls; far more than a person writes.
ARGUMENTS_DEPTH_MAX = 64

CallName = Annotated[str, msgspec.Meta(max_length=REF_LIMIT_CHARACTERS)]
Content = Annotated[str, msgspec.Meta(min_length=1, max_length=CONTENT_LIMIT_CHARACTERS)]
Reason = Annotated[str, msgspec.Meta(max_length=CONTENT_LIMIT_CHARACTERS)]
Digest = Annotated[str, msgspec.Meta(max_length=200)]
ToolName = Annotated[str, msgspec.Meta(max_length=200)]
Position = Annotated[int, msgspec.Meta(ge=0, le=POSITION_MAX)]
Seq = Annotated[int, msgspec.Meta(ge=0, le=2**53)]


class FrameError(AgentsiteError):
    """A frame was refused. `ref` is the id that it was about, when it could be read."""

    def __init__(self, code: str, words: str, ref: str = "") -> None:
        super().__init__(words)
        self.code = code
        self.words = words
        self.ref = ref


class _Frame(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="type"):
    """What all frames share: their type is told by `type`."""


class UserMessage(_Frame, frozen=True, tag="user_message"):
    """A message for the agent."""

    content: Content
    id: UUID | None = None
    delivery: Literal["queue", "steer", "interrupt"] = "queue"
    attachments: Annotated[tuple[UUID, ...], msgspec.Meta(max_length=ATTACHMENTS_MAX)] = ()


class Stop(_Frame, frozen=True, tag="stop"):
    """Stop what runs."""

    run_id: UUID | None = None


class Retry(_Frame, frozen=True, tag="retry"):
    """Answer the last message again."""


class QueueEdit(_Frame, frozen=True, tag="queue_edit"):
    """Change a waiting message."""

    id: UUID
    content: Content


class QueueHold(_Frame, frozen=True, tag="queue_hold"):
    """Begin or leave off editing a waiting message."""

    id: UUID
    held: bool


class QueueRemove(_Frame, frozen=True, tag="queue_remove"):
    """Withdraw a waiting message."""

    id: UUID


class QueueMove(_Frame, frozen=True, tag="queue_move"):
    """Move a waiting message."""

    id: UUID
    position: Position


class QueueClear(_Frame, frozen=True, tag="queue_clear"):
    """Withdraw every waiting message."""


class QueueResume(_Frame, frozen=True, tag="queue_resume"):
    """Let a held queue go on."""


class Approve(_Frame, frozen=True, tag="approve"):
    """Let a tool call run."""

    call_id: CallName
    digest: Digest
    arguments: dict[str, Any] | None = None
    scope: Literal["once", "conversation"] = "once"


class Reject(_Frame, frozen=True, tag="reject"):
    """Refuse a tool call."""

    call_id: CallName
    reason: Reason = ""


class ResolveUnknown(_Frame, frozen=True, tag="resolve_unknown"):
    """Say what becomes of a tool call whose outcome was lost."""

    call_id: CallName
    choice: Literal["run_again", "continue"]


class ToolRevoke(_Frame, frozen=True, tag="tool_revoke"):
    """Ask again for each call of a tool."""

    tool: ToolName


class Sync(_Frame, frozen=True, tag="sync"):
    """Send what is newer than this event."""

    after: Seq


Wish = (
    UserMessage
    | Stop
    | Retry
    | QueueEdit
    | QueueHold
    | QueueRemove
    | QueueMove
    | QueueClear
    | QueueResume
    | Approve
    | Reject
    | ResolveUnknown
    | ToolRevoke
)
Frame = Wish | Sync
TYPES = tuple(sorted(str(frame.__struct_config__.tag) for frame in Frame.__args__))
# All types are taken apart with the first frame: better with this one.
msgspec.convert({"type": "stop"}, type=Frame)


def _shortened(words: str) -> str:
    return words if len(words) <= FAULT_LIMIT_CHARACTERS else f"{words[: FAULT_LIMIT_CHARACTERS - 1]}…"


def parse(text: str) -> Frame:
    """The frame that a client sent. Raises FrameError."""
    if len(text) > FRAME_LIMIT_CHARACTERS:
        raise FrameError("too_long", f"A frame has at most {FRAME_LIMIT_CHARACTERS:,} characters.")
    try:
        raw = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        raise FrameError("invalid_json", 'A frame is one JSON object, such as {"type": "stop"}.') from None
    if not isinstance(raw, dict):
        raise FrameError("invalid_json", 'A frame is one JSON object, such as {"type": "stop"}.')
    raw.pop("HEADERS", None)
    ref = _ref(raw)
    if raw.get("type") not in TYPES:
        raise FrameError("unknown_type", f"A frame's type is one of: {', '.join(TYPES)}.", ref)
    try:
        frame: Frame = msgspec.convert(raw, type=Frame)
        texts = _texts(frame)
        if isinstance(frame, Approve):
            # Numbers that can't be written again are found here, not in the store.
            msgspec.json.encode(frame.arguments)
    except (msgspec.ValidationError, RecursionError, OverflowError) as fault:
        words = _shortened(str(fault))
        raise FrameError("invalid_frame", f"The frame {raw['type']} is not right: {words}.", ref) from None
    for written in texts:
        _check_text(written, ref)
    if isinstance(frame, UserMessage) and frame.id is not None and frame.id.version == OWN_VERSION:
        raise FrameError("invalid_frame", "Ids of version 8 are the server's own: use a random one (version 4).", ref)
    return frame


def _ref(raw: dict[str, Any]) -> str:
    for key in ("id", "call_id"):
        value = raw.get(key)
        if isinstance(value, str) and len(value) <= REF_LIMIT_CHARACTERS:
            return value
    return ""


def _texts(frame: Frame) -> tuple[str, ...]:
    """What a frame holds that will be stored."""
    match frame:
        case UserMessage() | QueueEdit():
            return (frame.content,)
        case Reject():
            return (frame.reason,)
        case ToolRevoke():
            return (frame.tool,)
        case Approve(arguments=dict()):
            # Escapes inside the JSON text would hide them.
            return tuple(_strings(frame.arguments, depth=1))
        case _:
            return ()


def _strings(value: Any, *, depth: int) -> Iterator[str]:
    if depth > ARGUMENTS_DEPTH_MAX:
        raise msgspec.ValidationError(f"Arguments are at most {ARGUMENTS_DEPTH_MAX} deep")
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item, depth=depth + 1)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield key
            yield from _strings(item, depth=depth + 1)


def _check_text(text: str, ref: str) -> None:
    if "\0" in text:
        raise FrameError("invalid_frame", "The content holds a NUL character, which can't be stored.", ref)
    try:
        text.encode()
    except UnicodeEncodeError:
        raise FrameError("invalid_frame", "The content holds half of a character pair.", ref) from None


def call_id_of(frame: Approve | Reject | ResolveUnknown) -> CallId:
    """The call that a decision is about. Raises FrameError when there can't be such a call."""
    try:
        return CallId(UUID(frame.call_id))
    except ValueError:
        raise FrameError("not_found", "There is no such tool call.", frame.call_id) from None


def event_of(
    frame: Wish, *, user_id: int, at_ms: int, queue_limit: int, attachments: tuple[Artifact, ...] = ()
) -> events.WishEvent:
    """The event that a frame of this person wishes for. Raises FrameError."""
    match frame:
        case UserMessage():
            return events.MessageSubmitted(
                message_id=MessageId(frame.id or uuid.uuid4()),
                content=frame.content,
                delivery=Delivery(frame.delivery),
                queue_limit=queue_limit,
                attachments=attachments,
                at_ms=at_ms,
            )
        case Stop():
            run_id = None if frame.run_id is None else RunId(frame.run_id)
            return events.StopRequested(run_id=run_id, at_ms=at_ms)
        case Retry():
            return events.RetryRequested(at_ms=at_ms)
        case QueueEdit():
            return events.QueueItemEdited(message_id=MessageId(frame.id), content=frame.content, at_ms=at_ms)
        case QueueHold():
            return events.QueueItemHeld(message_id=MessageId(frame.id), is_held=frame.held, at_ms=at_ms)
        case QueueRemove():
            return events.QueueItemRemoved(message_id=MessageId(frame.id), at_ms=at_ms)
        case QueueMove():
            return events.QueueItemMoved(message_id=MessageId(frame.id), position=frame.position, at_ms=at_ms)
        case QueueClear():
            return events.QueueCleared(at_ms=at_ms)
        case QueueResume():
            return events.QueueResumed(at_ms=at_ms)
        case Approve():
            arguments = None if frame.arguments is None else msgspec.json.encode(frame.arguments).decode()
            return events.ToolApproved(
                call_id=call_id_of(frame),
                digest=frame.digest,
                arguments=arguments,
                scope=Scope(frame.scope),
                user_id=user_id,
                at_ms=at_ms,
            )
        case Reject():
            return events.ToolRejected(call_id=call_id_of(frame), reason=frame.reason, user_id=user_id, at_ms=at_ms)
        case ResolveUnknown():
            return events.UnknownOutcomeResolved(
                call_id=call_id_of(frame), choice=Choice(frame.choice), user_id=user_id, at_ms=at_ms
            )
        case ToolRevoke():
            return events.ToolAllowanceRevoked(tool=frame.tool, at_ms=at_ms)
        case _:
            assert_never(frame)
