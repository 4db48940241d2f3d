"""The inside of a call in the text, from its first tag to its last.

Knows the elements of a call, and how a value ends. Must not know Markdown, tools, or types.

What is ambiguous is decided so:
- A value ends at its own closing tag, when blanks and another tag of the call follow. Any other closing tag is
  a part of it, and so is any opening tag.
- A value whose first characters are `<![CDATA[` ends at `]]>` and its closing tag, and is taken as it is.
- Of a parameter that comes twice the last one counts.
- JSON ends at the first closing tag that is not inside of one of its strings.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from chat.llm import call_tags
from chat.llm.arguments import MAX_CALL_CHARACTERS
from chat.llm.call_tags import Opening
from chat.llm.call_values import Written, json_calls, value

# So many closing tags may stand inside of the strings of one JSON call.
_JSON_ATTEMPTS_MAX: Final = 20

# The name of a JSON call is looked for in so many characters, to say early that it is being written.
_JSON_HEAD_CHARACTERS: Final = 400
_JSON_NAME: Final = re.compile(r'\s*\[?\s*\{\s*(?:"type"\s*:\s*"function"\s*,\s*)?"name"\s*:\s*"([^"\\]{1,200})"')


@dataclass(frozen=True, kw_only=True, slots=True)
class Begun:
    """A call of this tool is being written."""

    name: str


class End(Enum):
    """How a block of calls ended."""

    DONE = auto()
    NO_CALL = auto()  # only words about a tag
    UNREADABLE = auto()
    UNCLOSED = auto()
    TOO_LARGE = auto()


@dataclass(frozen=True, kw_only=True, slots=True)
class Over:
    """The end of a block. text: what was read since the last whole call, and is text; rest: what comes after."""

    end: End
    text: str
    rest: str


class CallBlock:
    """Reads one block: an outer element with calls, or calls without one."""

    def __init__(self, first: Opening) -> None:
        self.events: list[Begun | Written] = []
        self._outer = first.outer
        self._raw = [first.tag]  # since the last whole call
        self._raw_from = 0  # where in the buffer the next part of it begins
        self._size = len(first.tag)  # characters since the last whole call, up to where the buffer begins
        self._buffer = ""
        self._pos = 0
        self._has_calls = False
        self._name = ""
        self._parameters: dict[str, str] = {}
        self._parameter = ""
        self._tag = ""  # of the element whose value is read
        self._after = call_tags.AFTER_PARAMETER
        self._value: list[str] = []
        self._is_cdata = False
        self._json_attempts = 0
        self._json_name: str | None = ""  # said so far; empty before, None when it can't be seen early
        self._over: Over | None = None
        self._step: Callable[[], bool] = self._between
        if not first.outer:
            self._begin_call(first.name, ends_itself=first.ends_itself)

    def feed(self, text: str, *, is_final: bool = False) -> Over | None:
        """Read on. What was found is in `events`; the end of the block is returned."""
        while True:
            room = max(0, MAX_CALL_CHARACTERS - self._size - len(self._buffer))
            self._buffer, text = self._buffer + text[:room], text[room:]
            before = self._size
            while self._over is None and self._step():
                pass
            if self._over is None and text and room == 0 and self._size == before:
                self._end(End.TOO_LARGE)
            if self._over is None and is_final and not text:
                self._end(End.DONE if self._has_calls and self._step == self._between else End.UNCLOSED, is_all=True)
            if self._over is not None:
                return Over(end=self._over.end, text=self._over.text, rest=self._over.rest + text)
            self._raw.append(self._buffer[self._raw_from : self._pos])
            self._size += self._pos
            self._buffer = self._buffer[self._pos :]
            self._raw_from = self._pos = 0
            if not text:
                return None

    # Each step reads one thing from `_pos` and returns True, or returns False when more has to come.

    def _between(self) -> bool:
        """Outside of `invoke`."""
        at = self._after_blanks()
        if at is None:
            return False
        character = self._buffer[at] if at >= 0 else ""
        if character == "<":
            tag = call_tags.opening(self._buffer, at, is_final=False)
            if isinstance(tag, Opening) and tag.name:
                self._pos = at + len(tag.tag)
                self._begin_call(tag.name, ends_itself=tag.ends_itself)
                return True
            closing = call_tags.OUTER_CLOSING.match(self._buffer, at)
            if closing is not None:
                self._pos = closing.end()
                self._end(End.DONE if self._has_calls else End.NO_CALL)
                return True
            if tag is True or call_tags.is_outer_closing_so_far(self._buffer, at):
                return False
        elif character in "{[" and self._outer and not self._has_calls:
            self._step = self._json
            return True
        self._end(End.DONE if self._has_calls else End.NO_CALL)
        return True

    def _inside(self) -> bool:
        """Inside of `invoke`, outside of its parameters."""
        at = self._after_blanks()
        if at is None:
            return False
        if at < 0:
            self._end(End.UNREADABLE)
        elif (found := call_tags.INVOKE_CLOSING.match(self._buffer, at)) is not None:
            self._pos = found.end()
            self._end_call()
        elif (found := call_tags.PARAMETER.match(self._buffer, at)) is not None and call_tags.name_in(found[1]):
            self._pos = found.end()
            self._begin_value(
                call_tags.name_in(found[1]), "parameter", call_tags.AFTER_PARAMETER, ends_itself=found[1].endswith("/")
            )
        elif (found := call_tags.ELEMENT.match(self._buffer, at)) is not None:
            self._pos = found.end()
            self._begin_value(found[1], found[1], call_tags.AFTER_ELEMENT, ends_itself=bool(found[2]))
        elif self._parameters and (found := call_tags.OUTER_CLOSING.match(self._buffer, at)) is not None:
            self._pos = at
            self._end_call()
        elif call_tags.TAG_SO_FAR.match(self._buffer, at):
            return False
        else:
            self._end(End.UNREADABLE)
        return True

    def _value_start(self) -> bool:
        cdata = call_tags.CDATA.match(self._buffer, self._pos)
        if cdata is not None:
            self._pos = cdata.end()
            self._is_cdata = True
        elif call_tags.CDATA_SO_FAR.match(self._buffer, self._pos):
            return False
        self._step = self._inside_value
        return True

    def _inside_value(self) -> bool:
        closing = call_tags.closing_after_cdata(self._tag) if self._is_cdata else call_tags.closing(self._tag)
        found = closing.search(self._buffer, self._pos)
        if found is None:
            self._keep(call_tags.end_of_sure_value(self._buffer, self._pos, is_cdata=self._is_cdata))
            return False
        if self._after.match(self._buffer, found.end()):
            self._keep(found.start())
            self._pos = found.end()
            self._parameters[self._parameter] = value("".join(self._value), is_cdata=self._is_cdata)
            self._step = self._inside
            return True
        if call_tags.TAG_SO_FAR.match(self._buffer, found.end()):
            self._keep(found.start())
            return False
        self._keep(found.end())
        return True

    def _json(self) -> bool:
        found = call_tags.closing(self._outer).search(self._buffer, self._pos)
        if found is None:
            self._keep(call_tags.end_of_sure_value(self._buffer, self._pos, is_cdata=False))
            self._look_for_name()
            return False
        self._keep(found.start())
        self._look_for_name()
        calls = json_calls("".join(self._value))
        self._json_attempts += 1
        if calls is None and self._json_attempts < _JSON_ATTEMPTS_MAX:
            self._keep(found.end())
            return True
        self._pos = found.end()
        if not calls:
            self._end(End.UNREADABLE)
            return True
        for call in calls:
            if self._json_name != call.name:
                self.events.append(Begun(name=call.name))
            self._json_name = None
            self.events.append(call)
        self._mark()
        self._end(End.DONE)
        return True

    def _look_for_name(self) -> None:
        if self._json_name != "" or self._json_attempts:
            return
        self._value = ["".join(self._value)]
        found = _JSON_NAME.match(self._value[0], 0, _JSON_HEAD_CHARACTERS)
        if found is not None:
            self._json_name = found[1]
            self.events.append(Begun(name=found[1]))
        elif len(self._value[0]) >= _JSON_HEAD_CHARACTERS:
            self._json_name = None

    def _after_blanks(self) -> int | None:
        """The place of the next character that is no blank; None when it has not come, -1 after too many blanks."""
        blanks = call_tags.BLANKS.match(self._buffer, self._pos)
        at = blanks.end() if blanks else self._pos
        if at - self._pos == call_tags.BLANKS_MAX_CHARACTERS:
            return -1
        return None if at == len(self._buffer) else at

    def _keep(self, end: int) -> None:
        self._value.append(self._buffer[self._pos : end])
        self._pos = end

    def _begin_call(self, name: str, *, ends_itself: bool) -> None:
        self.events.append(Begun(name=name))
        self._name = name
        self._parameters = {}
        self._step = self._inside
        if ends_itself:
            self._end_call()

    def _end_call(self) -> None:
        self.events.append(Written(name=self._name, arguments=self._parameters))
        self._mark()
        self._step = self._between

    def _mark(self) -> None:
        """There is a whole call; what was read of it never is text."""
        self._has_calls = True
        self._raw.clear()
        self._raw_from = self._pos
        self._size = -self._pos

    def _begin_value(self, name: str, tag: str, after: re.Pattern[str], *, ends_itself: bool) -> None:
        if ends_itself:
            self._parameters[name] = ""
            return
        self._parameter, self._tag, self._after = name, tag, after
        self._value = []
        self._is_cdata = False
        self._step = self._value_start

    def _end(self, end: End, *, is_all: bool = False) -> None:
        place = len(self._buffer) if is_all and end is not End.DONE else self._pos
        if end is End.TOO_LARGE:
            place = len(self._buffer)
        text = "" if end is End.DONE else "".join(self._raw) + self._buffer[self._raw_from : place]
        self._over = Over(end=end, text=text, rest=self._buffer[place:])
