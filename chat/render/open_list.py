"""A list at the end of a text that is still being written.

Knows: items, and which of them can't change any more. Must not know: where the list ends, what is around it, how the
blocks inside an item are drawn.
"""

import re
from collections.abc import Sequence
from typing import Protocol

from chat.render.markdown import Environment, parse_blocks, render_blocks
from chat.render.open_block import LIST_ITEM, MARKS_ONLY, TEXT_ITEM, View, scratch

_MAYBE_TASK = re.compile(r"\[(?:[ xX]\]?)?")
_TASK = re.compile(r"\[([ xX])\][ \t]+")


class Inside(Protocol):
    """What is in an item or a quote: a text in itself."""

    @property
    def cost(self) -> int: ...

    @property
    def settled(self) -> Sequence[str]: ...

    def feed(self, text: str) -> None: ...

    def text_alone(self) -> str | None: ...

    def view(self) -> str | View: ...


class NewInside(Protocol):
    def __call__(self, *, is_tight: bool) -> Inside:
        """An empty text; the paragraphs of a tight one are bare."""


class List:
    """Finished items grow; the open one is a text in itself."""

    def __init__(self, key: str, env: Environment, opening: str, new_inside: NewInside) -> None:
        match = LIST_ITEM.match(opening)
        if match is None:
            raise ValueError(f"no list: {opening!r}")
        self._key = key
        self._env = env
        self._new_inside = new_inside
        # A list of one item that goes on where this list does.
        self.sample = f"{match[2]} x\n"
        self._marker = match[2][-1]
        self._tag = "ul" if self._marker in "-+*" else "ol"
        self._first_number = 1 if self._tag == "ul" else int(match[2][:-1])
        # Complete lines by item.
        self._items: list[list[str]] = []
        self._grown: list[str] = []
        # Of each finished item its text, where it is nothing else.
        self._texts: list[str | None] = []
        self._is_loose = False
        # Of the open item: the column of its text, whether a fence is open in it, its task's checkbox.
        self._offset = 0
        self._is_in_fence = False
        self._checkbox = ""
        self._inside = new_inside(is_tight=True)
        # Of the last line: whether it is known to be a line of the open item, and how much of it is inside.
        self._is_line_begun = False
        self._taken_pieces = 0

    @property
    def cost(self) -> int:
        return self._inside.cost

    def is_item(self, line: str) -> bool:
        """Whether `line`, as far as it is known, goes on in this list: in an item or as a new one."""
        return _indent(line) >= 2 or self._begins_item(line)

    def end_line(self, pieces: Sequence[str]) -> None:
        line = "".join(pieces)
        self._begin_line(line)
        self._take(pieces, is_complete=True)
        self._inside.feed("\n")
        self._items[-1].append(line)
        if line.lstrip().startswith(("```", "~~~")):
            self._is_in_fence = not self._is_in_fence
        self._is_line_begun = False
        self._taken_pieces = 0

    def view(self, pieces: Sequence[str]) -> View:
        line = "" if self._is_line_begun else "".join(pieces)
        if self._is_line_begun or not MARKS_ONLY.fullmatch(line):
            self._begin_line(line)
            self._take(pieces, is_complete=False)
        return View(
            key=f"{self._key}:{self._is_loose}",
            head="",
            foot="",
            tag=self._tag,
            attributes=' dir="auto"',
            grown=self._grown,
            live=self._open_item() if self._items else "",
        )

    def _open_item(self) -> View:
        return View(
            key=f"{self._key}:{self._is_loose}:{len(self._items)}",
            head=f'<li{self._value(len(self._items) - 1)} dir="auto">{self._checkbox}',
            foot="</li>\n",
            tag="div",
            grown=self._inside.settled,
            live=self._inside.view(),
        )

    def _value(self, index: int) -> str:
        """An item's number, as an attribute: it is drawn apart from those before it."""
        return f' value="{self._first_number + index}"' if self._tag == "ol" else ""

    def _begins_item(self, line: str) -> bool:
        match = LIST_ITEM.match(line)
        return match is not None and match[2][-1] == self._marker and len(match[1]) < max(self._offset, 1)

    def _begin_line(self, line: str) -> None:
        """What follows once it is known that `line`, which is not blank, is in the list."""
        if self._is_line_begun or not line.strip():
            return
        self._is_line_begun = True
        is_item = not self._items or self._begins_item(line)
        is_after_blank = bool(self._items) and not self._is_in_fence and not self._items[-1][-1].strip()
        if is_after_blank and not self._is_loose and (is_item or _indent(line) == self._offset):
            # A blank line between items or between blocks of one: all are drawn with paragraphs from now on.
            self._is_loose = True
            self._grown = [self._item(index) for index in range(len(self._items) - 1)]
            self._reopen()
        if is_item:
            if self._items:
                self._texts.append(self._text_alone())
                self._grown.append(self._item(len(self._items) - 1))
            match = LIST_ITEM.match(line)
            self._offset = len(match[1]) + len(match[2]) + 1 if match is not None else 0
            self._items.append([])
            self._is_in_fence = False
            self._checkbox = ""
            self._inside = self._new_inside(is_tight=not self._is_loose)

    def _reopen(self) -> None:
        """Draw the open item anew."""
        self._inside = self._new_inside(is_tight=not self._is_loose)
        lines = self._items[-1]
        self._items[-1] = []
        for line in lines:
            self._take((line,), is_complete=True)
            self._inside.feed("\n")
            self._items[-1].append(line)
            self._taken_pieces = 0

    def _take(self, pieces: Sequence[str], *, is_complete: bool) -> None:
        if self._taken_pieces:
            text = "".join(pieces[self._taken_pieces :])
        elif self._items[-1]:
            line = "".join(pieces)
            text = line[min(self._offset, len(line) - len(line.lstrip(" "))) :]
        else:
            line = "".join(pieces)
            match = LIST_ITEM.match(line)
            text = line[match.end() :] if match is not None else line
            if not is_complete and _MAYBE_TASK.fullmatch(text):
                return
            task = _TASK.match(text)
            if task is not None:
                checked = "" if task[1] == " " else ' checked=""'
                self._checkbox = f'<input class="task-list-item-checkbox" disabled="" type="checkbox"{checked}> '
                text = text[task.end() :]
        self._inside.feed(text)
        self._taken_pieces = len(pieces)

    def whole(self) -> str | None:
        """The list, when it is complete; None when it must be drawn anew from its text."""
        texts = [*self._texts, self._text_alone()]
        if self._is_loose or None in texts:
            return None
        start = f' start="{self._first_number}"' if self._first_number != 1 else ""
        items = "".join([f'<li dir="auto">{text}</li>\n' for text in texts])
        return f'<{self._tag}{start} dir="auto">\n{items}</{self._tag}>\n'

    def _text_alone(self) -> str | None:
        """The text of the open item, where it is one line and nothing else."""
        first, *others = self._items[-1]
        if TEXT_ITEM.match(first) is None or any(line.strip(" \t") for line in others):
            return None
        return self._inside.text_alone()

    def _item(self, index: int) -> str:
        """A finished item."""
        text = self._texts[index]
        if text is not None and not self._is_loose:
            return f'<li{self._value(index)} dir="auto">{text}</li>\n'
        tokens = parse_blocks("\n".join(self._items[index]), scratch(self._env))
        if [token.tag for token in tokens if token.level == 0] != [self._tag, self._tag]:
            return f'<li dir="auto">{render_blocks(tokens, self._env)}</li>\n'
        for token in tokens:
            if token.level == 2 and token.tag == "p":
                token.hidden = not self._is_loose
        if self._tag == "ol":
            tokens[1].attrs["value"] = self._first_number + index
        return render_blocks(tokens[1:-1], self._env)


def _indent(line: str) -> int:
    expanded = line.expandtabs(4)
    return len(expanded) - len(expanded.lstrip(" "))
