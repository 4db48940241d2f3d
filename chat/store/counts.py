"""What a list of conversations shows of each without reading its messages and calls: counts, kept by each step.

Knows the columns of a conversation's row that count. Must not know who shows them.
"""

from __future__ import annotations

from collections.abc import Iterable

from chat import models
from chat.core.calls import CallState, ToolCall
from chat.core.messages import Message, MessageState
from chat.core.state import Conversation, Step


def count(row: models.Conversation, before: Conversation, result: Step) -> None:
    """Add what a step brought. The row is still to be saved."""
    row.message_count = result.state.message_count
    ended = {message.message_id: message for message in result.messages if message.state is not MessageState.STREAMING}
    for message in ended.values():
        row.prompt_tokens += message.telemetry.prompt_tokens or 0
        row.completion_tokens += message.telemetry.completion_tokens or 0
    known = {call.call_id for call in before.calls}
    for call in {call.call_id: call for call in result.calls}.values():
        row.call_count += call.call_id not in known
        # A call fails once: after that it is settled.
        row.failed_call_count += call.state is CallState.FAILED


def compare(row: models.Conversation, messages: Iterable[Message], calls: Iterable[ToolCall]) -> list[str]:
    """What the row counts otherwise than the log says."""
    messages, calls = list(messages), list(calls)
    expected = {
        "message_count": len(messages),
        "call_count": len(calls),
        "failed_call_count": sum(call.state is CallState.FAILED for call in calls),
        "prompt_tokens": sum(message.telemetry.prompt_tokens or 0 for message in messages),
        "completion_tokens": sum(message.telemetry.completion_tokens or 0 for message in messages),
    }
    return [
        f"{name} of the row is {getattr(row, name)}, the log says {value}"
        for name, value in expected.items()
        if getattr(row, name) != value
    ]
