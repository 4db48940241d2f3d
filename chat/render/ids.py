"""Every element id that fragments are swapped into. Templates get theirs from here."""

from __future__ import annotations

from uuid import UUID

CONVERSATION = "conversation"
CONVERSATIONS = "conversations"
MESSAGES = "messages"
NOTICES = "notices"
OLDER = "older"

HALF = (1 << 64) - 1


def message(message_id: UUID) -> str:
    """The article of a message. Its id is folded to half its length: each piece of text that streams names it."""
    return f"m-{(message_id.int ^ message_id.int >> 64) & HALF:016x}"


def place(message_id: UUID, name: str) -> str:
    """An element inside a message: `settled`, `tail`, `reasoning`, and what a text in flight makes in its tail."""
    return f"{message(message_id)}-{name}"


def output(call_id: UUID) -> str:
    """What a running tool prints."""
    return f"t-{call_id}-output"


def progress(call_id: UUID) -> str:
    """How far a running tool is."""
    return f"t-{call_id}-progress"
