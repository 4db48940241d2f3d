"""Values to rows and back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec

from chat.core.calls import Artifact, CallState, Decision, Scope, ToolCall
from chat.core.ids import CallId, MessageId, RunId
from chat.core.messages import Failure, Message, MessageState, Role, Telemetry
from chat.models import Message as MessageRow
from chat.models import ToolCall as ToolCallRow


def when(at_ms: int) -> datetime:
    """Unix milliseconds as the database keeps times."""
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC)


def milliseconds(at: datetime) -> int:
    """A stored time as Unix milliseconds."""
    return round(at.timestamp() * 1000)


def message_columns(message: Message) -> dict[str, Any]:
    """The columns of a message's row, but for its conversation and `changed_seq`."""
    return {
        "message_id": message.message_id,
        "position": message.position,
        "role": message.role.value,
        "attachments": msgspec.to_builtins(message.attachments),
        "run_id": message.run_id,
        "answering": message.answering,
        "created_at": when(message.created_at_ms),
    } | answer_columns(message)


def answer_columns(message: Message) -> dict[str, Any]:
    """Those of them that change while it is answered: most of the others are in indexes."""
    took = message.telemetry
    return {
        "state": message.state.value,
        "content": message.content,
        "reasoning": message.reasoning,
        "fault": message.failure.fault if message.failure else "",
        "fault_words": message.failure.words if message.failure else "",
        "model": took.model,
        "finish_reason": took.finish_reason,
        "notice": took.notice,
        "prompt_tokens": took.prompt_tokens,
        "completion_tokens": took.completion_tokens,
        "first_token_ms": took.first_token_ms,
        "thinking_ms": took.thinking_ms,
        "total_ms": took.total_ms,
        "ended_at": None if message.ended_at_ms is None else when(message.ended_at_ms),
    }


def message_value(row: MessageRow) -> Message:
    """The message that a row holds."""
    return Message(
        message_id=MessageId(row.message_id),
        position=row.position,
        role=Role(row.role),
        state=MessageState(row.state),
        content=row.content,
        created_at_ms=milliseconds(row.created_at),
        ended_at_ms=None if row.ended_at is None else milliseconds(row.ended_at),
        run_id=None if row.run_id is None else RunId(row.run_id),
        answering=None if row.answering is None else MessageId(row.answering),
        reasoning=row.reasoning,
        attachments=msgspec.convert(row.attachments, type=tuple[Artifact, ...]),
        failure=Failure(fault=row.fault, words=row.fault_words) if row.fault else None,
        telemetry=Telemetry(
            model=row.model,
            finish_reason=row.finish_reason,
            notice=row.notice,
            prompt_tokens=row.prompt_tokens,
            completion_tokens=row.completion_tokens,
            first_token_ms=row.first_token_ms,
            thinking_ms=row.thinking_ms,
            total_ms=row.total_ms,
        ),
    )


def call_columns(call: ToolCall) -> dict[str, Any]:
    """The columns of a call's row, but for its conversation, owner and `changed_seq`."""
    decision = call.decision
    return {
        "message_id": call.message_id,
        "run_id": call.run_id,
        "number": call.number,
        "provider_id": call.provider_id,
        "tool": call.tool,
        "proposed_arguments": call.proposed_arguments,
        "arguments": call.arguments,
        "state": call.state.value,
        "needs_staff": call.needs_staff,
        "is_settled": call.is_settled,
        "execution_no": call.execution_no,
        "decided_by_id": decision.user_id if decision else None,
        "decision_scope": decision.scope.value if decision else "",
        "decision_reason": decision.reason if decision else "",
        "is_staff_decision": decision is not None and decision.is_staff,
        "decided_at": when(decision.at_ms) if decision else None,
        "output": call.output,
        "result": call.result,
        "artifacts": msgspec.to_builtins(call.artifacts),
        "proposed_at": when(call.proposed_at_ms),
        "started_at": None if call.started_at_ms is None else when(call.started_at_ms),
        "ended_at": None if call.ended_at_ms is None else when(call.ended_at_ms),
    }


def call_value(row: ToolCallRow) -> ToolCall:
    """The call that a row holds."""
    decision = None
    if row.decided_at is not None:
        decision = Decision(
            user_id=row.decided_by_id or 0,
            scope=Scope(row.decision_scope),
            reason=row.decision_reason,
            at_ms=milliseconds(row.decided_at),
            is_staff=row.is_staff_decision,
        )
    return ToolCall(
        call_id=CallId(row.id),
        message_id=MessageId(row.message_id),
        run_id=RunId(row.run_id),
        number=row.number,
        provider_id=row.provider_id,
        tool=row.tool,
        proposed_arguments=row.proposed_arguments,
        arguments=row.arguments,
        state=CallState(row.state),
        needs_staff=row.needs_staff,
        decision=decision,
        execution_no=row.execution_no,
        is_settled=row.is_settled,
        output=row.output,
        result=row.result,
        artifacts=msgspec.convert(row.artifacts, type=tuple[Artifact, ...]),
        proposed_at_ms=milliseconds(row.proposed_at),
        started_at_ms=None if row.started_at is None else milliseconds(row.started_at),
        ended_at_ms=None if row.ended_at is None else milliseconds(row.ended_at),
    )
