"""The last line of a growing text, of which more may come.

Knows: its parts, and what must be known of it before it is shown. Must not know: blocks, the lines before it.
"""

import re
from typing import Final

from chat.render.open_block import MARKS_ONLY

# What a line is, is clear from its first characters.
HEAD_CHARS: Final = 24
# A line of marks, and the opening of a fence, is not shown before it is complete or this long.
HELD_CHARS: Final = 200

_OPENS_FENCE: Final = re.compile(r" {0,3}(?:```[^`]*|~~~.*)", re.DOTALL)


class LastLine:
    """`pieces` are its parts, as they came; one list that only grows. `head` is where it begins."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.head = ""
        self.length = 0
        self._is_marks_only = True

    def add(self, text: str) -> bool:
        """The line goes on with `text`. Whether more is known of its head."""
        self.pieces.append(text)
        self.length += len(text)
        self._is_marks_only = self._is_marks_only and MARKS_ONLY.fullmatch(text) is not None
        if len(self.head) == HEAD_CHARS:
            return False
        self.head = (self.head + text)[:HEAD_CHARS]
        return True

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self.pieces)

    @property
    def is_held(self) -> bool:
        """Whether it is not shown yet."""
        return self.length < HELD_CHARS and (self._is_marks_only or _OPENS_FENCE.fullmatch(self.head) is not None)
