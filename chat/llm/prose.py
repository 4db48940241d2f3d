"""Where a call may begin in a text that streams: outside of Markdown's code.

Knows code fences and inline code, as far as tags care. Must not know what stands inside of a call.

Text goes on as soon as it can't be the beginning of a tag any more. What only decides how later text is read
(the beginning of a line, a run of backticks) is scanned again when more has come, but is not held back.

What is ambiguous is decided so:
- A fence may stand in quotes and lists. One in a quote ends with it, one in a list does not.
- Inline code may go over line ends, but not over an empty line, nor over a line that begins with a fence or
  with the tag of a call. A backtick without a partner, within what follows of its paragraph and within
  CODE_MAX_CHARACTERS, is a character like any other, so a tag after it is held back until that is known.
- A backslash takes its meaning from a backtick and from a `<`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

from chat.llm.call_tags import Opening, opening, results

# How far the end of inline code is looked for when the tag of a call stands in it.
CODE_MAX_CHARACTERS: Final = 2_000

# More of the beginning of a line than this does not make a fence.
LINE_START_MAX_CHARACTERS: Final = 300

# A longer run of backticks counts as several.
_RUN_MAX: Final = 1_000

_SPECIAL: Final = re.compile(r"[\\`<\n]")
_CODE_SPECIAL: Final = re.compile(r"[`<\n]")
_INFO_END: Final = re.compile(r"[`\n]")
_RUN: Final = re.compile(rf"`{{1,{_RUN_MAX}}}")
_LINE_START: Final = re.compile(rf"[ \t>\-*+\d.)`~]{{0,{LINE_START_MAX_CHARACTERS}}}")
_CONTAINERS: Final = re.compile(r"[ \t]*(?:(?:>|[-*+](?=[ \t])|\d{1,9}[.)](?=[ \t]))[ \t]*)*")
_FENCE: Final = re.compile(r"`{3,}|~{3,}")
_FENCE_LINE: Final = re.compile(r"[ \t>]*(`+|~+)?[ \t]*")
_QUOTE: Final = re.compile(r"[ \t]*>")
_CODE_END: Final = re.compile(r"`+|\n[ \t]{0,300}")


class _Mode(Enum):
    LINE_START = auto()
    TEXT = auto()
    CODE = auto()  # inline
    INFO = auto()  # after backticks that look like a fence, up to the end of the line
    FENCE_START = auto()  # at the beginning of a line
    FENCE = auto()


@dataclass(frozen=True, kw_only=True, slots=True)
class Scanned:
    """text: to be shown. opening: the tag that ended the scan, with what came after it in `rest`; None when
    all was scanned. is_invented: the tag was that of results, which no model writes."""

    text: str
    opening: Opening | None = None
    rest: str = ""
    is_invented: bool = False


class Prose:
    """One text, scanned from one call to the next."""

    __slots__ = ("_buffer", "_fence", "_given", "_in_quote", "_mode", "_pos", "_run", "after_call")

    def __init__(self) -> None:
        self._mode = _Mode.LINE_START
        self._buffer = ""  # what has to be scanned again
        self._given = 0  # so many characters of it were given out
        self._pos = 0  # scanned so far, while scanning
        self._run = 0  # of inline code: the length of the run of backticks that began it; else 0
        self._fence = ""  # of a fence: its characters
        self._in_quote = False  # the fence stands in a quote
        self.after_call = False  # there was a call: what looks like results now is invented

    @property
    def held(self) -> str:
        """What was held back, because it may be the beginning of a tag."""
        return self._buffer[self._given :]

    def scan(self, text: str, *, is_final: bool = False) -> Scanned:
        """Scan up to the next tag of a call. After one was found: the text after the call comes next."""
        self._buffer += text
        self._pos = 0
        found: Opening | bool = False
        hold = None
        while self._pos < len(self._buffer):
            step = self._step(is_final)
            if step is None:
                # Known when more has come; but it is text in any case.
                break
            if step is True:
                hold = self._pos
                break
            if step is not False:
                found = step
                break
        return self._taken(found, hold)

    def is_plain(self, text: str) -> bool:
        """Whether a text is just text, here, and changes nothing; it need not be scanned."""
        if self._buffer:
            return False
        if self._mode is _Mode.TEXT:
            return _SPECIAL.search(text) is None
        return self._mode is _Mode.FENCE and "\n" not in text

    def resume(self, after: str) -> None:
        """Go on after a call, or after something that was none. after: the last text of it."""
        self._mode = _Mode.LINE_START if after.endswith("\n") else _Mode.TEXT

    def _taken(self, found: Opening | bool, hold: int | None) -> Scanned:
        end = len(self._buffer) if hold is None else hold
        if isinstance(found, Opening):
            shown, rest = self._buffer[self._given : self._pos], self._buffer[self._pos + len(found.tag) :]
            self._buffer, self._given, self._run = "", 0, 0
            return Scanned(text=shown, opening=found, rest=rest, is_invented=not (found.outer or found.name))
        shown = self._buffer[self._given : end]
        self._buffer = self._buffer[self._pos :]
        self._given = max(end, self._given) - self._pos
        return Scanned(text=shown)

    def _step(self, is_final: bool) -> Opening | bool | None:
        """One step from `_pos`. False: there is more to do. True: hold back from `_pos`. None: wait for more.
        An opening: it stands at `_pos`."""
        match self._mode:
            case _Mode.TEXT:
                return self._text(is_final)
            case _Mode.LINE_START:
                return self._line_start(is_final)
            case _Mode.CODE:
                return self._code(is_final)
            case _Mode.INFO:
                return self._info()
            case _Mode.FENCE_START:
                return self._fence_start(is_final)
            case _Mode.FENCE:
                return self._to_line_end(_Mode.FENCE_START)

    def _text(self, is_final: bool) -> Opening | bool | None:
        found = _SPECIAL.search(self._buffer, self._pos)
        if found is None:
            self._pos = len(self._buffer)
            return False
        self._pos = found.start()
        match found[0]:
            case "\n":
                self._pos += 1
                self._mode = _Mode.LINE_START
            case "\\":
                if self._pos + 1 == len(self._buffer):
                    return None
                self._pos += 1 if self._buffer[self._pos + 1] == "\n" else 2
            case "`":
                run = self._run_at(self._pos, is_final)
                if run is None:
                    return None
                self._pos += run
                self._run, self._mode = run, _Mode.CODE
            case _:
                return self._tag(is_final)
        return False

    def _tag(self, is_final: bool) -> Opening | bool:
        tag = opening(self._buffer, self._pos, is_final=is_final)
        if tag is not False:
            return tag
        if self.after_call:
            invented = results(self._buffer, self._pos, is_final=is_final)
            if invented is not False:
                return True if invented is None else Opening(tag="")
        self._pos += 1
        return False

    def _line_start(self, is_final: bool) -> Opening | bool | None:
        line = _LINE_START.match(self._buffer, self._pos)
        end = line.end() if line else self._pos
        if end == len(self._buffer) and end - self._pos < LINE_START_MAX_CHARACTERS and not is_final:
            return None
        containers = _CONTAINERS.match(self._buffer, self._pos, end)
        start, self._pos = self._pos, containers.end() if containers else self._pos
        fence = _FENCE.match(self._buffer, self._pos, end)
        if fence is not None:
            self._fence = fence[0]
            self._in_quote = ">" in self._buffer[start : self._pos]
            self._run = 0
            self._pos = fence.end()
            self._mode = _Mode.INFO if self._fence[0] == "`" else _Mode.FENCE
            return False
        if self._run and self._pos < len(self._buffer):
            if self._buffer[self._pos] == "\n":
                self._run = 0
            elif self._buffer[self._pos] == "<":
                tag = opening(self._buffer, self._pos, is_final=is_final)
                if tag is not False:
                    return tag
        self._mode = _Mode.CODE if self._run else _Mode.TEXT
        return False

    def _code(self, is_final: bool) -> Opening | bool | None:
        found = _CODE_SPECIAL.search(self._buffer, self._pos)
        if found is None:
            self._pos = len(self._buffer)
            return False
        self._pos = found.start()
        match found[0]:
            case "\n":
                self._pos += 1
                self._mode = _Mode.LINE_START
            case "`":
                run = self._run_at(self._pos, is_final)
                if run is None:
                    return None
                self._pos += run
                if run == self._run:
                    self._run, self._mode = 0, _Mode.TEXT
            case _:
                return self._tag_in_code(is_final)
        return False

    def _tag_in_code(self, is_final: bool) -> bool:
        tag = opening(self._buffer, self._pos, is_final=is_final)
        if tag is False:
            self._pos += 1
            return False
        if tag is True:
            return True
        end = self._end_of_code(is_final)
        if end is None:
            return True
        self._pos = max(self._pos, end)
        # Without a partner the backticks were characters like any other.
        self._run, self._mode = 0, _Mode.TEXT
        return False

    def _end_of_code(self, is_final: bool) -> int | None:
        """Where the inline code ends that `_pos` may be in; 0 when it is in none; None when more will tell."""
        view = self._buffer[self._pos : self._pos + CODE_MAX_CHARACTERS]
        is_all = is_final or len(view) == CODE_MAX_CHARACTERS
        for found in _CODE_END.finditer(view):
            end = found.end()
            if end == len(view) and not is_all:
                return None
            if found[0][0] == "`":
                if len(found[0]) == self._run:
                    return self._pos + end
                continue
            rest = view[end : end + 3]
            if rest[:1] in ("", "\n") or rest in ("```", "~~~"):
                return 0
            if rest[0] == "<":
                tag = opening(view, end, is_final=is_all)
                if tag is not False:
                    return None if tag is True else 0
            if rest in ("~", "~~", "`", "``") and not is_all:
                return None
        return 0 if is_all else None

    def _info(self) -> bool:
        found = _INFO_END.search(self._buffer, self._pos)
        if found is None:
            self._pos = len(self._buffer)
        elif found[0] == "\n":
            self._pos, self._mode = found.end(), _Mode.FENCE_START
        else:
            # No fence after all: inline code that begins with as many.
            self._pos = found.start()
            self._run, self._mode = len(self._fence), _Mode.CODE
        return False

    def _fence_start(self, is_final: bool) -> bool | None:
        line = _FENCE_LINE.match(self._buffer, self._pos, self._pos + LINE_START_MAX_CHARACTERS)
        end = line.end() if line else self._pos
        is_long = end - self._pos == LINE_START_MAX_CHARACTERS
        if end == len(self._buffer) and not is_long and not is_final:
            return None
        if self._in_quote and not _QUOTE.match(self._buffer, self._pos):
            self._mode = _Mode.LINE_START
            return False
        self._mode = _Mode.FENCE
        run = (line[1] or "") if line else ""
        if run.startswith(self._fence) and not is_long and self._buffer.startswith("\n", end):
            self._pos = end
            self._mode = _Mode.TEXT
        return False

    def _to_line_end(self, mode: _Mode) -> bool:
        end = self._buffer.find("\n", self._pos)
        if end < 0:
            self._pos = len(self._buffer)
        else:
            self._pos, self._mode = end + 1, mode
        return False

    def _run_at(self, at: int, is_final: bool) -> int | None:
        """The length of the run of backticks at a place; None when it may go on."""
        found = _RUN.match(self._buffer, at)
        run = len(found[0]) if found else 0
        return None if at + run == len(self._buffer) and run < _RUN_MAX and not is_final else run
