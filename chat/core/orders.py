"""How a tool call comes to be, is ordered to run, and is closed. Values alone: nothing here knows phases."""

from __future__ import annotations

from dataclasses import replace

from chat.core import ids
from chat.core.calls import CallState, Policy, Proposal, ToolCall
from chat.core.effects import RunTool
from chat.core.messages import Message

STOPPED_RESULT = "The user stopped this before it had ended."
UNKNOWN_RESULT = "The outcome is not known: the server was interrupted while this ran. It may have had its effect."
NO_RESULT = "(no output)"
NEVER_RESULT = "This tool is not allowed here."


def new_call(proposal: Proposal, answer: Message, number: int, *, allowed: tuple[str, ...], at_ms: int) -> ToolCall:
    """The n-th call of an answer, counted from 1: as it waits, may run at once, or is closed because it can't.

    allowed: the tools that a person lets run in this conversation without being asked.
    """
    assert answer.run_id is not None  # noqa: S101 - an answer has a run
    call = ToolCall(
        call_id=ids.call_id(answer.message_id, number),
        message_id=answer.message_id,
        run_id=answer.run_id,
        number=number,
        provider_id=proposal.provider_id,
        tool=proposal.tool,
        proposed_arguments=proposal.arguments,
        arguments=proposal.arguments,
        state=CallState.PROPOSED,
        needs_staff=proposal.policy is Policy.STAFF,
        proposed_at_ms=at_ms,
    )
    if proposal.problem:
        return closed(call, CallState.FAILED, proposal.problem, at_ms=at_ms)
    if proposal.policy is Policy.NEVER:
        return closed(call, CallState.FAILED, NEVER_RESULT, at_ms=at_ms)
    # What the owner allowed for the conversation counts where the owner is asked, and nowhere else.
    if proposal.policy is Policy.AUTO or (proposal.policy is Policy.ASK and proposal.tool in allowed):
        return ordered(call)
    return call


def ordered(call: ToolCall) -> ToolCall:
    """The call, which may run now."""
    return replace(call, state=CallState.APPROVED, execution_no=call.execution_no + 1)


def order_of(call: ToolCall) -> RunTool:
    """The order to run it."""
    return RunTool(
        run_id=call.run_id,
        call_id=call.call_id,
        execution_no=call.execution_no,
        tool=call.tool,
        arguments=call.arguments,
    )


def closed(call: ToolCall, state: CallState, result: str, *, at_ms: int) -> ToolCall:
    """The call as it has ended without having run to its end; `result` is what the model is told."""
    return replace(call, state=state, is_settled=True, result=result, ended_at_ms=at_ms)
