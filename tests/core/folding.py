"""Folds a log as it would be stored."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from chat import codec
from chat.core.events import Event
from chat.core.state import Conversation, Refused, Step

StepFunction = Callable[[Conversation | None, Event], Step | Refused]


def wrong_log(step: StepFunction, log: Iterable[Event], snapshot: Conversation) -> str:
    """Why the log does not give this snapshot, or one of them does not survive its storage; empty when all is well."""
    state: Conversation | None = None
    for event in log:
        stored = codec.decode_event(*codec.encode_event(event))
        if stored != event:
            return f"{event} was stored as {stored}."
        result = step(state, stored)
        if isinstance(result, Refused):
            return f"{event} was taken once and is refused when it is folded."
        state = result.state
    if state != snapshot or codec.decode_snapshot(codec.encode_snapshot(snapshot)) != snapshot:
        return "Folding the log does not give the snapshot."
    return ""
