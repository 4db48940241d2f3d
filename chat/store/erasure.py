"""Erases what was said in conversations, and keeps what can be checked of them.

In the events, and so in every row that follows from them, text becomes a fixed mark; the hashes of the payloads as they
were stay, so that the chain holds. Salts go, so that nobody can find out a short text by trying.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from uuid import UUID

import msgspec
from django.contrib.auth import get_user_model
from django.db import connection, transaction

from chat import codec, models
from chat.core.calls import Artifact
from chat.core.events import Event, ToolApproved
from chat.core.ids import ConversationId
from chat.core.state import Conversation, Idle
from chat.errors import AgentsiteError, ConversationMissingError
from chat.store import replay, seals
from chat.store.commits import set_snapshot
from chat.store.log import event_of, lines
from chat.store.rows import call_columns, message_columns


class RunActiveError(AgentsiteError):
    """Something runs in this conversation, or waits for a decision. Stop it first."""


class DamagedLogError(AgentsiteError):
    """The log of this conversation is not as it was written."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Erased:
    """How many events had text, and how many files there were."""

    events: int
    files: int


def conversations_of(username: str) -> tuple[ConversationId, ...]:
    """All conversations of a user, oldest first, deleted ones too. Raises AgentsiteError when there is no such user."""
    try:
        user = get_user_model().objects.get_by_natural_key(username)
    except get_user_model().DoesNotExist:
        raise AgentsiteError(f"There is no user {username}.") from None
    rows = models.Conversation.objects.filter(user_id=user.pk).order_by("created_at")
    return tuple(map(ConversationId, rows.values_list("id", flat=True)))


def erase(conversation_id: UUID, *, by: str, remove_folder: Callable[[], None]) -> Erased:
    """Erase all text of a conversation and remove its files, and leave a trace that says so: all of it or nothing.

    by: the name of the member of staff who wants it; empty for who has a shell on the server.
    remove_folder: removes what the conversation's tools have on the disk. Files go before the rows: when this breaks
    off, the rows stay to be found the next time.
    Raises ConversationMissingError, RunActiveError, and DamagedLogError, since erasing would hide what was done to it.
    """
    if connection.vendor == "sqlite":
        # What was there stays in the file until its place is needed, unless it is overwritten.
        _execute("PRAGMA secure_delete = ON")
    with transaction.atomic():
        row = models.Conversation.objects.select_for_update().filter(id=conversation_id).first()
        if row is None:
            raise ConversationMissingError
        if not isinstance(codec.decode_snapshot(row.snapshot).phase, Idle):
            raise RunActiveError
        _refuse_damaged(row)
        at = datetime.now(UTC)
        artifacts = list(models.Artifact.objects.filter(conversation=row))
        erased = Erased(events=_erase_log(row, at), files=len(artifacts))
        if erased.events or erased.files:
            models.Erasure.objects.create(
                conversation_id=row.id, by=by, at=at, events=erased.events, files=erased.files
            )
        # Before anything is done that can't be taken back.
        _refuse_damaged(row)
        for artifact in artifacts:
            artifact.file.delete(save=False)
            artifact.delete()
        remove_folder()
    if connection.vendor == "sqlite" and not connection.in_atomic_block:
        # The log beside the database has what was written lately. It can't be emptied while somebody reads.
        _execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return erased


def _refuse_damaged(row: models.Conversation) -> None:
    _, wrong = replay.check(row.id)
    if wrong:
        raise DamagedLogError(f"The log is not as it was written ({wrong[0]}). See what check_replay says first.")


def _erase_log(row: models.Conversation, at: datetime) -> int:
    """Erase the text of each event, and write what follows from that; how many events had any."""
    fold = replay.Fold(keeps_texts=True)
    count = 0
    for line in lines(row.id):
        was = event_of(line)
        event = _erased(was, fold.state)
        fold.take(event)
        if event != was:
            count += 1
            line.salt, line.erased_at = "", at
            _, line.erased_version, line.payload = codec.encode_event(event)
            line.erased_seal = seals.of_erased(line)
            line.save(update_fields=["salt", "payload", "erased_at", "erased_version", "erased_seal"])
    for message in fold.messages:
        rows = models.Message.objects.filter(conversation=row, message_id=message.message_id)
        rows.update(**message_columns(message))
    for call in fold.calls:
        models.ToolCall.objects.filter(id=call.call_id).update(**call_columns(call))
    _erase_queue(row)
    if fold.state is not None:
        set_snapshot(row, fold.state)
        row.save(update_fields=["snapshot", "phase", "title", "is_deleted"])
    return count


def _erased(event: Event, state: Conversation | None) -> Event:
    """The event without its text, as it can follow a state without text."""
    event = codec.erased(event)
    if isinstance(event, ToolApproved) and state is not None:
        digests = {call.call_id: call.digest for call in state.calls}
        event = replace(event, digest=digests.get(event.call_id, event.digest))
    return event


def _erase_queue(row: models.Conversation) -> None:
    """Waiting messages, and those that were withdrawn, which the state does not know any more."""
    for queued in models.QueuedMessage.objects.filter(conversation=row):
        queued.content = codec.ERASED
        sent_along = msgspec.convert(queued.attachments, type=tuple[Artifact, ...])
        queued.attachments = msgspec.to_builtins(codec.erased(sent_along))
        queued.save(update_fields=["content", "attachments"])


def _execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        cursor.fetchall()
