"""Stored logs, read line by line and held against their chain and their seal."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from chat import chain, codec, models
from chat.core.events import Event
from chat.errors import AgentsiteError
from chat.store import seals

PAGE_EVENTS = 200
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class UnreadableError(AgentsiteError):
    """The database holds something where an event should be that can't be read at all."""


def lines(conversation_id: UUID, *, up_to: int | None = None) -> Iterator[models.Event]:
    """The events of a log in order, a few at a time. Raises UnreadableError."""
    seq, size = 0, PAGE_EVENTS
    while True:
        rows = models.Event.objects.filter(conversation_id=conversation_id, seq__gt=seq).order_by("seq")
        if up_to is not None:
            rows = rows.filter(seq__lte=up_to)
        try:
            page = list(rows[:size])
        except (ValueError, TypeError, OverflowError) as fault:
            if size == 1:
                raise UnreadableError(f"what follows event {seq} can't be read: {fault}") from fault
            # One by one, to say which it is.
            size = 1
            continue
        yield from page
        if len(page) < size:
            return
        seq = page[-1].seq


def link_of(line: models.Event) -> chain.Link:
    """An event as the chain knows it."""
    at_us = (line.at - _EPOCH) // _MICROSECOND if line.at else 0
    return chain.Link(
        conversation_id=str(line.conversation_id),
        seq=line.seq,
        name=line.name,
        version=line.version,
        payload=line.payload,
        actor_id=line.actor_id,
        at_ms=at_us / 1000 if at_us % 1000 else at_us // 1000,
        salt=line.salt,
        payload_hash=line.payload_hash,
        hash=line.hash,
        is_erased=line.erased_at is not None,
    )


def event_of(line: models.Event) -> Event:
    """The event that a line holds. Raises StoredEventError."""
    return codec.decode_event(line.name, line.erased_version or line.version, line.payload)


class Inspection:
    """Holds the lines of a log, as they are read, against its chain and against the seal of its conversation.

    count: how many lines were followed.
    """

    def __init__(self, row: models.Conversation) -> None:
        self.count = 0
        self._row = row
        names = [name for name, _ in codec.STORED_NAMES.values()]
        self._chain = chain.Chain(names=names, actors=[row.user_id])
        self._erasures = set(
            models.Erasure.objects.filter(conversation_id=row.id).values_list("at", flat=True).distinct()
        )

    def follow(self, line: models.Event) -> list[str]:
        """What this line shows to be wrong, in sentences."""
        self.count += 1
        wrong = self._chain.follow(link_of(line))
        if line.erased_at is None:
            if line.erased_version is not None or line.erased_seal:
                wrong.append(f"event {line.seq}: its marks of erasure were changed")
        elif not seals.is_of_erased(line):
            wrong.append(f"event {line.seq}: it was not erased by this site, or was changed since")
        elif line.erased_at not in self._erasures:
            wrong.append(f"event {line.seq}: the trace of its erasure is missing")
        if line.seq == 1 and line.actor_id != self._row.user_id:
            wrong.append("the conversation belongs to somebody who did not begin it")
        if line.seq == 1 and line.at != self._row.created_at:
            wrong.append("the conversation was not begun when its row says")
        return wrong

    def finish(self) -> list[str]:
        """What is wrong between the end of the log and its seal."""
        row, end = self._row, self._chain
        wrong = end.finish(row.head_hash)
        is_sealed = seals.is_of_head(row.seal, row.id, row.seq, row.head_hash)
        if (end.seq, end.head) == (row.seq, row.head_hash):
            if not is_sealed:
                wrong.append(
                    "the seal is not this site's: it was changed, or the log was made anew without the site's "
                    "SECRET_KEY; or SECRET_KEY was changed, and the former one is not in SECRET_KEY_FALLBACKS"
                )
        elif is_sealed:
            wrong.append(f"the log was sealed at event {row.seq}, and its end was cut off or changed")
        elif seals.is_of_head(row.seal, row.id, end.seq, end.head):
            wrong.append("the conversation's seq or head_hash was changed")
        else:
            wrong.append(f"neither the log, which ends at event {end.seq}, nor the conversation's row is as sealed")
        return wrong
