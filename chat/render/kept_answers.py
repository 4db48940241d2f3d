"""Answers as they were drawn, for a while: each reload, tab and reconnect shows them again.

Must not know messages or templates.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache

from chat.render.markdown import render

ANSWERS_KEPT = 300
# A longer one is rare, and would take as much as many.
KEPT_MAX_CHARACTERS = 6_000
# Erased text is gone from memory with the first answer that is drawn after this.
KEPT_S = 600.0


class KeptAnswers:
    """Draws each text once as long as it is kept."""

    def __init__(self, *, draw: Callable[[str], str] = render, clock: Callable[[], float] = time.monotonic) -> None:
        self._draw = draw
        self._kept = lru_cache(maxsize=ANSWERS_KEPT)(draw)
        self._clock = clock
        self._began_s = clock()

    def drawn(self, text: str) -> str:
        """The HTML of a complete text."""
        now_s = self._clock()
        if now_s - self._began_s >= KEPT_S:
            self._kept.cache_clear()
            self._began_s = now_s
        return self._kept(text) if len(text) <= KEPT_MAX_CHARACTERS else self._draw(text)
