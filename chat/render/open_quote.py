"""A quote at the end of a text that is still being written.

Knows: its marks. Must not know: where the quote ends, how the blocks inside it are drawn.
"""

import re
from collections.abc import Sequence
from typing import Final

from chat.render.open_block import View
from chat.render.open_list import Inside

QUOTE_MARK: Final = re.compile(r" {0,3}>[ ]?")


class Quote:
    """A quote: a text in itself, without its marks."""

    def __init__(self, key: str, inside: Inside) -> None:
        self._key = key
        self._inside = inside
        self._taken_pieces = 0

    @property
    def cost(self) -> int:
        return self._inside.cost

    def end_line(self, pieces: Sequence[str]) -> None:
        self._take(pieces)
        self._inside.feed("\n")
        self._taken_pieces = 0

    def view(self, pieces: Sequence[str]) -> View:
        self._take(pieces)
        return View(
            key=self._key,
            head='<blockquote dir="auto">\n',
            foot="</blockquote>\n",
            tag="div",
            grown=self._inside.settled,
            live=self._inside.view(),
        )

    def _take(self, pieces: Sequence[str]) -> None:
        if self._taken_pieces or not pieces:
            text = "".join(pieces[self._taken_pieces :])
        else:
            line = "".join(pieces)
            mark = QUOTE_MARK.match(line)
            text = line[mark.end() :] if mark is not None else line
        self._inside.feed(text)
        self._taken_pieces = len(pieces)
