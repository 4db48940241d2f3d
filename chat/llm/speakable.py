"""Text that can be stored and sent. Knows which characters can't; must not know where text comes from."""

from __future__ import annotations

import re
from typing import Final

_UNSPEAKABLE: Final = re.compile("[\0\ud800-\udfff]")


def speakable(text: str) -> str:
    """The text without NUL and lone surrogates, which can be neither stored nor sent."""
    if text.isascii():
        return text.replace("\0", "\ufffd") if "\0" in text else text
    return _UNSPEAKABLE.sub("\ufffd", text)
