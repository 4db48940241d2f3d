"""How a conversation gets its name from the first message."""

from __future__ import annotations

import unicodedata

# A line of the list of conversations; more is cut by the page anyway.
TITLE_LIMIT_CHARACTERS = 60

# They turn the text around them, so that a name could show what it does not say.
DIRECTION_CHARACTERS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def title_of(content: str) -> str:
    """The beginning of a message as one line, cut at a word, without control or direction characters."""
    visible = "".join(
        " " if char.isspace() else char
        for char in content[: TITLE_LIMIT_CHARACTERS * 20]
        if char.isspace() or not (unicodedata.category(char) == "Cc" or char in DIRECTION_CHARACTERS)
    )
    words = " ".join(visible.split())
    if len(words) <= TITLE_LIMIT_CHARACTERS:
        return words
    head = words[: TITLE_LIMIT_CHARACTERS - 1]
    cut = head.rfind(" ")
    return (head[:cut] if cut > TITLE_LIMIT_CHARACTERS // 2 else head).rstrip() + "…"
