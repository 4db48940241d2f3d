"""Folds stored logs again, holds them against their chain, and compares with the stored state and rows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from uuid import UUID

import msgspec
from django.db import transaction

from chat import codec, models
from chat.core.calls import Artifact, CallState, ToolCall
from chat.core.events import Event
from chat.core.invariants import Ledger
from chat.core.messages import Message, MessageState
from chat.core.reducer import step
from chat.core.state import Conversation, Refused
from chat.errors import AgentsiteError
from chat.store import agents, counts
from chat.store.log import Inspection, UnreadableError, event_of, lines
from chat.store.rows import call_value, message_value, milliseconds

# Longer texts are compared by their hash, so that no whole log lies in memory.
BRIEF_CHARACTERS = 200


class FoldError(AgentsiteError):
    """The event can't have been taken where it stands in the log."""


def conversation_ids() -> Iterable[UUID]:
    """Every conversation, oldest first."""
    return models.Conversation.objects.order_by("created_at").values_list("id", flat=True).iterator()


def conversation_count() -> int:
    """How many conversations there are."""
    return models.Conversation.objects.count()


class Fold:
    """Folds a log, event by event, and holds each step against the invariants.

    state: after the newest event; None before the first.
    keeps_texts: whether `messages` and `calls` have their texts, or short names of long ones, of which many fit into
    memory.
    """

    def __init__(self, *, keeps_texts: bool) -> None:
        self.state: Conversation | None = None
        self._ledger = Ledger(is_thorough=False)
        self._keeps_texts = keeps_texts

    @property
    def messages(self) -> Iterable[Message]:
        """The transcript, in order."""
        return self._ledger.messages.values()

    @property
    def calls(self) -> Iterable[ToolCall]:
        """Every call, in order."""
        return self._ledger.calls.values()

    def take(self, event: Event) -> list[str]:
        """What the next event does wrong. Raises FoldError when it can't have been in this log."""
        result = step(self.state, event)
        wrong = self._ledger.record(self.state, event, result)
        if isinstance(result, Refused):
            raise FoldError("; ".join([f"({codec.stored_name(event)}) is refused: {result.words}", *wrong]))
        if not self._keeps_texts:
            self._ledger.messages |= {message.message_id: _brief_message(message) for message in result.messages}
            self._ledger.calls |= {call.call_id: _brief_call(call) for call in result.calls}
            waiting = {item.message_id for item in result.state.queue}
            for message_id in self._ledger.texts.keys() - waiting:
                del self._ledger.texts[message_id]
        self.state = result.state
        return wrong

    def finish(self) -> list[str]:
        """What is wrong between the newest state and all that was before."""
        return [] if self.state is None else self._ledger.whole(self.state)


def check(conversation_id: UUID) -> tuple[int, list[str]]:
    """How many events were read, and what differs: between the log, its chain and its seal, and between what the log
    gives and the rows. Raises AgentsiteError when there is no such conversation.
    """
    seq, count, wrong = _check(conversation_id)
    if wrong and _row(conversation_id).seq != seq:
        # Something happened in it while it was read: nothing may, the second time.
        with transaction.atomic():
            models.Conversation.objects.select_for_update().filter(id=conversation_id).first()
            seq, count, wrong = _check(conversation_id)
    return count, wrong


def erased_count(conversation_id: UUID) -> int:
    """Of how many events the text was erased."""
    return models.Event.objects.filter(conversation_id=conversation_id, erased_at__isnull=False).count()


def _row(conversation_id: UUID) -> models.Conversation:
    row = models.Conversation.objects.filter(id=conversation_id).first()
    if row is None:
        raise AgentsiteError(f"There is no conversation {conversation_id}.")
    return row


def _check(conversation_id: UUID) -> tuple[int, int, list[str]]:
    row = _row(conversation_id)
    fold: Fold | None = Fold(keeps_texts=False)
    inspection = Inspection(row)
    wrong: list[str] = []
    try:
        for line in lines(row.id):
            wrong += inspection.follow(line)
            if fold is not None and line.seq != inspection.count:
                fold = None
            if fold is not None:
                try:
                    wrong += [f"event {line.seq}: {fault}" for fault in fold.take(event_of(line))]
                except FoldError as fault:
                    wrong.append(f"event {line.seq} {fault}")
                    fold = None
                except (codec.StoredEventError, TypeError) as fault:
                    wrong.append(f"event {line.seq}: {fault}")
                    fold = None
    except UnreadableError as fault:
        return row.seq, inspection.count, [*wrong, str(fault)]
    wrong += inspection.finish()
    if not inspection.count:
        wrong.append("the log is empty")
    elif row.seq != inspection.count:
        wrong.append(f"the snapshot is of event {row.seq}, the log ends at {inspection.count}")
    if fold is not None and fold.state is not None:
        try:
            wrong += fold.finish() + _compare(row, fold, fold.state)
        except (ValueError, TypeError, AttributeError, msgspec.MsgspecError) as fault:
            wrong.append(f"a row that follows from the log can't be read: {fault}")
    return row.seq, inspection.count, wrong


def _compare(row: models.Conversation, fold: Fold, state: Conversation) -> list[str]:
    return [
        *_compare_snapshot(row, state),
        *_compare_agent(row, state),
        *counts.compare(row, fold.messages, fold.calls),
        *_compare_messages(row, fold.messages),
        *_compare_calls(row, fold.calls),
        *_compare_queue(row, state),
        *_compare_run(row, state),
    ]


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


def _compare_agent(row: models.Conversation, state: Conversation) -> list[str]:
    version, agent = row.agent_version, state.agent
    named = (None, None, "") if agent is None else (agent.agent_id, agent.version, agent.name)
    if named != (version and version.agent_id, version and version.number, row.agent_name):
        return ["the row has another agent than the log"]
    if agent is not None and version is not None and agents.profile_of(version).digest != agent.digest:
        return [f"version {agent.version} of agent {agent.name} is not what it was when the conversation started"]
    return []


def _compare_messages(row: models.Conversation, messages: Iterable[Message]) -> list[str]:
    folded = {message.message_id: message for message in messages}
    wrong: list[str] = []
    for stored in map(message_value, models.Message.objects.filter(conversation=row).iterator()):
        found, message = _brief_message(stored), folded.pop(stored.message_id, None)
        if message is None:
            wrong.append(f"message {found.message_id} is not in the log")
            continue
        if message.state is MessageState.STREAMING:
            # Text in flight is saved now and then, and is not in the log before it has ended.
            found = replace(found, content=message.content, reasoning=message.reasoning)
        if found != message:
            wrong.append(f"message {found.message_id} is not what the log says")
    wrong.extend(f"message {message_id} is not what the log says" for message_id in folded)
    return wrong


def _compare_calls(row: models.Conversation, calls: Iterable[ToolCall]) -> list[str]:
    folded = {call.call_id: call for call in calls}
    wrong: list[str] = []
    for stored in map(call_value, models.ToolCall.objects.filter(conversation=row).iterator()):
        found, call = _brief_call(stored), folded.pop(stored.call_id, None)
        if call is None:
            wrong.append(f"tool call {found.call_id} is not in the log")
            continue
        if call.state is CallState.RUNNING:
            # What a call prints is saved now and then, and is not in the log before it has ended.
            found = replace(found, output=call.output)
        if found != call:
            wrong.append(f"tool call {found.call_id} is not what the log says")
    wrong.extend(f"tool call {call_id} is not what the log says" for call_id in folded)
    return wrong


def _brief_message(message: Message) -> Message:
    return replace(message, content=_brief(message.content), reasoning=_brief(message.reasoning))


def _brief_call(call: ToolCall) -> ToolCall:
    return replace(
        call,
        proposed_arguments=_brief(call.proposed_arguments),
        arguments=_brief(call.arguments),
        output=_brief(call.output),
        result=_brief(call.result),
    )


def _brief(text: str) -> str:
    """A short text as it is, a long one by its hash."""
    return text if len(text) <= BRIEF_CHARACTERS else hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


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
