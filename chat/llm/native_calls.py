"""Calls that a server sends in a field of their own, in pieces.

Knows how `tool_calls` and the older `function_call` differ from server to server. Must not know the stream
that they come in, or what the tools are.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from chat.llm.arguments import MAX_CALL_CHARACTERS, as_json, is_object
from chat.llm.port import CallBegun, Chunk, Notice, ToolCall
from chat.llm.speakable import speakable

# More calls in one answer than anybody would decide on.
MAX_CALLS: Final = 100

# Providers allow 64; what is longer names no tool.
MAX_TOOL_NAME_CHARACTERS: Final = 200

# Where the one call of the older field is kept: an index that no server gives.
_OLDER_INDEX: Final = -1


@dataclass(frozen=True, kw_only=True, slots=True)
class _Piece:
    """One piece of a call. index: None when the server gave none. Texts are empty where it said nothing.

    is_whole: the arguments came as an object, not as text.
    """

    index: int | None
    given_id: str
    name: str
    arguments: str
    is_whole: bool


class _Growing:
    """A call whose pieces still come."""

    __slots__ = ("arguments", "begun_as", "given_id", "index", "name", "size")

    def __init__(self, index: int | None) -> None:
        self.index = index
        self.given_id = ""
        self.name = ""
        self.arguments: list[str] = []
        self.size = 0  # characters of the arguments, also of those that are not kept
        self.begun_as = ""  # the name in the last CallBegun; empty before

    @property
    def is_too_large(self) -> bool:
        return self.size > MAX_CALL_CHARACTERS

    @property
    def text(self) -> str:
        """The arguments so far; empty for none."""
        if len(self.arguments) > 1:
            self.arguments = ["".join(self.arguments)]
        text = self.arguments[0] if self.arguments else ""
        return "" if text.strip() in ("", "null") else text

    def ends_whole(self) -> bool:
        """Whether nothing is missing from the arguments."""
        return bool(self.arguments) and self.arguments[-1].rstrip().endswith("}") and is_object(self.text)


class NativeCalls:
    """Collects the pieces of the calls of one answer."""

    __slots__ = ("_calls", "_known", "_last", "_too_many")

    def __init__(self, names: Collection[str] = ()) -> None:
        """names: of the tools that the model was told of; they tell where a name ends that comes in pieces."""
        self._known = frozenset(names)
        self._calls: list[_Growing] = []
        self._last: _Growing | None = None  # the one that got the last piece
        self._too_many = False

    def __bool__(self) -> bool:
        return bool(self._calls)

    def take(self, entries: object, chunks: list[Chunk]) -> None:
        """Take what a `tool_calls` field holds."""
        listed = entries if isinstance(entries, list) else [entries]
        for position, entry in enumerate(listed):
            piece = _read(entry)
            if piece is not None:
                self._add(self._call_of(piece, position, len(listed)), piece, chunks)

    def take_older(self, entry: object, chunks: list[Chunk]) -> None:
        """Take what a `function_call` field holds."""
        piece = _read(entry, index=_OLDER_INDEX)
        if piece is not None:
            self._add(self._call_of(piece, 0, 1), piece, chunks)

    def complete(self, chunks: list[Chunk], *, is_cut: bool) -> None:
        """Append the calls in the order in which they began, with the ids that the server gave, which may be any.

        is_cut: the answer did not end where the model wanted to. The call that it was at is left out, with a
        notice, unless it happens to be whole.
        """
        for call in self._calls:
            if call.begun_as != call.name:
                chunks.append(CallBegun(name=call.name))
            if call.is_too_large:
                chunks.append(Notice(words=f"A call of {_named(call.name)} was too long and was left out."))
            elif is_cut and call is self._last and not call.ends_whole():
                words = f"The answer ended in the middle of a call of {_named(call.name)}, which was left out."
                chunks.append(Notice(words=words))
            else:
                chunks.append(
                    ToolCall(
                        call_id=call.given_id,
                        name=call.name,
                        arguments=call.text,
                        source="native",
                    )
                )
        if self._too_many:
            chunks.append(Notice(words=f"All calls after the first {MAX_CALLS} were left out."))
        self._calls.clear()

    def _add(self, call: _Growing, piece: _Piece, chunks: list[Chunk]) -> None:
        self._last = call
        call.given_id = call.given_id or piece.given_id
        if piece.name != call.name:
            # A name that is repeated whole is the same name, not its next piece.
            call.name = (call.name + piece.name)[:MAX_TOOL_NAME_CHARACTERS]
        if not piece.arguments:
            return
        if piece.is_whole:
            call.arguments, call.size = [], 0
        call.size += len(piece.arguments)
        if call.is_too_large:
            call.arguments = []
        else:
            call.arguments.append(piece.arguments)
        if call.name and not call.begun_as:
            call.begun_as = call.name
            chunks.append(CallBegun(name=call.name))

    def _call_of(self, piece: _Piece, position: int, count: int) -> _Growing:
        """The call that a piece belongs to, which may begin with it."""
        if piece.index is not None:
            call = self._with_index(piece)
        elif piece.given_id:
            call = self._with_id(piece, position)
        else:
            call = self._without_either(piece, position, count)
        if call is not None:
            return call
        call = _Growing(piece.index)
        if len(self._calls) < MAX_CALLS:
            self._calls.append(call)
        else:
            self._too_many = True
        return call

    def _with_index(self, piece: _Piece) -> _Growing | None:
        call = next((call for call in reversed(self._calls) if call.index == piece.index), None)
        if call is None:
            # Servers that count pieces instead of calls repeat the id.
            return None if piece.name else self._known_by(piece.given_id)
        if not piece.name:
            # Some servers give each piece an id of its own, so another id alone begins nothing.
            return call
        if piece.given_id and call.given_id:
            return call if piece.given_id == call.given_id else None
        begins = not piece.given_id and bool(piece.arguments) and call.ends_whole()
        return None if begins else call

    def _with_id(self, piece: _Piece, position: int) -> _Growing | None:
        known = self._known_by(piece.given_id)
        if known is not None:
            return None if position and piece.name and known.ends_whole() else known
        last = self._last
        if last is None or position:
            return None
        if not piece.name:
            return last
        is_late = not last.given_id and not last.name
        return last if is_late else None

    def _without_either(self, piece: _Piece, position: int, count: int) -> _Growing | None:
        last = self._last
        if not piece.name:
            # Several in one chunk: the first for the first, and so on.
            return self._calls[position] if count > 1 and position < len(self._calls) else last
        if last is None or position:
            return None
        if last.arguments:
            # Either the name came late, or it is repeated, or another call begins.
            return last if not last.name or (piece.name == last.name and not last.ends_whole()) else None
        goes_on = last.name not in self._known or last.name + piece.name in self._known
        return last if goes_on or piece.name == last.name else None

    def _known_by(self, given_id: str) -> _Growing | None:
        return next((call for call in reversed(self._calls) if given_id and call.given_id == given_id), None)


def _read(entry: object, index: int | None = None) -> _Piece | None:
    if not isinstance(entry, dict):
        return None
    # A few servers put both fields beside the id.
    function = entry.get("function")
    fields = function if isinstance(function, dict) else entry
    name, arguments, given_id = fields.get("name"), fields.get("arguments"), entry.get("id")
    given_index = entry.get("index")
    if index is None and isinstance(given_index, int) and given_index >= 0:
        index = given_index
    return _Piece(
        index=index,
        given_id=speakable(given_id) if isinstance(given_id, str) else "",
        name=speakable(name) if isinstance(name, str) else "",
        arguments=_arguments(arguments),
        is_whole=isinstance(arguments, dict),
    )


def _arguments(value: object) -> str:
    if value is None:
        return ""
    try:
        return speakable(value if isinstance(value, str) else as_json(value))
    except (ValueError, RecursionError):
        return speakable(str(value))


def _named(name: str) -> str:
    return f"“{name}”" if name else "a tool without a name"
