"""Text and output in flight, as other processes are sent it.

Knows what of it they were sent. Must not know how they are reached.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from chat.copies import OutputFlush, TextFlush
from chat.core.ids import ConversationId
from chat.live import LiveOutput, LiveText


class Sender(Protocol):
    """Sends what a stream has, now or soon."""

    def flush_soon(self, stream: Stream) -> None:
        """There is something to send of a stream."""
        ...

    def flush_now(self, stream: Stream) -> None:
        """The same, in the order of what is said."""
        ...


class Stream:
    """Something in flight that this process performs, and how much of it others were sent."""

    def __init__(self, sender: Sender, conversation_id: ConversationId) -> None:
        self._sender = sender
        self.conversation_id = conversation_id

    def wake(self) -> None:
        """There is more."""
        self._sender.flush_soon(self)

    def close(self) -> None:
        """It has ended, and the word of that comes next: what is left goes before it."""
        self._sender.flush_now(self)

    def flush(self) -> dict[str, Any] | None:
        """What others were not sent yet; None when that is nothing."""
        raise NotImplementedError


class TextStream(Stream):
    """The text of an answer."""

    def __init__(self, sender: Sender, conversation_id: ConversationId, live: LiveText) -> None:
        super().__init__(sender, conversation_id)
        self._live = live
        self._sent = (0, 0, "")

    def flush(self) -> dict[str, Any] | None:
        live = self._live
        sent, self._sent = self._sent, (live.length, live.reasoning_length, live.calling)
        return None if sent == self._sent else text_flush(str(self.conversation_id), live, sent[0], sent[1])


class OutputStream(Stream):
    """What a tool prints."""

    def __init__(self, sender: Sender, conversation_id: ConversationId, output: LiveOutput) -> None:
        super().__init__(sender, conversation_id)
        self._output = output
        self._sent: tuple[int, object] = (0, None)

    def flush(self) -> dict[str, Any] | None:
        output = self._output
        sent, self._sent = self._sent, (len(output.segments), output.latest)
        return None if sent == self._sent else output_flush(str(self.conversation_id), output, sent[0])


def text_flush(of: str, live: LiveText, offset: int, reasoning_offset: int) -> dict[str, Any]:
    """A text from these offsets on, as it is told."""
    flush = TextFlush(
        message_id=live.message_id,
        run_id=live.run_id,
        generation_no=live.generation_no,
        opened_seq=live.opened_seq,
        offset=offset,
        text=live.since(offset),
        reasoning_offset=reasoning_offset,
        reasoning=live.reasoning_since(reasoning_offset),
        calling=live.calling,
    )
    return {"text": msgspec.to_builtins(flush), "of": of}


def output_flush(of: str, output: LiveOutput, start: int) -> dict[str, Any]:
    """Output from this segment on, as it is told."""
    latest = output.latest
    flush = OutputFlush(
        call_id=output.call_id,
        execution_no=output.execution_no,
        start=start,
        segments=tuple(output.segments[start:]),
        is_told=latest is not None,
        fraction=latest.fraction if latest is not None else None,
        words=latest.text if latest is not None else "",
    )
    return {"output": msgspec.to_builtins(flush), "of": of}
