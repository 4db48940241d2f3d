"""What was true at any event of a stored log.

Knows how a log is read and folded. Must not know who asks, or the rows that follow from the log.
"""

from __future__ import annotations

from dataclasses import dataclass

from chat import models
from chat.codec import StoredEventError
from chat.core.calls import ToolCall
from chat.core.events import Event
from chat.core.ids import ConversationId
from chat.core.messages import Message
from chat.core.state import Conversation
from chat.errors import AgentsiteError
from chat.store.log import UnreadableError, event_of, lines
from chat.store.replay import Fold, FoldError


class BrokenLogError(AgentsiteError):
    """A log that can't be folded to its end; says which event is to blame."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Moment:
    """One event of a log and what was true then.

    before: the state that it met; None of the first event. wrong: what the step did against the promises.
    """

    line: models.Event
    event: Event
    before: Conversation | None
    state: Conversation
    wrong: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Past:
    """A conversation as it was at one of its events: that event, and every message in order and call until then."""

    moment: Moment
    messages: tuple[Message, ...]
    calls: tuple[ToolCall, ...]


def past(conversation_id: ConversationId, seq: int) -> Past:
    """The conversation as it was at this event. Raises BrokenLogError, also when there is no such event."""
    fold = Fold(keeps_texts=True)
    moment: Moment | None = None
    count = 0
    try:
        for line in lines(conversation_id, up_to=seq):
            count += 1
            if line.seq != count:
                raise BrokenLogError(f"event {count} is missing")
            before, event = fold.state, event_of(line)
            wrong = fold.take(event)
            assert fold.state is not None  # noqa: S101 - an event was taken
            moment = Moment(line=line, event=event, before=before, state=fold.state, wrong=wrong)
    except (FoldError, StoredEventError, TypeError) as fault:
        raise BrokenLogError(f"event {count}: {fault}") from fault
    except UnreadableError as fault:
        raise BrokenLogError(str(fault)) from fault
    if moment is None or moment.line.seq != seq:
        raise BrokenLogError(f"There is no event {seq}.")
    return Past(
        moment=moment,
        messages=tuple(sorted(fold.messages, key=lambda message: message.position)),
        calls=tuple(sorted(fold.calls, key=lambda call: (call.proposed_at_ms, call.number))),
    )
