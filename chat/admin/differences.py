"""What changed from one state of a conversation to the next, for people.

Knows the snapshot's parts. Must not know where they come from.
"""

from __future__ import annotations

from dataclasses import dataclass

from chat import codec
from chat.core.messages import Message
from chat.core.state import Conversation, Generating, QueuedMessage, Stopping

GIST_CHARACTERS = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """One part of the state, before and after, in words; empty is nothing."""

    part: str
    before: str
    after: str


def differences(before: Conversation | None, after: Conversation) -> tuple[Difference, ...]:
    """Every part that is not as it was."""
    old = {} if before is None else _parts(before)
    return tuple(
        Difference(part=part, before=old.get(part, ""), after=words)
        for part, words in _parts(after).items()
        if old.get(part, "") != words
    )


def _parts(state: Conversation) -> dict[str, str]:
    phase, run = state.phase, state.run
    delay = phase.delay if isinstance(phase, Generating) else None
    stopping = ""
    if isinstance(phase, Stopping):
        stopping = "holds the queue" if phase.holds else "goes on with the next message"
    return {
        "Phase": codec.phase_name(phase),
        "Title": state.title,
        "Put away": "yes" if state.is_deleted else "",
        "Run": ""
        if run is None
        else f"{state.run_count}: order {run.generation_no} to the model, {_answer(run.answer)}",
        "Back-off": "" if delay is None else f"attempt {delay.attempt}: {delay.failure.words}",
        "Stopping": stopping,
        "Queue": "\n".join(map(_queued, state.queue)),
        "Queue held": state.held.value if state.held else "",
        "Open tool calls": "\n".join(f"{call.number}. {call.tool}: {call.state.value}" for call in state.calls),
        "Tools allowed": ", ".join(state.allowed_tools),
        "Outcome of the last run": state.outcome.value if state.outcome else "",
        "Can be retried": "yes" if state.retryable else "",
        "Messages": str(state.message_count),
    }


def _answer(answer: Message) -> str:
    return f"answer {answer.position} {answer.state.value}"


def _queued(item: QueuedMessage) -> str:
    text = " ".join(item.content.split())
    gist = text if len(text) <= GIST_CHARACTERS else f"{text[:GIST_CHARACTERS]}…"
    return f"{gist} ({item.delivery.value}{', being edited' if item.is_edited else ''})"
