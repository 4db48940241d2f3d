"""What is in flight: the text of an answer while it streams, and what a tool prints and how far it is while it runs.

Kept by the process that performs it, and as a copy by others in which somebody looks on. Knows that somebody may look
on, and wakes them. Must not know who they are, what they read, or how a copy is kept up.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol

from chat.core.ids import CallId, MessageId, RunId


class Sleeper(Protocol):
    """Somebody who waits for more."""

    def wake(self) -> None:
        """There is more."""
        ...


class Sender(Sleeper, Protocol):
    """Sends what is in flight on to other processes."""

    def close(self) -> None:
        """It has ended: what is left of it goes before any other word."""
        ...


class Audience(Protocol):
    """Those who look on now."""

    @property
    def sleepers(self) -> Iterable[Sleeper]:
        """Each of them."""
        ...


# So many pieces of a growing text are looked through for what is new; more are put together first.
RECENT_PIECES = 8


class _Growing:
    """A text that grows, in the memory that it takes as one, and of which the end is read without the rest."""

    __slots__ = ("_recent", "_whole")

    def __init__(self) -> None:
        self._whole = ""
        self._recent: list[str] = []

    def append(self, text: str) -> None:
        self._recent.append(text)
        if len(self._recent) > RECENT_PIECES:
            self._join()

    def since(self, offset: int) -> str:
        start = len(self._whole)
        if offset < start:
            self._join()
            return self._whole[offset:]
        return "".join(self._recent)[offset - start :]

    def _join(self) -> None:
        # Python lets a text grow where it lies if one local name alone holds it; else it is copied whole each time.
        whole, self._whole = self._whole, ""
        whole += "".join(self._recent)
        self._whole = whole
        self._recent.clear()


class LiveText:
    """The text of one answer while it streams.

    opened_seq: the event that opened it. is_copy: another process performs it. is_joined: that process was heard of it.
    calling: the tool whose call the model writes just now; empty when it writes none. attachments: what readers keep
    with it, such as its rendering, so that it is made once and not once for each of them.
    """

    def __init__(
        self,
        *,
        room: Audience,
        message_id: MessageId,
        run_id: RunId,
        generation_no: int,
        opened_seq: int,
        is_copy: bool = False,
    ) -> None:
        self._room = room
        self.is_copy = is_copy
        self.is_joined = not is_copy
        self.message_id = message_id
        self.run_id = run_id
        self.generation_no = generation_no
        self.opened_seq = opened_seq
        self.length = 0
        self.reasoning_length = 0
        self.calling = ""
        self.attachments: dict[str, Any] = {}
        self._text = _Growing()
        self._reasoning = _Growing()

    def append(self, text: str, reasoning: str = "") -> None:
        """Add text, and tell everybody who reads along."""
        if text:
            self._text.append(text)
            self.length += len(text)
        if reasoning:
            self._reasoning.append(reasoning)
            self.reasoning_length += len(reasoning)
        self._wake()

    def join(self) -> None:
        """The process that performs it was heard of it."""
        if not self.is_joined:
            self.is_joined = True
            self._wake()

    def catch_up(self, text: str, reasoning: str = "") -> bool:
        """Add what a text that is known from elsewhere has more than this one. False when it is another text."""
        if len(text) < self.length or len(reasoning) < self.reasoning_length:
            return True
        if not text.startswith(self.since(0)) or not reasoning.startswith(self.reasoning_since(0)):
            return False
        if len(text) > self.length or len(reasoning) > self.reasoning_length:
            self.append(text[self.length :], reasoning[self.reasoning_length :])
        return True

    def write_call(self, tool: str) -> None:
        """The model writes a call of this tool; empty when it does no more."""
        if tool != self.calling:
            self.calling = tool
            self._wake()

    def _wake(self) -> None:
        for sleeper in self._room.sleepers:
            sleeper.wake()

    def since(self, offset: int) -> str:
        """The text from an offset in characters to its end."""
        return self._text.since(offset)

    def reasoning_since(self, offset: int) -> str:
        """The thinking from an offset in characters to its end."""
        return self._reasoning.since(offset)


@dataclass(frozen=True, kw_only=True, slots=True)
class Segment:
    """Some output of a tool. `offset`: characters of its stream before it."""

    stream: str
    offset: int
    text: str


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Progress:
    """How far a tool is: from 0 to 1, or None when it can't say, and a line of words that may be empty."""

    fraction: float | None
    text: str


class LiveOutput:
    """What a tool prints while it runs, up to a bound, and how far it is.

    A reader remembers how many segments it has had, and which progress. is_copy: another process runs it. left_out: how
    many characters were over the bound. latest: the last word on how far it is; None before the first.
    """

    def __init__(
        self, *, room: Audience, call_id: CallId, execution_no: int, limit_characters: int, is_copy: bool = False
    ) -> None:
        self._room = room
        self.is_copy = is_copy
        self.call_id = call_id
        self.execution_no = execution_no
        self.segments: list[Segment] = []
        self.left_out = 0
        self.latest: Progress | None = None
        self._room_characters = limit_characters
        self._text: list[str] = []
        self._lengths = {"stdout": 0, "stderr": 0}

    def append(self, stream: str, text: str) -> None:
        """Add output, and tell everybody who looks on. What is over the bound is left out, and said so once."""
        kept = text[: self._room_characters]
        self._room_characters -= len(kept)
        self._text.append(kept)
        is_first_over = len(kept) < len(text) and not self.left_out
        self.left_out += len(text) - len(kept)
        text = kept + "\n[… more output is left out …]\n" if is_first_over else kept
        if not text:
            return
        self.segments.append(Segment(stream=stream, offset=self._lengths[stream], text=text))
        self._lengths[stream] += len(text)
        self._wake()

    def add(self, segments: Iterable[Segment], latest: Progress | None) -> None:
        """Add what the original of this copy has more, and tell everybody who looks on."""
        self.segments += segments
        self.latest = latest
        self._wake()

    def progress(self, fraction: float | None, text: str) -> None:
        """Say how far it is. Whoever looks on sees the last word, and not each of them."""
        self.latest = Progress(fraction=fraction, text=text)
        self._wake()

    def _wake(self) -> None:
        for sleeper in self._room.sleepers:
            sleeper.wake()

    def text(self) -> str:
        """All of it, as it came, with a note of how much is left out."""
        note = f"\n[… {self.left_out:,} more characters left out …]\n" if self.left_out else ""
        return "".join(self._text) + note
