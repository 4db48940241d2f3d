"""Folds stored logs again and compares with the stored state and rows."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from uuid import UUID

import msgspec

from chat import codec, models
from chat.core.calls import Artifact, CallState, ToolCall
from chat.core.invariants import Ledger
from chat.core.messages import Message, MessageState
from chat.core.reducer import step
from chat.core.state import Conversation, Refused
from chat.errors import AgentsiteError
from chat.store.rows import call_value, message_value, milliseconds


def conversation_ids() -> Iterable[UUID]:
    """Every conversation, oldest first."""
    return models.Conversation.objects.order_by("created_at").values_list("id", flat=True).iterator()


def check(conversation_id: UUID) -> tuple[int, list[str]]:
    """How many events were folded, and what differs. Raises AgentsiteError when there is no such conversation."""
    row = models.Conversation.objects.filter(id=conversation_id).first()
    if row is None:
        raise AgentsiteError(f"There is no conversation {conversation_id}.")
    state: Conversation | None = None
    ledger = Ledger(is_thorough=False)
    wrong: list[str] = []
    count = 0
    for line in models.Event.objects.filter(conversation=row).order_by("seq").iterator():
        count += 1
        if line.seq != count:
            return count, [f"event {count} is missing"]
        try:
            event = codec.decode_event(line.name, line.version, line.payload)
        except codec.StoredEventError as fault:
            return count, [f"event {count}: {fault}"]
        result = step(state, event)
        wrong += [f"event {count}: {fault}" for fault in ledger.record(state, event, result)]
        if isinstance(result, Refused):
            return count, [*wrong, f"event {count} ({line.name}) is refused: {result.words}"]
        state = result.state
    if state is None:
        return 0, ["the log is empty"]
    wrong += ledger.whole(state)
    if row.seq != count:
        wrong.append(f"the snapshot is of event {row.seq}, the log ends at {count}")
    wrong += _compare_snapshot(row, state)
    wrong += _compare_messages(row, ledger.messages.values())
    wrong += _compare_calls(row, ledger.calls.values())
    wrong += _compare_queue(row, state)
    wrong += _compare_run(row, state)
    return count, wrong


def _compare_snapshot(row: models.Conversation, state: Conversation) -> list[str]:
    try:
        stored = codec.decode_snapshot(row.snapshot)
    except codec.StoredEventError as fault:
        return [str(fault)]
    wrong = [] if stored == state else ["the stored snapshot is not what the log says"]
    if (row.phase, row.title, row.is_deleted) != (
        codec.phase_name(state.phase),
        state.title,
        state.is_deleted,
    ):
        wrong.append("phase, name or deletion of the row are not what the log says")
    return wrong


def _compare_messages(row: models.Conversation, folded: Iterable[Message]) -> list[str]:
    stored = {
        message.message_id: message for message in map(message_value, models.Message.objects.filter(conversation=row))
    }
    wrong: list[str] = []
    for message in folded:
        found = stored.pop(message.message_id, None)
        if found is not None and message.state is MessageState.STREAMING:
            # Text in flight is saved now and then, and is not in the log before it has ended.
            found = replace(found, content=message.content, reasoning=message.reasoning)
        if found != message:
            wrong.append(f"message {message.message_id} is not what the log says")
    wrong.extend(f"message {message_id} is not in the log" for message_id in stored)
    return wrong


def _compare_calls(row: models.Conversation, folded: Iterable[ToolCall]) -> list[str]:
    stored = {call.call_id: call for call in map(call_value, models.ToolCall.objects.filter(conversation=row))}
    wrong: list[str] = []
    for call in folded:
        found = stored.pop(call.call_id, None)
        if found is not None and call.state is CallState.RUNNING:
            # What a call prints is saved now and then, and is not in the log before it has ended.
            found = replace(found, output=call.output)
        if found != call:
            wrong.append(f"tool call {call.call_id} is not what the log says")
    wrong.extend(f"tool call {call_id} is not in the log" for call_id in stored)
    return wrong


def _compare_queue(row: models.Conversation, state: Conversation) -> list[str]:
    rows = models.QueuedMessage.objects.filter(conversation=row, place__isnull=False).order_by("place")
    stored = [
        (
            item.message_id,
            item.content,
            item.delivery,
            item.is_edited,
            milliseconds(item.submitted_at),
            msgspec.convert(item.attachments, type=tuple[Artifact, ...]),
        )
        for item in rows
    ]
    folded = [
        (
            item.message_id,
            item.content,
            item.delivery.value,
            item.is_edited,
            item.submitted_at_ms,
            item.attachments,
        )
        for item in state.queue
    ]
    return [] if stored == folded else ["the queue's rows are not what the log says"]


def _compare_run(row: models.Conversation, state: Conversation) -> list[str]:
    stored = list(models.Run.objects.filter(conversation=row, ended_at=None).values_list("id", "generation_no"))
    folded = [(state.run.run_id, state.run.generation_no)] if state.run else []
    wrong = [] if stored == folded else ["the active run's row is not what the log says"]
    if models.Run.objects.filter(conversation=row).count() != state.run_count:
        wrong.append("the number of runs is not what the log says")
    return wrong
