"""The parts of the page that follow from the snapshot: what is going on, what waits, what can be pressed.

Knows templates and what they show. Must not know sockets, requests or rows.
"""

from __future__ import annotations

import html
from functools import lru_cache
from typing import Any

from chat.core.calls import UNDER_WAY
from chat.core.messages import MessageState
from chat.core.state import AwaitingApproval, Conversation, Generating, Hold, RunningTools, Stopping
from chat.render.calls import approval_words, artifact_context
from chat.render.stencil import Stencil, part

HELD_WORDS = {
    Hold.STOPPED: "Held because you pressed Stop.",
    Hold.FAILED: "Held because the last response failed.",
}
# So many of a kind are kept, drawn.
PARTS_KEPT = 512
NO_ITEMS: dict[str, Any] = {"items": ()}
NO_PERFORMERS = "Waiting for a worker: none is running, and this goes on when one is"

_title = Stencil("chat/title.html")


def queue_context(state: Conversation) -> dict[str, Any]:
    """What the tray shows."""
    return {
        "items": [
            {
                "id": item.message_id,
                "content": item.content,
                "delivery": item.delivery.value,
                "is_edited": item.is_edited,
                "attachments": [artifact_context(file) for file in item.attachments],
            }
            for item in state.queue
        ],
        "held": state.held.value if state.held else "",
        "held_words": HELD_WORDS[state.held] if state.held else "",
    }


def status_context(state: Conversation, *, has_performers: bool = True) -> dict[str, Any]:
    """The one line that says what is going on and why. has_performers: whether anybody is there to go on with it."""
    phase = state.phase
    until_ms: int | None = None
    if isinstance(phase, Generating) and phase.delay is not None:
        return {"words": f"{phase.delay.failure.words} Trying again in", "until_ms": phase.delay.until_ms}
    if isinstance(phase, Generating | RunningTools) and not has_performers:
        words = NO_PERFORMERS
    elif isinstance(phase, Generating):
        # Each message of the agent has one order to the model; more were given because one was lost.
        is_asked_again = phase.run.generation_no > phase.run.answer_no
        words = "AI is responding, asked again after a restart…" if is_asked_again else "AI is responding…"
    elif isinstance(phase, AwaitingApproval):
        words = approval_words(state)
    elif isinstance(phase, RunningTools):
        tools = [call.tool for call in phase.calls if call.state in UNDER_WAY]
        words = f"Running {', '.join(tools)}…"
    elif isinstance(phase, Stopping):
        words = "Stopping…"
    else:
        words = {
            None: "",
            MessageState.COMPLETE: "Response complete",
            MessageState.INTERRUPTED: "Response interrupted",
            MessageState.FAILED: "Response failed",
            MessageState.STREAMING: "",
        }[state.outcome]
    parts = [words] if words else []
    if state.queue:
        waits = f"{len(state.queue)} queued"
        if state.held:
            waits += ", held"
        elif state.run is None:
            waits += ", waiting for your edit"
        parts.append(waits)
    return {"words": " · ".join(parts), "until_ms": until_ms}


def controls_context(state: Conversation) -> dict[str, Any]:
    """What Send and Stop show."""
    return {"is_busy": state.run is not None, "is_stopping": isinstance(state.phase, Stopping)}


def parts(state: Conversation, *, has_performers: bool) -> dict[str, str]:
    """The parts of the page that follow from the snapshot, by name."""
    status = status_context(state, has_performers=has_performers)
    queue = queue_context(state)
    return {
        "status": _kept_part("status", **status),
        "controls": _kept_part("controls", **controls_context(state)),
        "queue": part("queue", queue=queue, oob="true") if queue["items"] else _kept_part("queue", **queue | NO_ITEMS),
        "allowances": _allowances(state.allowed_tools),
        "title": _title.filled(
            (), {"title": html.escape(state.title)}, lambda title: {"conversation": title, "oob": "true"}
        ),
    }


@lru_cache(maxsize=PARTS_KEPT)
def _kept_part(name: str, **values: Any) -> str:
    """A part that says the same again and again, in many conversations: to fill its template in costs, each time."""
    return part(name, **{name: values}, oob="true")


@lru_cache(maxsize=PARTS_KEPT)
def _allowances(tools: tuple[str, ...]) -> str:
    return part("allowances", tools=tools, oob="true")
