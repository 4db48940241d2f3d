"""What lists and pages tell of a tool call besides its texts: who decided, how long it waited, how long it ran.

Knows the columns of a call. Must not know pages.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from chat import models
from chat.admin.filters import in_words
from chat.core.calls import CallState

KINDS = {
    CallState.PROPOSED: "warn",
    CallState.UNKNOWN: "warn",
    CallState.APPROVED: "good",
    CallState.RUNNING: "good",
    CallState.SUCCEEDED: "good",
    CallState.FAILED: "bad",
    CallState.REJECTED: "bad",
}


def call_facts(call: models.ToolCall) -> dict[str, Any]:
    """The facts of a row, whose `decided_by` was read with it."""
    return {
        "id": call.pk,
        "conversation_id": call.conversation_id,
        "number": call.number,
        "tool": call.tool,
        "state": waits_words(call) or in_words(call.state),
        "kind": KINDS.get(CallState(call.state), ""),
        "decision": decision_words(call),
        "by": decider(call),
        "proposed_at": call.proposed_at,
        "decided_at": call.decided_at,
        "waited": duration(call.decided_at or _end_of_wait(call), call.proposed_at),
        "took": duration(call.ended_at, call.started_at),
    }


def waits_words(call: models.ToolCall) -> str:
    """Whom it waits for; empty when for nobody."""
    if call.state != CallState.PROPOSED:
        return ""
    return "Waits for staff" if call.needs_staff else "Waits for its owner"


def decision_words(call: models.ToolCall) -> str:
    """What was decided, by whom in what part."""
    if call.decided_at is None:
        return "Nobody was asked" if call.execution_no else "–"
    verb = "Rejected" if call.state == CallState.REJECTED else "Approved"
    who = "staff" if call.is_staff_decision else "its owner"
    reach = ", for the conversation" if call.decision_scope == "conversation" else ""
    return f"{verb} by {who}{reach}"


def decider(call: models.ToolCall) -> str:
    """The name of who decided."""
    if call.decided_at is None:
        return ""
    return call.decided_by.get_username() if call.decided_by else "a user who was deleted"


def _end_of_wait(call: models.ToolCall) -> datetime | None:
    """When nobody has decided: when it was over for another reason; now, while it still waits."""
    if call.execution_no:
        return None
    return datetime.now(UTC) if call.state == CallState.PROPOSED else call.ended_at


def duration(end: datetime | None, start: datetime | None) -> str:
    """For people; empty when one of the two is not known."""
    if end is None or start is None:
        return ""
    seconds = (end - start).total_seconds()
    return f"{seconds:.1f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))
