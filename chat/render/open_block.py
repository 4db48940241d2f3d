"""The block at the end of a text that is still being written, drawn without drawing all of it again.

Knows: what each kind of block looks like while it is open, and which part of it can't change any more. Must not
know: where blocks begin and end, settled text, the page's elements beyond the two places of each view.

A view is a preview: it must look right and depend on the text alone. When it settles, the block is rendered afresh from
its lines; paragraphs, and lists of them, stay as they were drawn where there is no doubt (`whole`).
"""

import html
import re
from collections import ChainMap
from collections.abc import Sequence
from typing import Final, NamedTuple, Protocol

from markdown_it.common.utils import MD_TRIM_CHARS
from markdown_it.token import Token

from chat.render import highlight
from chat.render.markdown import Environment, first_mark, parse_blocks, render_blocks, render_inline

# Below this, drawing the end of a paragraph again is cheaper than one more piece on the page.
MIN_GROWN_CHARS: Final = 192
# An opener that is still alone after this many characters is taken for text until the block settles.
MAX_OPEN_CHARS: Final = 2_000
# How much of a paragraph is looked at in one step: cutting a long text piece by piece would copy it as often.
_STEP_CHARS: Final = 4_096

LIST_ITEM: Final = re.compile(r"( {0,3})([-+*]|\d{1,9}[.)])([ \t]+|$)")
# The beginning of text, whatever follows; and an item that begins with it.
LETTER: Final = re.compile(r"(?:\*\*)?[^\W\d_]")
TEXT_ITEM: Final = re.compile(rf"( {{0,3}})([-+*]|\d{{1,9}}[.)]) {{1,4}}{LETTER.pattern}")
# A line of these alone may still become a rule, an underline, a marker, a fence, or emphasis.
MARKS_ONLY: Final = re.compile(r"[\s\-*_+=>#`~|:.$\\\[\]()\d]*")
# The lines that can begin a block right after a line of a paragraph, or change what that line was.
BLOCK_START: Final = re.compile(
    r"\s*(?:\$\$|\\\[)"
    r"| {0,3}(?:[-+*](?:\s|$)|([-_*])[ \t]*(?:\1[ \t]*){2,}$|=+[ \t]*$|-+[ \t]*$|#{1,6}(?:\s|$)|>|```|~~~"
    r"|[-|:][-|: \t]*$|\d{1,9}[.)](?:\s|$))"
)
_FENCE = re.compile(r"( {0,3})(`{3,}|~{3,})(.*)", re.DOTALL)
_SPACE_BEFORE_TEXT = re.compile(r"[ \n](?=[^ \t\n])")


class View(NamedTuple):
    """An open block as HTML with two places in it: one that only grows, and one that is drawn again."""

    # What it is a view of: two views with one key and one head are of the same block.
    key: str
    head: str
    foot: str
    # The element of both places, and its attributes.
    tag: str
    # Pieces of HTML for the first place; only ever appended to.
    grown: Sequence[str]
    # What is in the second place.
    live: "str | View"
    attributes: str = ""


class OpenBlock(Protocol):
    """`pieces` are the parts of the last line, as they came; one list that grows until `end_line`."""

    @property
    def cost(self) -> int:
        """Characters that the next view parses again, the last line apart."""

    def end_line(self, pieces: Sequence[str]) -> None:
        """The last line is complete."""

    def view(self, pieces: Sequence[str]) -> str | View:
        """The block with the last line as far as it is known."""


class Paragraph:
    """Text: what can't change any more grows, the rest is drawn again."""

    def __init__(self, key: str, env: Environment, *, head: str = '<p dir="auto">', foot: str = "</p>\n") -> None:
        self._key = key
        self._env = env
        self._head = head
        self._foot = foot
        self._grown: list[str] = []
        # What can't change any more, but is too short for a piece of its own.
        self._closed = ""
        self._closed_chars = 0
        self._text = ""
        # Where to look for the next cut. It doubles with each failure: an open bracket costs no more than the text.
        self._next_cut = 0
        self._is_all_closed = True
        self._taken_pieces = 0
        self._is_line_start = True

    @property
    def cost(self) -> int:
        return len(self._text)

    def end_line(self, pieces: Sequence[str]) -> None:
        self._take_pieces(pieces)
        self._taken_pieces = 0
        self.take("\n")
        self._is_line_start = True

    def view(self, pieces: Sequence[str]) -> View:
        self._take_pieces(pieces)
        live = self._closed + render_inline(self._text.rstrip(" \t\n"), self._env).html
        return View(key=self._key, head=self._head, foot=self._foot, tag="span", grown=self._grown, live=live)

    def whole(self) -> str | None:
        """The paragraph, when it is complete; None when it must be drawn anew from its text."""
        rest = self._text.rstrip(MD_TRIM_CHARS)
        if not rest or not self._is_all_closed:
            return None
        return "".join((self._head, *self._grown, self._closed, render_inline(rest, self._env).html, self._foot))

    def take(self, text: str) -> None:
        """More of the text."""
        if self._is_line_start:
            stripped = text.lstrip(" \t")
            if stripped != text and (self._text or self._closed or self._grown):
                # Code and formulas that go on from the line before keep it.
                self._is_all_closed = False
            text = stripped
            self._is_line_start = not text
        for start in range(0, len(text), _STEP_CHARS):
            self._text += text[start : start + _STEP_CHARS]
            self._grow()

    def _take_pieces(self, pieces: Sequence[str]) -> None:
        for piece in pieces[self._taken_pieces :]:
            self.take(piece)
        self._taken_pieces = len(pieces)

    def _grow(self) -> None:
        while end := self._cut():
            inline = render_inline(self._text[:end], self._env)
            if not inline.is_closed:
                if end <= MAX_OPEN_CHARS:
                    self._next_cut = min(2 * end, MAX_OPEN_CHARS + 1)
                    continue
                self._is_all_closed = False
            self._closed += inline.html
            self._closed_chars += end
            self._text = self._text[end:]
            self._next_cut = 0
            if self._closed_chars >= MIN_GROWN_CHARS:
                self._grown.append(self._closed)
                self._closed, self._closed_chars = "", 0

    def _cut(self) -> int:
        """The end of what to look at next; 0 when there is not enough yet.

        Plain text in pieces of some length, and what is marked by itself: it is not drawn again with what follows.
        """
        if self._next_cut:
            return _word_begins(self._text, self._next_cut)
        plain = _word_begins(self._text, MIN_GROWN_CHARS)
        mark = first_mark(self._text, plain or len(self._text))
        if mark < 0:
            return plain
        word = self._text.rfind(" ", 0, mark) + 1
        return word if word and self._text[word] not in "\t\n" else _word_begins(self._text, mark)


def _word_begins(text: str, start: int) -> int:
    """Where text begins after white space at or behind `start`; 0 when there is none."""
    space = _SPACE_BEFORE_TEXT.search(text, start)
    return 0 if space is None else space.end()


class Fence:
    """Fenced code: characters grow as they come, except those that may turn out to be the closing fence."""

    def __init__(self, key: str, opening: str) -> None:
        match = _FENCE.fullmatch(opening)
        if match is None:
            raise ValueError(f"no fence: {opening!r}")
        self._key = key
        self._indent = len(match[1])
        mark = re.escape(match[2][0])
        self._closing = re.compile(rf" {{0,3}}{mark}{{{len(match[2])},}}[ \t]*")
        self._maybe_closing = re.compile(rf"[ \t]*{mark}*[ \t]*")
        self._head = highlight.figure_open(highlight.language_of(match[3]))
        self._grown: list[str] = []
        self._taken_pieces = 0

    @property
    def cost(self) -> int:
        return 0

    def is_closed_by(self, line: str) -> bool:
        return self._closing.fullmatch(line) is not None

    def end_line(self, pieces: Sequence[str]) -> None:
        self._take(pieces, is_complete=True)
        self._grown.append("\n")
        self._taken_pieces = 0

    def view(self, pieces: Sequence[str]) -> View:
        self._take(pieces, is_complete=False)
        foot = highlight.figure_close()
        return View(key=self._key, head=self._head, foot=foot, tag="span", grown=self._grown, live="")

    def _take(self, pieces: Sequence[str], *, is_complete: bool) -> None:
        if self._taken_pieces:
            self._grown.extend(html.escape(piece, quote=False) for piece in pieces[self._taken_pieces :])
        else:
            line = "".join(pieces)
            if not is_complete and self._maybe_closing.fullmatch(line):
                return
            indent = min(self._indent, len(line) - len(line.lstrip(" ")))
            self._grown.append(html.escape(line[indent:], quote=False))
        self._taken_pieces = len(pieces)


class Table:
    """Complete rows grow, the last is drawn again."""

    def __init__(self, key: str, env: Environment, lines: Sequence[str]) -> None:
        self._key = key
        self._env = env
        self._frame = "\n".join(lines) + "\n"
        table = render_blocks(parse_blocks(self._frame, scratch(env)), env)
        self._head, _, self._foot = table.partition("</thead>\n")
        self._head += "</thead>\n"
        self._grown: list[str] = []

    @property
    def cost(self) -> int:
        return len(self._frame)

    def end_line(self, pieces: Sequence[str]) -> None:
        self._grown.append(self._row("".join(pieces)))

    def view(self, pieces: Sequence[str]) -> View:
        live = self._row("".join(pieces))
        return View(key=self._key, head=self._head, foot=self._foot, tag="tbody", grown=self._grown, live=live)

    def _row(self, line: str) -> str:
        tokens = parse_blocks(self._frame + line, scratch(self._env)) if line.strip() else []
        kinds = [token.type for token in tokens]
        if "tbody_open" not in kinds:
            return ""
        return render_blocks(tokens[kinds.index("tbody_open") + 1 : kinds.index("tbody_close")], self._env)


class Whole:
    """Any other block: short as a rule, and drawn whole each time."""

    def __init__(self, env: Environment) -> None:
        self._env = env
        self._lines: list[str] = []
        self._chars = 0

    @property
    def cost(self) -> int:
        return self._chars

    def end_line(self, pieces: Sequence[str]) -> None:
        self._lines.append("".join(pieces))
        self._chars += len(self._lines[-1])

    def view(self, pieces: Sequence[str]) -> str:
        return preview("\n".join([*self._lines, "".join(pieces)]), self._env)


def preview(text: str, env: Environment, *, is_tight: bool = False) -> str:
    """`text` rendered without leaving a trace in `env`."""
    known = scratch(env)
    tokens = parse_blocks(text, known)
    if is_tight:
        make_tight(tokens)
    return render_blocks(tokens, known)


def make_tight(tokens: Sequence[Token]) -> None:
    """Top-level paragraphs as bare text, as in a list without blank lines."""
    for token in tokens:
        if token.level == 0 and token.tag == "p":
            token.hidden = True


def scratch(env: Environment) -> Environment:
    """An environment that knows the definitions of `env` and keeps new ones to itself."""
    return {"references": ChainMap({}, env["references"])}
