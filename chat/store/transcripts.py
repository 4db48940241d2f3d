"""What was said in a conversation, as the next answer needs it: all of it, also when it is long.

The transcripts of long conversations are kept in memory for a while, so that a turn reads what has changed since the
one before. Must not know what is made of them.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from chat import models
from chat.core.calls import ToolCall
from chat.core.ids import ConversationId, MessageId
from chat.core.messages import Message
from chat.store import statements
from chat.store.rows import call_value, message_value
from chat.store.threads import in_thread

# Shorter ones are read faster than it is worth to remember them.
LONG_MESSAGES = 8
KEPT_MAX_CHARACTERS = 32 * 1024 * 1024
# So much text takes as much memory as what else there is of a message or a call.
CHARACTERS_EACH = 1_500
# Erased text is in no prompt from then on, and gone from memory with the first answer to anybody after this.
KEPT_S = 600.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Transcript:
    """Messages by position, and the calls of each answer by their numbers.

    as_of: an event that was committed before any of it was read. erasures: how often the conversation was erased.
    """

    messages: tuple[Message, ...] = ()
    calls: dict[MessageId, list[ToolCall]] = field(default_factory=dict)
    as_of: int = 0
    erasures: int = 0


def read(conversation_id: ConversationId, *, as_of: int = 0, known: Transcript | None = None) -> Transcript:
    """All of it. as_of: an event that is known to be committed. known: what was read before; only what has changed
    since is read again."""
    erasures = len(statements.select(models.Erasure, conversation_id=conversation_id)) if known is not None else 0
    if known is None or erasures != known.erasures:
        known = Transcript()
    # What that event changed is read again: the text of an answer grows after the event that opens it.
    fresh: dict[str, Any] = {"conversation_id": conversation_id, "changed_seq__gte": known.as_of}
    messages = {message.position: message for message in known.messages}
    for row in statements.select(models.Message, **fresh):
        messages[row.position] = message_value(row)
    calls = {message_id: {call.number: call for call in some} for message_id, some in known.calls.items()}
    for made in statements.select(models.ToolCall, **fresh):
        calls.setdefault(MessageId(made.message_id), {})[made.number] = call_value(made)
    return Transcript(
        messages=tuple(messages[position] for position in sorted(messages)),
        calls={message_id: [some[number] for number in sorted(some)] for message_id, some in calls.items()},
        as_of=as_of,
        erasures=erasures,
    )


def _characters(transcript: Transcript) -> int:
    """How much it takes to remember it."""
    texts = [len(message.content) + len(message.reasoning) for message in transcript.messages]
    for calls in transcript.calls.values():
        texts += [len(call.arguments) + len(call.output) + len(call.result) for call in calls]
    return sum(texts) + CHARACTERS_EACH * len(texts)


class Transcripts:
    """Those of one process. Belongs to one event loop."""

    def __init__(self, *, read: Callable[..., Transcript] = read, clock: Callable[[], float] = time.monotonic) -> None:
        self._read = read
        self._clock = clock
        # The one that was asked for last comes last, with the time of that and what it takes.
        self._kept: OrderedDict[ConversationId, tuple[Transcript, float, int]] = OrderedDict()
        self._characters = 0

    async def read(self, conversation_id: ConversationId, *, as_of: int) -> Transcript:
        """All that was said. as_of: an event that is known to be committed."""
        known = self._take(conversation_id)
        transcript = await in_thread(self._read, conversation_id, as_of=as_of, known=known)
        if len(transcript.messages) >= LONG_MESSAGES:
            self._take(conversation_id)
            size = _characters(transcript)
            self._kept[conversation_id] = transcript, self._clock(), size
            self._characters += size
        self._forget()
        return transcript

    def _take(self, conversation_id: ConversationId) -> Transcript | None:
        transcript, _, size = self._kept.pop(conversation_id, (None, 0.0, 0))
        self._characters -= size
        return transcript

    def _forget(self) -> None:
        """What was not asked for in a long time, and what is too much."""
        while self._kept:
            oldest = next(iter(self._kept))
            if self._characters <= KEPT_MAX_CHARACTERS and self._clock() - self._kept[oldest][1] < KEPT_S:
                return
            self._take(oldest)
