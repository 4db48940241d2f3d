"""From the bytes of an answer to its chunks.

Knows server-sent events, the chunks of chat completions in the dialects that real servers speak, and how an
answer ends. Must not know sockets, clocks, or who reads: bytes in, values out.
"""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Final

import msgspec

from chat.llm.faults import quotable, server_error
from chat.llm.native_calls import NativeCalls
from chat.llm.port import Chunk, Ended, ModelError, ModelFault, Reasoning, Text, Usage
from chat.llm.speakable import speakable

# A server may send a whole long answer as one event; what is larger than this is no answer.
MAX_EVENT_BYTES: Final = 8 * 1024 * 1024

# Of text and thinking; what is longer is no answer, but a server that never ends.
MAX_ANSWER_CHARACTERS: Final = 32_000_000

# What a model's name and a finish reason may have at most; longer ones are cut.
MAX_NAME_CHARACTERS: Final = 200

# A count beyond this fits no integer column, and no model.
MAX_COUNT: Final = 2**31

_BOM: Final = b"\xef\xbb\xbf"
_DONE: Final = b"[DONE]"
# With white space around it.
MAX_DONE_BYTES: Final = 32

# With these an answer ends where the model did not want to.
_CUT_REASONS: Final = frozenset({"length", "max_tokens", "content_filter"})


class EventDecoder:
    """Server-sent events as they arrive, cut anywhere. Keeps the data, ignores comments and other fields.

    Each byte is looked at once, however small the pieces are.
    """

    __slots__ = ("_after_cr", "_at_start", "_data", "_held_bytes", "_line", "_max_event_bytes")

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._line: list[bytes] = []  # pieces of the line that has not ended yet
        self._data: list[bytes] = []  # data lines of the event that has not ended yet
        self._held_bytes = 0  # the sum of both
        self._after_cr = False  # the last byte was CR: an LF that follows belongs to it
        self._at_start = True  # no line has ended yet: a byte order mark may stand here

    def feed(self, piece: bytes) -> list[bytes]:
        """The data of each event that ended within this piece."""
        is_between = not self._held_bytes and not self._data and not self._at_start and not self._after_cr
        if is_between and len(piece) <= self._max_event_bytes and (plain := _plain_events(piece)):
            return plain
        if self._after_cr and piece:
            self._after_cr = False
            piece = piece.removeprefix(b"\n")
        if b"\r" in piece:
            self._after_cr = piece.endswith(b"\r")
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        first, *lines = piece.split(b"\n")
        self._hold(self._line, first)
        if not lines:
            return []
        lines.insert(0, self._whole_line())
        self._hold(self._line, lines.pop())
        events: list[bytes] = []
        for line in lines:
            if line:
                self._take_line(line)
            elif self._data:
                events.append(self._whole_event())
        return events

    def end(self) -> list[bytes]:
        """The last event, where the stream ended without the blank line that should have closed it."""
        self._take_line(self._whole_line())
        return [self._whole_event()] if self._data else []

    def _take_line(self, line: bytes) -> None:
        if line.startswith(b"data:"):
            self._hold(self._data, line[6:] if line[5:6] == b" " else line[5:])
        elif line == b"data":
            self._hold(self._data, b"")

    def _whole_line(self) -> bytes:
        line = self._line[0] if len(self._line) == 1 else b"".join(self._line)
        self._held_bytes -= len(line)
        self._line.clear()
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BOM)
        return line

    def _whole_event(self) -> bytes:
        event = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        self._held_bytes -= sum(map(len, self._data))
        self._data.clear()
        return event

    def _hold(self, where: list[bytes], piece: bytes) -> None:
        where.append(piece)
        self._held_bytes += len(piece)
        if self._held_bytes > self._max_event_bytes:
            raise ModelError(
                fault=ModelFault.BROKEN_STREAM,
                words=f"The model server sent a single event of more than {self._max_event_bytes:,} bytes.",
            )


def _plain_events(piece: bytes) -> list[bytes] | None:
    """The data of a piece that is whole events of one line of data each, as nearly all are; None for any other."""
    if not piece.endswith(b"\n\n") or b"\r" in piece:
        return None
    events = piece[:-2].split(b"\n\n")
    if piece.count(b"\n") != 2 * len(events):
        return None
    data = [event[6:] for event in events if event.startswith(b"data: ")]
    return data if len(data) == len(events) else None


class _Part(msgspec.Struct):
    """One part of a content that is a list; `thinking` may itself be a list of parts."""

    type: str = "text"
    text: str | None = None
    refusal: str | None = None
    thinking: str | list[_Part | str] | None = None


_Content = str | list[_Part | str] | None


class _Message(msgspec.Struct):
    """A `delta`, or a whole `message`. Servers name the thinking in two ways, some in both at once; calls have
    more forms than types can say."""

    content: _Content = None
    reasoning_content: _Content = None
    reasoning: _Content = None
    refusal: str | None = None
    tool_calls: object = None
    function_call: object = None


class _Choice(msgspec.Struct):
    index: int | None = 0
    delta: _Message | None = None
    message: _Message | None = None
    finish_reason: str | None = None
    error: object = None


class _Completion(msgspec.Struct):
    """A chunk of a stream, or the whole `chat.completion`."""

    choices: list[_Choice] | None = None
    model: str | None = None
    usage: object = None
    error: object = None


_DECODER: Final = msgspec.json.Decoder(_Completion)


class AnswerDecoder:
    """The bytes of one answer to its chunks, which are appended to a list of the caller's: what came before
    an error is there when the error is raised.

    finish_reason: the server's word as soon as it came; empty before.
    said: how many times any text, reasoning or piece of a call came; pieces of calls are not chunks.
    is_over: `Ended` was emitted; whatever a server sends after `[DONE]` is ignored.
    """

    __slots__ = ("_calls", "_characters", "_events", "_model", "_secret", "_usage", "finish_reason", "is_over", "said")

    def __init__(self, *, secret: str = "", tool_names: Collection[str] = ()) -> None:
        """secret: what an error's words must not repeat even if the server did.
        tool_names: what the model was told of."""
        self._events = EventDecoder()
        self._calls = NativeCalls(tool_names)
        self._secret = secret
        self._model = ""
        self._usage: Usage | None = None
        self._characters = 0
        self.finish_reason = ""
        self.said = 0
        self.is_over = False

    def feed(self, piece: bytes, chunks: list[Chunk]) -> None:
        """Append the chunks of a piece of an event stream. Raises ModelError."""
        for event in self._events.feed(piece):
            self._take(event, chunks)

    def end(self, chunks: list[Chunk]) -> None:
        """The event stream ended cleanly. Raises ModelError when it brought no answer."""
        for event in self._events.end():
            self._take(event, chunks)
        self.complete(chunks)

    def whole(self, body: bytes, chunks: list[Chunk]) -> None:
        """Append the chunks of an answer that came as one `chat.completion` object. Raises ModelError."""
        self._take(body, chunks)
        self.complete(chunks, is_done=True)

    def complete(self, chunks: list[Chunk], *, is_done: bool = False) -> None:
        """Append the calls and `Ended`, unless they were. Raises ModelError when there was no answer.

        is_done: the server itself said that this is the end, if only by `[DONE]`.
        """
        if self.is_over:
            return
        if not self.said and not self.finish_reason:
            raise ModelError(
                fault=ModelFault.BROKEN_STREAM,
                words="The model server ended its answer before it said anything.",
            )
        self.is_over = True
        is_cut = self.finish_reason.lower() in _CUT_REASONS if self.finish_reason else not is_done
        self._calls.complete(chunks, is_cut=is_cut)
        chunks.append(Ended(finish_reason=self.finish_reason, usage=self._usage, model=self._model))

    def _take(self, event: bytes, chunks: list[Chunk]) -> None:
        if self.is_over:
            return
        if len(event) <= MAX_DONE_BYTES and event.strip() == _DONE:
            self.complete(chunks, is_done=True)
            return
        completion = _decoded(event)
        if completion.model and completion.model != self._model:
            self._model = speakable(completion.model[:MAX_NAME_CHARACTERS])
        if completion.usage is not None:
            self._usage = _usage(completion.usage) or self._usage
        for choice in completion.choices or ():
            # One answer is asked for; what a server numbers otherwise is another.
            if not choice.index:
                self._take_choice(choice, chunks)
        if completion.error is not None:
            raise server_error(completion.error, secret=self._secret)

    def _take_choice(self, choice: _Choice, chunks: list[Chunk]) -> None:
        if choice.delta is not None:
            self._say(choice.delta, chunks)
        if choice.message is not None:
            self._say_rest(choice.message, chunks)
        if choice.finish_reason:
            self.finish_reason = speakable(choice.finish_reason[:MAX_NAME_CHARACTERS])
        if choice.error is not None:
            raise server_error(choice.error, secret=self._secret)

    def _say(self, message: _Message, chunks: list[Chunk]) -> None:
        before = len(chunks)
        _say(message, chunks)
        if len(chunks) > before:
            self.said += 1
            for chunk in chunks[before:]:
                if isinstance(chunk, Text | Reasoning):
                    self._characters += len(chunk.text)
            if self._characters > MAX_ANSWER_CHARACTERS:
                raise ModelError(
                    fault=ModelFault.BROKEN_STREAM,
                    words=f"The model server sent more than {MAX_ANSWER_CHARACTERS:,} characters as one answer.",
                )
        if message.tool_calls:
            self.said += 1
            self._calls.take(message.tool_calls, chunks)
        elif message.function_call:
            self.said += 1
            self._calls.take_older(message.function_call, chunks)

    def _say_rest(self, message: _Message, chunks: list[Chunk]) -> None:
        """A message after deltas repeats them. Some servers stream the text and keep the calls for it."""
        if not self.said:
            self._say(message, chunks)
        elif not self._calls and (message.tool_calls or message.function_call):
            calls = _Message(tool_calls=message.tool_calls, function_call=message.function_call)
            self._say(calls, chunks)


def _decoded(event: bytes) -> _Completion:
    try:
        return _DECODER.decode(event)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        pass
    # Lone surrogates, control characters, bytes that are not UTF-8: msgspec is strict, a model is not.
    try:
        return msgspec.convert(json.loads(event.decode("utf-8", "replace"), strict=False), _Completion)
    except msgspec.ValidationError as error:
        words = f"The model server sent a chunk that is no chat completion: {quotable(str(error))}."
    except (ValueError, RecursionError):
        words = "The model server sent a chunk that is not valid JSON."
    raise ModelError(fault=ModelFault.BROKEN_STREAM, words=words)


def _say(message: _Message, chunks: list[Chunk]) -> None:
    # Some servers send the same thinking under both names.
    thinking = message.reasoning_content or message.reasoning
    if thinking:
        _say_content(thinking, chunks, Reasoning)
    if message.content:
        _say_content(message.content, chunks, Text)
    if message.refusal:
        chunks.append(Text(text=speakable(message.refusal)))


def _say_content(content: str | list[_Part | str], chunks: list[Chunk], kind: type[Text | Reasoning]) -> None:
    if isinstance(content, str):
        chunks.append(kind(text=speakable(content)))
        return
    for part in content:
        if isinstance(part, str):
            if part:
                chunks.append(kind(text=speakable(part)))
            continue
        if part.thinking:
            _say_content(part.thinking, chunks, Reasoning)
        chunks.extend(kind(text=speakable(text)) for text in (part.text, part.refusal) if text)


def _usage(usage: object) -> Usage | None:
    if not isinstance(usage, dict):
        return None
    return Usage(
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
    )


def _count(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and 0 <= value < MAX_COUNT else None
