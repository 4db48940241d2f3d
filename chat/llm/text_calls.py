"""Calls inside of a text that streams.

Knows the order of text, calls and notices, and the types of arguments. Must not know who sends the text, or
what is done with a call. What is a call and what only looks like one: see `prose` and `call_block`.

Any split of a text into pieces gives the same chunks, but for how long each `Text` is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from chat.llm.arguments import MAX_CALL_CHARACTERS, as_json, typed_arguments
from chat.llm.call_block import Begun, CallBlock, End, Over
from chat.llm.call_ids import CallIds
from chat.llm.call_values import Written
from chat.llm.port import CallBegun, Chunk, Notice, Text, ToolCall, ToolSpec
from chat.llm.prose import Prose

UNREADABLE = "A tool call in the answer could not be read. It is shown as text and was not made."
UNCLOSED = "The answer ended in the middle of a tool call. It is shown as text and was not made."
TOO_LARGE = (
    f"A tool call in the answer was longer than {MAX_CALL_CHARACTERS:,} characters. It is shown as text and was"
    " not made, nor was anything after it."
)
INVENTED = "The model went on to invent the results of its own calls. That part was left out."


class CallParser:
    """One answer's text, piece by piece.

    What may be the beginning of a tag is held back until that is known; everything else goes on at once. A call
    follows as soon as it is whole.
    """

    __slots__ = ("_block", "_has_ended", "_ids", "_is_invented", "_is_plain", "_prose", "_schemas")

    def __init__(self, tools: Sequence[ToolSpec] = (), ids: CallIds | None = None) -> None:
        """tools: give their parameters types. ids: give the calls ids."""
        self._schemas = {tool.name: tool.parameters for tool in tools}
        self._ids = ids or CallIds()
        self._prose = Prose()
        self._block: CallBlock | None = None
        self._is_plain = False  # nothing is read as a call any more
        self._is_invented = False  # nothing is shown any more
        self._has_ended = False

    def feed(self, text: str) -> list[Chunk]:
        """The chunks that a piece of the text completes."""
        if self._block is None and not self._is_invented and self._prose.is_plain(text):
            return [Text(text=text)] if text else []
        return self._read(text, is_final=False)

    def end(self) -> list[Chunk]:
        """What was held back, when no text comes any more. Without effect the second time."""
        if self._has_ended:
            return []
        self._has_ended = True
        return self._read("", is_final=True)

    def abandon(self) -> list[Chunk]:
        """The same when the answer broke off: a call that has not ended is left out, as it would be where calls
        have a field of their own."""
        if self._block is not None:
            self._has_ended = True
        return self.end()

    def _read(self, text: str, *, is_final: bool) -> list[Chunk]:
        chunks: list[Chunk] = []
        while True:
            if self._is_invented:
                return chunks
            if self._is_plain:
                _say(text, chunks)
                return chunks
            if self._block is None:
                scanned = self._prose.scan(text, is_final=is_final)
                _say(scanned.text, chunks)
                if scanned.is_invented:
                    self._is_invented = True
                    chunks.append(Notice(words=INVENTED))
                elif scanned.opening is not None:
                    self._block = CallBlock(scanned.opening)
                    text = scanned.rest
                else:
                    return chunks
                continue
            over = self._block.feed(text, is_final=is_final)
            for event in self._block.events:
                self._tell(event, chunks)
            self._block.events.clear()
            if over is None:
                return chunks
            self._block = None
            self._leave(over, chunks)
            text = over.rest

    def _tell(self, event: Begun | Written, chunks: list[Chunk]) -> None:
        if isinstance(event, Begun):
            chunks.append(CallBegun(name=event.name))
            return
        self._prose.after_call = True
        chunks.append(
            ToolCall(
                call_id=self._ids.take(),
                name=event.name,
                arguments=self._arguments(event.name, event.arguments),
                source="text",
            )
        )

    def _arguments(self, name: str, arguments: Mapping[str, str] | str) -> str:
        if isinstance(arguments, str):
            return arguments
        return as_json(typed_arguments(arguments, self._schemas.get(name, {})))

    def _leave(self, over: Over, chunks: list[Chunk]) -> None:
        self._prose.resume(over.text)
        _say(over.text, chunks)
        match over.end:
            case End.UNREADABLE:
                chunks.append(Notice(words=UNREADABLE))
            case End.UNCLOSED:
                chunks.append(Notice(words=UNCLOSED))
            case End.TOO_LARGE:
                # What follows is the rest of the call: a tag in there is a part of its values.
                chunks.append(Notice(words=TOO_LARGE))
                self._is_plain = True
            case End.DONE | End.NO_CALL:
                pass


def _say(text: str, chunks: list[Chunk]) -> None:
    if not text:
        return
    last = chunks[-1] if chunks else None
    if isinstance(last, Text):
        chunks[-1] = Text(text=last.text + text)
    else:
        chunks.append(Text(text=text))
