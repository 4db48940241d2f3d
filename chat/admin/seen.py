"""A conversation as its user saw it: what the templates of the user's own page are given.

Knows what that page shows. Must not know where the state comes from: the database, or a log.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from chat import codec
from chat.core.calls import ToolCall
from chat.core.messages import Message
from chat.core.state import Conversation
from chat.render import fragments, state_parts


def as_seen(state: Conversation, messages: Iterable[Message], calls: Iterable[ToolCall], *, seq: int) -> dict[str, Any]:
    """The context of `admin/chat/as_seen.html`. calls: those of the messages, and perhaps others."""
    return {
        "conversation": {
            "id": state.conversation_id,
            "title": state.title,
            "phase": codec.phase_name(state.phase),
            "seq": seq,
        },
        "messages_html": fragments.messages(messages, calls, conversation_id=state.conversation_id),
        "queue": state_parts.queue_context(state),
        "status": state_parts.status_context(state),
        "allowed_tools": state.allowed_tools,
    }
