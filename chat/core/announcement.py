"""What is told after a commit, to everybody who listens."""

from __future__ import annotations

from dataclasses import dataclass

from chat.core.calls import ToolCall
from chat.core.messages import Message
from chat.core.state import Conversation


@dataclass(frozen=True, kw_only=True, slots=True)
class Announcement:
    """One committed event.

    user_id: the owner of the conversation.
    seq: the event's number in its conversation, from 1 without gaps.
    event_type: its stored name.
    state: the snapshot after it.
    messages, calls: those that it added or changed, in order.
    """

    user_id: int
    seq: int
    event_type: str
    state: Conversation
    messages: tuple[Message, ...]
    calls: tuple[ToolCall, ...] = ()
