"""What persons decide on tool calls in the simulated outside, and how often each call may run after that.

Knows the events of decisions. Must not know the reducer.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from chat.core.calls import CallState, Choice, Scope, ToolCall
from chat.core.events import (
    Event,
    ToolAllowanceRevoked,
    ToolApproved,
    ToolLost,
    ToolRejected,
    ToolStarted,
    UnknownOutcomeResolved,
    WishEvent,
)
from chat.core.ids import CallId


@dataclass(kw_only=True, slots=True)
class Counts:
    """How often each call was claimed, and how often somebody said that it may run once more."""

    runs: dict[CallId, int] = field(default_factory=dict)
    words: dict[CallId, int] = field(default_factory=dict)

    def count(self, event: Event) -> list[str]:
        """What is wrong about an event that was taken."""
        match event:
            case ToolStarted():
                self.runs[event.call_id] = self.runs.get(event.call_id, 0) + 1
                if self.runs[event.call_id] > 1 + self.words.get(event.call_id, 0):
                    return [f"call {event.call_id} runs again and nobody said so"]
            case UnknownOutcomeResolved(choice=Choice.RUN_AGAIN) | ToolLost(can_run_again=True):
                self.words[event.call_id] = self.words.get(event.call_id, 0) + 1
            case _:
                pass
        return []


def decision(
    how: int, call: ToolCall, *, others: Collection[ToolCall], foreign: CallId, user_id: int, now: int
) -> WishEvent:
    """One of ten: right or wrong for a call that waits, with the digest of it or of something else."""
    digest, arguments, name, scope = call.digest, None, call.call_id, Scope.ONCE
    # Now and then an owner tries what only staff may, or staff decides what nobody gave to them.
    is_owner_bold = now // 2 % 2 == 0 if call.state is CallState.UNKNOWN else now // 2 % 4 == 0
    is_staff = not is_owner_bold if call.needs_staff else now % 11 == 0
    match how % 10:
        case 0:
            pass
        case 1:
            arguments = f'{{"n":{now}}}'
        case 2:
            scope = Scope.CONVERSATION
            name = name if now % 5 else foreign
        case 3:
            reason = f"no at {now}" if now % 2 else ""
            return ToolRejected(call_id=name, reason=reason, user_id=user_id, at_ms=now, is_staff_decision=is_staff)
        case 4 | 5:
            choice = Choice.CONTINUE if how % 10 == 4 else Choice.RUN_AGAIN
            return UnknownOutcomeResolved(
                call_id=name, choice=choice, user_id=user_id, at_ms=now, is_staff_decision=is_staff
            )
        case 6:
            digest = "0" * 64
        case 7:
            # Of the same arguments for another tool.
            digest = replace(call, tool="look" if call.tool != "look" else "act").digest
        case 8:
            digest = next((one.digest for one in others if one.digest != digest), "")
        case _:
            return ToolAllowanceRevoked(tool=call.tool, at_ms=now)
    return ToolApproved(
        call_id=name,
        digest=digest,
        arguments=arguments,
        scope=scope,
        user_id=user_id,
        at_ms=now,
        is_staff_decision=is_staff,
    )
