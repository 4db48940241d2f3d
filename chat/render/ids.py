"""Every element id that fragments are swapped into. Templates get theirs from here."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from uuid import UUID

CONVERSATION = "conversation"
CONVERSATIONS = "conversations"
MESSAGES = "messages"
NOTICES = "notices"
OLDER = "older"


def message(message_id: UUID) -> str:
    """The article of a message, in few letters: each piece of text that streams names it."""
    return f"m-{urlsafe_b64encode(message_id.bytes).decode().rstrip('=')}"


def place(message_id: UUID, name: str) -> str:
    """An element inside a message: `settled`, `tail`, `reasoning`, and what a text in flight makes in its tail."""
    return f"{message(message_id)}-{name}"


def output(call_id: UUID) -> str:
    """What a running tool prints."""
    return f"t-{call_id}-output"


def progress(call_id: UUID) -> str:
    """How far a running tool is."""
    return f"t-{call_id}-progress"
