"""One step, one transaction: event row with its place in the chain, snapshot, message, queue and run rows."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from django.db import transaction

from chat import chain, codec, models
from chat.core import reducer
from chat.core.announcement import Announcement
from chat.core.effects import Effect, Order, RunTool, StartGeneration
from chat.core.events import (
    ConversationStarted,
    Event,
    GenerationEvent,
    GenerationLost,
    GenerationStarted,
    MessageSubmitted,
    ToolEnded,
    ToolStarted,
)
from chat.core.ids import ConversationId
from chat.core.messages import Message, MessageState, Role
from chat.core.state import Conversation, QueuedMessage, Refusal, Refused, Run, Step
from chat.errors import ConversationMissingError
from chat.store import agents, counts, files, quotas, seals, statements
from chat.store.log import link_of
from chat.store.quotas import Quota
from chat.store.rows import answer_columns, call_columns, message_columns, message_value, when

logger = logging.getLogger(__name__)

NO_QUOTA = Quota()

# Leaves orders for whoever takes them, within the transaction of the step that gave them.
HandOver = Callable[[models.Conversation, tuple[Order, ...]], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Committed:
    """The event is in the log. `effects` are still to be given to whoever performs them."""

    announcement: Announcement
    effects: tuple[Effect, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeated:
    """A message with this id was accepted before; nothing was written. Holds what is true of it now."""

    announcement: Announcement


def start_conversation(*, user_id: int, at_ms: int, agent_id: uuid.UUID | None = None) -> Announcement:
    """A new conversation of this user, with the agent that they chose, or the one that is there for them.

    Raises AgentMissingError.
    """
    conversation_id = ConversationId(uuid.uuid4())
    with transaction.atomic():
        version = agents.to_start_with(user_id, agent_id)
        agent = None if version is None else agents.ref_of(version)
        event = ConversationStarted(conversation_id=conversation_id, at_ms=at_ms, agent=agent)
        result = reducer.step(None, event)
        assert isinstance(result, Step)  # noqa: S101 - the first event of a log has nothing to be refused for
        row = models.Conversation(
            id=conversation_id,
            user_id=user_id,
            agent_version=version,
            agent_name=agent.name if agent else "",
            seq=1,
            created_at=when(at_ms),
            active_at=when(at_ms),
        )
        set_snapshot(row, result.state)
        line = _append(row, event, actor_id=user_id)
        statements.insert(row)
        statements.insert(line)
    return _announcement(row, event, result)


def commit(
    conversation_id: ConversationId,
    event: Event,
    *,
    actor_id: int | None,
    process_id: uuid.UUID,
    hand_over: HandOver | None = None,
    quota: Quota = NO_QUOTA,
) -> Committed | Repeated | Refused:
    """Apply one event to a conversation and write all that follows from it.

    actor_id: the person whose wish it is; None for what the world answers.
    process_id: the process that lets it happen. hand_over: what it does with new orders; None when they are its own.
    quota: what the conversation's user may have.
    Raises ConversationMissingError.
    """
    # Among other steps in one transaction, one that fails takes all of them back: see `threads.Steps`.
    with transaction.atomic(savepoint=False):
        found = statements.select(models.Conversation, locks=True, id=conversation_id)
        if not found:
            raise ConversationMissingError
        row = found[0]
        stored = dict(vars(row))
        before = codec.decode_snapshot(row.snapshot)
        if getattr(event, "is_staff_decision", False) and actor_id == row.user_id:
            # Two persons: who asked for it never lets it run, whatever else they may do here.
            return Refused(code=Refusal.NEEDS_STAFF, words="This is for a member of staff who is not its owner.")
        if isinstance(event, MessageSubmitted):
            repeated = _repeated(row, before, event)
            if repeated is not None:
                return repeated
            if event.attachments and not files.are_kept(event.attachments):
                # Taken back in another tab since they were looked up.
                return Refused(code=Refusal.NOT_FOUND, words="One of the files is not there any more.")
        is_off = agents.refusal(row, event)
        if is_off is not None:
            return is_off
        if hand_over is not None and _is_anothers(event, process_id):
            return Refused(code=Refusal.LATE, words="Another process has that order.")
        result = reducer.step(before, event)
        if isinstance(result, Refused):
            return result
        too_much = quotas.refusal(row.user_id, before, event, result, quota) if actor_id is not None else None
        if too_much is not None:
            return too_much
        quotas.count_tokens(row.user_id, event, agent=before.agent)
        row.seq += 1
        statements.insert(_append(row, event, actor_id=actor_id))
        _write_messages(row, before, result.messages)
        owner = process_id if hand_over is None else None
        _write_calls(row, before, result, owner=owner)
        _write_queue(row, before.queue, result)
        _write_run(row, before.run, result, owner=owner, at_ms=event.at_ms)
        if hand_over is not None:
            _write_claim(row, event, process_id)
        counts.count(row, before, result)
        if any(message.role is Role.USER for message in result.messages):
            row.active_at = when(event.at_ms)
        set_snapshot(row, result.state)
        # What did not change stays out of it: most of the columns are in indexes, which would be written anew.
        changes = {name: value for name, value in vars(row).items() if stored[name] != value}
        statements.update(models.Conversation, changes, id=row.id)
        orders = tuple(effect for effect in result.effects if isinstance(effect, Order))
        if orders and hand_over is not None:
            hand_over(row, orders)
    return Committed(announcement=_announcement(row, event, result), effects=result.effects)


def _is_anothers(event: Event, process_id: uuid.UUID) -> bool:
    """Whether the event belongs to an order that another process has claimed.

    Those two that say that an order was lost are for everybody: they name the order that they end.
    """
    owned: uuid.UUID | None = None
    if isinstance(event, GenerationEvent) and not isinstance(event, GenerationLost):
        for run in statements.select(models.Run, id=event.run_id, generation_no=event.generation_no):
            owned = run.owner
    elif isinstance(event, ToolStarted | ToolEnded):
        # Without all that the call printed.
        calls = models.ToolCall.objects.filter(id=event.call_id, execution_no=event.execution_no)
        owned = calls.values_list("owner", flat=True).first()
    return owned is not None and owned != process_id


def _write_claim(row: models.Conversation, event: Event, process_id: uuid.UUID) -> None:
    """Who takes an order that was left for anybody has it from now on."""
    if isinstance(event, GenerationStarted):
        statements.update(models.Run, {"owner": process_id}, id=event.run_id, owner=None)
    elif isinstance(event, ToolStarted):
        statements.update(models.ToolCall, {"owner": process_id}, id=event.call_id, owner=None)
        row.tools_at = process_id


def _announcement(row: models.Conversation, event: Event, result: Step) -> Announcement:
    return Announcement(
        user_id=row.user_id,
        seq=row.seq,
        event_type=codec.stored_name(event),
        state=result.state,
        messages=result.messages,
        calls=result.calls,
    )


def _repeated(row: models.Conversation, state: Conversation, event: MessageSubmitted) -> Repeated | None:
    if row.seq == 1:
        # Nothing was sent yet.
        return None
    this: dict[str, Any] = {"conversation_id": row.id, "message_id": event.message_id}
    sent = statements.select(models.Message, **this)
    if not sent and not statements.select(models.QueuedMessage, **this):
        return None
    return Repeated(
        announcement=Announcement(
            user_id=row.user_id,
            seq=row.seq,
            event_type=codec.stored_name(event),
            state=state,
            messages=tuple(map(message_value, sent)),
        )
    )


def set_snapshot(row: models.Conversation, state: Conversation) -> None:
    """Write a state into a conversation's row, which is not saved yet."""
    row.snapshot = codec.encode_snapshot(state)
    row.phase = codec.phase_name(state.phase)
    row.title = state.title
    row.is_deleted = state.is_deleted


def _append(row: models.Conversation, event: Event, *, actor_id: int | None) -> models.Event:
    """The line that an event adds to the chain; neither it nor the row is saved yet.

    A seal that is not this site's is never renewed: what was done to the log before must not become right by going on.
    """
    is_sealed = row.seq == 1 or seals.is_of_head(row.seal, row.id, row.seq - 1, row.head_hash)
    name, version, payload = codec.encode_event(event)
    line = models.Event(
        conversation=row,
        seq=row.seq,
        name=name,
        version=version,
        payload=payload,
        actor_id=actor_id,
        at=when(event.at_ms),
        salt=chain.new_salt(),
    )
    line.payload_hash = chain.payload_hash(line.salt, payload)
    line.hash = chain.link_hash(row.head_hash or chain.FIRST, link_of(line))
    row.head_hash = line.hash
    if is_sealed:
        row.seal = seals.of_head(row.id, row.seq, row.head_hash)
    else:
        logger.error("The log of conversation %s is not as this site sealed it; check_replay says more", row.id)
    return line


def _write_messages(row: models.Conversation, before: Conversation, messages: tuple[Message, ...]) -> None:
    """Of the changed messages only the answer of the run before can have a row already."""
    written = before.run.answer.message_id if before.run else None
    new: list[models.Message] = []
    for message in messages:
        if message.message_id == written:
            columns = answer_columns(message) | {"changed_seq": row.seq}
            statements.update(models.Message, columns, conversation_id=row.id, message_id=written)
        else:
            new.append(models.Message(conversation_id=row.id, changed_seq=row.seq, **message_columns(message)))
    statements.insert(*new)


def _write_calls(row: models.Conversation, before: Conversation, result: Step, *, owner: uuid.UUID | None) -> None:
    """Of the changed calls only those that were open before can have a row already."""
    written = {call.call_id for call in before.calls}
    ordered = {effect.call_id for effect in result.effects if isinstance(effect, RunTool)}
    # The last word on each: one event can change a call twice.
    for call in {call.call_id: call for call in result.calls}.values():
        columns = call_columns(call) | {"changed_seq": row.seq}
        if call.call_id in ordered:
            columns["owner"] = owner
        if call.call_id in written:
            statements.update(models.ToolCall, columns, id=call.call_id)
        else:
            statements.insert(models.ToolCall(id=call.call_id, conversation_id=row.id, **columns))


def _write_queue(row: models.Conversation, before: tuple[QueuedMessage, ...], result: Step) -> None:
    after = result.state.queue
    if after == before:
        return
    gone = {item.message_id: (place, item) for place, item in enumerate(before)}
    for place, item in enumerate(after):
        known = gone.pop(item.message_id, None)
        if known == (place, item):
            continue
        columns: dict[str, Any] = {
            "place": place,
            "content": item.content,
            "delivery": item.delivery.value,
            "is_edited": item.is_edited,
        }
        this: dict[str, Any] = {"conversation_id": row.id, "message_id": item.message_id}
        if known is None:
            columns["attachments"] = msgspec.to_builtins(item.attachments)
            columns["submitted_at"] = when(item.submitted_at_ms)
            statements.insert(models.QueuedMessage(**this, **columns))
        else:
            statements.update(models.QueuedMessage, columns, **this)
    sent = {message.message_id for message in result.messages}
    for message_id in gone:
        this = {"conversation_id": row.id, "message_id": message_id}
        if message_id in sent:
            statements.delete(models.QueuedMessage, **this)
        else:
            statements.update(models.QueuedMessage, {"place": None}, **this)


def _write_run(
    row: models.Conversation, before: Run | None, result: Step, *, owner: uuid.UUID | None, at_ms: int
) -> None:
    after = result.state.run
    if before is not None and (after is None or after.run_id != before.run_id):
        # What was stopped among its calls has ended as stopped, also when its newest answer was complete.
        answer = next((sent for sent in result.messages if sent.message_id == before.answer.message_id), None)
        outcome = MessageState.INTERRUPTED if answer is None or result.calls else answer.state
        statements.update(models.Run, {"ended_at": when(at_ms), "outcome": outcome.value}, id=before.run_id)
    if after is None:
        return
    if before is None or after.run_id != before.run_id:
        run = models.Run(
            id=after.run_id,
            conversation_id=row.id,
            answering=after.answering,
            generation_no=after.generation_no,
            owner=owner,
            started_at=when(at_ms),
        )
        statements.insert(run)
    elif any(isinstance(effect, StartGeneration) for effect in result.effects):
        order = {"generation_no": after.generation_no, "owner": owner}
        statements.update(models.Run, order, id=after.run_id)
