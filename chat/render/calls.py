"""What the page shows of tool calls.

Knows arguments as JSON, what a person changed in them, and words for states. Must not know templates, or how a call is
approved or run.
"""

from __future__ import annotations

import difflib
import json
from datetime import UTC, datetime
from typing import Any

from django.utils.safestring import mark_safe

from chat.core.calls import UNDER_WAY, Artifact, CallState, Scope, ToolCall
from chat.core.state import Conversation
from chat.render.highlight import figure
from chat.tables import shown

CALL_WORDS = {
    CallState.PROPOSED: "Waits for your approval",
    CallState.APPROVED: "Starting…",
    CallState.RUNNING: "Running…",
    CallState.SUCCEEDED: "Done",
    CallState.FAILED: "Failed",
    CallState.REJECTED: "Rejected",
    CallState.STOPPED: "Stopped",
    CallState.UNKNOWN: "Outcome unknown",
}
STAFF_WAIT_WORDS = "Waits for a member of staff"
INLINE_IMAGES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
# What the AI wants with a tool, for people; any other is named.
WISHES = {"execute_python": "execute Python code", "run_shell": "run a shell command"}
# Arguments that are code, by tool and name, and the language that they are in.
ARGUMENT_LANGUAGES = {("execute_python", "code"): "python", ("run_shell", "command"): "bash"}
LONG_ARGUMENT_CHARACTERS = 80
GIST_CHARACTERS = 100


def call_context(call: ToolCall) -> dict[str, Any]:
    """What the card of a tool call shows."""
    proposed, arguments = _arguments(call.proposed_arguments), _arguments(call.arguments)
    edits = _edits(proposed, arguments) if proposed != arguments else []
    is_under_way = call.state in UNDER_WAY
    took = None
    if call.started_at_ms is not None and call.ended_at_ms is not None:
        took = call.ended_at_ms - call.started_at_ms
    return {
        "id": call.call_id,
        "message_id": call.message_id,
        "tool": call.tool,
        "digest": call.digest,
        "state": call.state.value,
        "state_words": _state_words(call),
        "waits": call.waits_for_person,
        "needs_staff": call.needs_staff,
        "question": _question(call),
        # What a person has just read stays in view while it runs; what nobody was asked for does not unfold by itself.
        "is_open": is_under_way and (call.decision is not None or bool(call.output)),
        "since_ms": call.started_at_ms if call.state is CallState.RUNNING else None,
        "gist": _gist(arguments),
        "arguments": [_argument(call.tool, *argument) for argument in arguments],
        "edits": edits,
        "decision": _decision(call, is_edited=bool(edits)),
        "output": call.output,
        "result": _rest_of_result(call) if call.is_settled else "",
        "took": seconds(took),
        "artifacts": [artifact_context(artifact) for artifact in call.artifacts],
    }


def _state_words(call: ToolCall) -> str:
    waits_for_staff = call.needs_staff and call.state is CallState.PROPOSED
    return STAFF_WAIT_WORDS if waits_for_staff else CALL_WORDS[call.state]


def _question(call: ToolCall) -> str:
    ending = f"{STAFF_WAIT_WORDS}." if call.needs_staff else "Approve?"
    return f"AI wants to {wish(call.tool)}. {ending}"


def artifact_context(artifact: Artifact) -> dict[str, Any]:
    """What is shown of a file."""
    return {
        "url": f"/artifacts/{artifact.artifact_id}/",
        "name": artifact.name,
        "is_image": artifact.mime in INLINE_IMAGES,
        "size": artifact.size,
        "table_html": mark_safe(shown(artifact.html)) if artifact.html else "",  # noqa: S308 - made harmless once more
    }


def _rest_of_result(call: ToolCall) -> str:
    """What the model is told beyond the output, which stands above it."""
    return call.result.removeprefix(call.output.rstrip()).lstrip("\n")


def _arguments(text: str) -> list[tuple[str, str, bool]]:
    """Name, text and whether it is a string, of each argument; what is no JSON object is shown as it is."""
    try:
        raw = json.loads(text or "{}")
        if isinstance(raw, dict):
            return [(name, *_written(value)) for name, value in raw.items()]
    except (ValueError, RecursionError):
        pass
    return [("arguments", text, True)]


def _argument(tool: str, name: str, value: str, is_text: bool) -> dict[str, Any]:
    language = ARGUMENT_LANGUAGES.get((tool, name), "text" if is_text else "json")
    return {
        "name": name,
        "value": value,
        "html": mark_safe(figure(value, language)),  # noqa: S308 - made by our renderer
        "is_text": is_text,
        "is_long": "\n" in value or len(value) > LONG_ARGUMENT_CHARACTERS,
    }


def _written(value: Any) -> tuple[str, bool]:
    if isinstance(value, str):
        return value, True
    is_nested = isinstance(value, dict | list) and bool(value)
    return json.dumps(value, ensure_ascii=False, indent=2 if is_nested else None), False


def _gist(arguments: list[tuple[str, str, bool]]) -> str:
    """The first line that says something, so that a card that is folded away is known again."""
    lines = (line.strip() for _, value, _ in arguments for line in value.splitlines())
    return next(filter(None, lines), "")[:GIST_CHARACTERS]


def wish(tool: str) -> str:
    """What the AI wants with a tool, as it goes on after "AI wants to"."""
    return WISHES.get(tool, f"use {tool}")


def _edits(before: list[tuple[str, str, bool]], after: list[tuple[str, str, bool]]) -> list[dict[str, str]]:
    """The lines that a person took out and put in before the call ran, with those that stayed around them."""
    old = [line for name, value, _ in before for line in (f"{name}:", *value.splitlines())]
    new = [line for name, value, _ in after for line in (f"{name}:", *value.splitlines())]
    # Without the two lines that name the files.
    lines = list(difflib.unified_diff(old, new, lineterm="", n=2))[2:]
    kinds = {"+": "added", "-": "removed", " ": "kept", "@": "gap"}
    edits = [{"kind": kinds[line[0]], "text": "⋯" if line[0] == "@" else line[1:]} for line in lines]
    return edits[1:]


def _decision(call: ToolCall, *, is_edited: bool) -> dict[str, Any] | None:
    if call.decision is None:
        return None
    who = "a member of staff" if call.decision.is_staff else "you"
    words = f"Rejected by {who}" if call.state is CallState.REJECTED else f"Approved by {who}"
    if call.decision.scope is Scope.CONVERSATION:
        words += ", with every other call of this tool in this conversation"
    elif is_edited:
        words += ", with changes"
    return {
        "words": words,
        "reason": call.decision.reason,
        "at": datetime.fromtimestamp(call.decision.at_ms / 1000, tz=UTC),
    }


def approval_words(state: Conversation) -> str:
    """What a person is asked for."""
    waiting = [call for call in state.calls if call.waits_for_person]
    if any(call.state is CallState.UNKNOWN for call in waiting):
        return "Decision needed: the outcome of a tool call is unknown"
    if all(call.needs_staff for call in waiting):
        wishes = wish(waiting[0].tool) if len(waiting) == 1 else f"use {len(waiting)} tools"
        return f"{STAFF_WAIT_WORDS}: AI wants to {wishes}"
    if len(waiting) == 1:
        return f"Approval needed: AI wants to {wish(waiting[0].tool)}"
    return f"Approval needed: AI wants to use {len(waiting)} tools"


def seconds(milliseconds: int | None) -> str:
    """A duration for people."""
    return "" if milliseconds is None else f"{milliseconds / 1000:.1f} s"
