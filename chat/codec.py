"""Events and snapshots to stored JSON and back, and announcements for other processes.

Knows the stored names, their versions, how old versions become new ones, and what in them is text that can be erased.
Must not know the database.
A name or a version once released is never reused; `tests/golden` holds a log of each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass, replace
from enum import Enum
from typing import Any, TypeVar, get_type_hints

import msgspec

from chat.core import agents, calls, events, messages, state
from chat.core.announcement import Announcement
from chat.core.calls import ToolCall
from chat.core.events import Event
from chat.core.messages import Message
from chat.core.state import Conversation
from chat.errors import AgentsiteError


class StoredEventError(AgentsiteError):
    """A stored event or snapshot can't be read by this version of the program."""


# Written by hand: a class can be renamed or moved, what is stored can't.
STORED_NAMES: dict[type[Event], tuple[str, int]] = {
    events.ConversationStarted: ("conversation_started", 2),
    events.ConversationRenamed: ("conversation_renamed", 1),
    events.ConversationDeleted: ("conversation_deleted", 1),
    events.ConversationRestored: ("conversation_restored", 1),
    events.MessageSubmitted: ("user_message", 1),
    events.StopRequested: ("stop_requested", 1),
    events.RetryRequested: ("retry_requested", 1),
    events.QueueItemEdited: ("queue_item_edited", 1),
    events.QueueItemHeld: ("queue_item_held", 1),
    events.QueueItemMoved: ("queue_item_moved", 1),
    events.QueueItemRemoved: ("queue_item_removed", 1),
    events.QueueCleared: ("queue_cleared", 1),
    events.QueueResumed: ("queue_resumed", 1),
    events.ToolApproved: ("tool_approved", 1),
    events.ToolRejected: ("tool_rejected", 1),
    events.ToolAllowanceRevoked: ("tool_allowance_revoked", 1),
    events.UnknownOutcomeResolved: ("tool_unknown_resolved", 1),
    events.ToolStarted: ("tool_started", 1),
    events.ToolEnded: ("tool_ended", 1),
    events.ToolLost: ("tool_lost", 1),
    events.GenerationStarted: ("llm_response_started", 1),
    events.GenerationDelayed: ("llm_response_delayed", 1),
    events.GenerationCompleted: ("llm_response_completed", 1),
    events.GenerationInterrupted: ("llm_response_interrupted", 1),
    events.GenerationFailed: ("llm_response_failed", 1),
    events.GenerationLost: ("llm_response_lost", 1),
}


class Words(Enum):
    """What a field of characters holds."""

    # What people or the model said, what tools printed, names of files; and the same as the JSON text of an object.
    TEXT = "text"
    JSON = "json"
    # The name of a tool, which a model may have made up where the call has a problem.
    TOOL = "tool"
    # A word of the program or of the model's server, which says nothing of what was talked about.
    NAME = "name"
    # Names arguments, and could be guessed from them: made anew for what stands in their place.
    DIGEST = "digest"


# Every field of characters in events and in what they hold, by hand: a new one is not kept or erased by chance.
WORDS: dict[type[Any], dict[str, Words]] = {
    events.ConversationRenamed: {"title": Words.TEXT},
    events.MessageSubmitted: {"content": Words.TEXT},
    events.QueueItemEdited: {"content": Words.TEXT},
    events.GenerationCompleted: {"text": Words.TEXT, "reasoning": Words.TEXT},
    events.GenerationInterrupted: {"text": Words.TEXT, "reasoning": Words.TEXT},
    events.GenerationFailed: {"text": Words.TEXT, "reasoning": Words.TEXT},
    events.GenerationLost: {"text": Words.TEXT},
    events.ToolApproved: {"digest": Words.DIGEST, "arguments": Words.JSON},
    events.ToolRejected: {"reason": Words.TEXT},
    events.ToolAllowanceRevoked: {"tool": Words.NAME},
    events.ToolEnded: {"outcome": Words.NAME, "output": Words.TEXT, "result": Words.TEXT},
    events.ToolLost: {"output": Words.TEXT},
    agents.AgentRef: {"name": Words.NAME, "digest": Words.NAME},
    calls.Proposal: {
        "provider_id": Words.NAME,
        "tool": Words.TOOL,
        "arguments": Words.JSON,
        "problem": Words.TEXT,
    },
    calls.Artifact: {"name": Words.TEXT, "mime": Words.NAME, "html": Words.TEXT},
    messages.Failure: {"fault": Words.NAME, "words": Words.TEXT},
    messages.Telemetry: {"model": Words.NAME, "finish_reason": Words.NAME, "notice": Words.TEXT},
}
ERASED = "[erased]"
ERASED_JSON = '{"erased":true}'

_CLASSES: dict[str, type[Event]] = {name: cls for cls, (name, _) in STORED_NAMES.items()}

# (name, version) -> a function that turns that version's payload into the next one's.
_UPGRADES: dict[tuple[str, int], Callable[[dict[str, Any]], dict[str, Any]]] = {
    # Before there were agents, all of them were the site's.
    ("conversation_started", 1): lambda raw: raw | {"agent": None},
}

_PHASES: dict[str, type[state.Phase]] = {
    "idle": state.Idle,
    "generating": state.Generating,
    "awaiting_approval": state.AwaitingApproval,
    "running_tools": state.RunningTools,
    "stopping": state.Stopping,
}
_PHASE_NAMES = {cls: name for name, cls in _PHASES.items()}
PHASE_NAMES = tuple(_PHASES)

# The phase is a union of classes and is told apart by its name; the other fields say their type themselves.
_SNAPSHOT_FIELDS = {name: kind for name, kind in get_type_hints(Conversation).items() if name != "phase"}
_DEFAULTS = {field.name: field.default for field in fields(Conversation) if field.default is not MISSING}
_Snapshot = msgspec.defstruct(
    "_Snapshot",
    [
        ("phase", msgspec.Raw),
        *((name, kind, _DEFAULTS.get(name, msgspec.NODEFAULT)) for name, kind in _SNAPSHOT_FIELDS.items()),
    ],
    kw_only=True,
    forbid_unknown_fields=True,
)


class _Phase(msgspec.Struct):
    name: str


# msgspec learns the fields of a class when it first meets it, and keeps them with the class. A thread that meets the
# class while another learns it reads what is half written, and the process dies of it (seen with 0.22 under CPython).
for _kind in (*_CLASSES.values(), *_PHASES.values(), *_SNAPSHOT_FIELDS.values(), Message, ToolCall):
    msgspec.json.Decoder(_kind)


def stored_name(event: Event) -> str:
    """The name under which an event is stored and announced."""
    return STORED_NAMES[type(event)][0]


def phase_name(phase: state.Phase) -> str:
    """The name of a phase in snapshots, frames and pages."""
    return _PHASE_NAMES[type(phase)]


def encode_event(event: Event) -> tuple[str, int, str]:
    """Name, version and JSON payload."""
    name, version = STORED_NAMES[type(event)]
    return name, version, msgspec.json.encode(event).decode()


def decode_event(name: str, version: int, payload: str) -> Event:
    """The event that was stored, whatever version wrote it. Raises StoredEventError."""
    cls = _CLASSES.get(name)
    if cls is None:
        raise StoredEventError(f"The log holds an event named {name!r}, which this version does not know.")
    newest = STORED_NAMES[cls][1]
    try:
        raw = msgspec.json.decode(payload)
        while version < newest:
            raw = _UPGRADES[name, version](raw)
            version += 1
        if version > newest:
            raise StoredEventError(f"The log holds {name!r} in version {version}; this program knows {newest}.")
        event: Event = msgspec.convert(raw, type=cls)
    except (msgspec.MsgspecError, KeyError) as fault:
        raise StoredEventError(f"The stored event {name!r} is damaged: {fault}") from fault
    return event


V = TypeVar("V")


def erased(value: V) -> V:
    """An event, or what an event holds, with a fixed mark in place of all text.

    Empty text stays empty, since that can mean something. The digest of a `ToolApproved` stays too: only who knows the
    call can make it anew.
    """
    if isinstance(value, tuple):
        return tuple(map(erased, value))  # type: ignore[return-value] # of the same length and types
    if not is_dataclass(value) or isinstance(value, type):
        return value
    words = WORDS.get(type(value), {})
    changes: dict[str, Any] = {}
    for field in fields(value):
        held = getattr(value, field.name)
        match words.get(field.name):
            case Words.TEXT if held:
                changes[field.name] = ERASED
            case Words.JSON if held:
                changes[field.name] = ERASED_JSON
            case Words.TOOL if getattr(value, "problem", ""):
                changes[field.name] = ERASED
            case None:
                changes[field.name] = erased(held)
    return replace(value, **changes)


def encode_snapshot(snapshot: Conversation) -> str:
    """The snapshot as JSON."""
    raw = msgspec.to_builtins(snapshot)
    raw["phase"] = {"name": phase_name(snapshot.phase), **msgspec.to_builtins(snapshot.phase)}
    return msgspec.json.encode(raw).decode()


def decode_snapshot(payload: str) -> Conversation:
    """The snapshot that was stored. Raises StoredEventError."""
    try:
        raw: Any = msgspec.json.decode(payload, type=_Snapshot)
        cls = _PHASES[msgspec.json.decode(raw.phase, type=_Phase).name]
        return Conversation(
            phase=msgspec.json.decode(raw.phase, type=cls), **{name: getattr(raw, name) for name in _SNAPSHOT_FIELDS}
        )
    except (msgspec.MsgspecError, KeyError) as fault:
        raise StoredEventError(f"A stored snapshot is damaged: {fault}") from fault


def encode_announcement(announcement: Announcement) -> str:
    """An announcement as JSON, for processes of the same version: it is told and not kept."""
    told = {
        "user_id": announcement.user_id,
        "seq": announcement.seq,
        "event_type": announcement.event_type,
        "state": encode_snapshot(announcement.state),
        "messages": announcement.messages,
        "calls": announcement.calls,
    }
    return msgspec.json.encode(told).decode()


def decode_announcement(told: str) -> Announcement:
    """The announcement that another process told. Raises StoredEventError."""
    try:
        raw = msgspec.json.decode(told)
        return Announcement(
            user_id=raw["user_id"],
            seq=raw["seq"],
            event_type=raw["event_type"],
            state=decode_snapshot(raw["state"]),
            messages=msgspec.convert(raw["messages"], type=tuple[Message, ...]),
            calls=msgspec.convert(raw["calls"], type=tuple[ToolCall, ...]),
        )
    except (msgspec.MsgspecError, KeyError) as fault:
        raise StoredEventError(f"An announcement of another process can't be read: {fault}") from fault
