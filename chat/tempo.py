"""How busy this process is, and how long it pauses between two looks at a stream, and two frames, because of that.

While it is idle, text goes out as it comes. While it is not, each frame takes more tokens with it: a wake-up costs, not
the token. Must not know sockets or frames.
"""

from __future__ import annotations

import time
from collections.abc import Callable

# How often it is looked at.
LOOK_S = 0.1
# The share of a core above which pauses become longer, and below which they become shorter: what is left is for those
# who come next.
BUSY = 0.21
FIRST_PAUSE_S = 0.004
# Text that comes nine times a second still flows.
LONG_PAUSE_S = 0.11
# What can't be done in time waits anyway, and waits less where more is done at once.
FULL = 0.85
LONGEST_PAUSE_S = 0.25
LONGER, SHORTER = 1.25, 0.85
# Pauses end on a grid of so much of their length: those that end at the same moment cost the loop one wake-up.
GRID = 0.1
# After a frame so much of it is enough: text that was not read for the whole of a pause goes out when it is.
OF_FRAME = 0.75


class Tempo:
    """clock: seconds that passed. spent: seconds of CPU that this process has used."""

    def __init__(
        self, *, clock: Callable[[], float] = time.monotonic, spent: Callable[[], float] = time.process_time
    ) -> None:
        self._clock, self._spent = clock, spent
        self._looked_at_s, self._spent_s = clock(), spent()
        self._pause_s = 0.0

    def pause_s(self) -> float:
        """How long to read nothing of a stream after some text of it."""
        now_s = self._clock()
        self._look(now_s)
        if not self._pause_s:
            return 0.0
        return self._pause_s + -(now_s + self._pause_s) % (self._pause_s * GRID)

    def frame_pause_s(self) -> float:
        """How long to write nothing to a socket after a frame of text."""
        self._look(self._clock())
        return self._pause_s * OF_FRAME

    def _look(self, now_s: float) -> None:
        passed_s = now_s - self._looked_at_s
        if passed_s >= LOOK_S:
            spent_s = self._spent()
            self._follow((spent_s - self._spent_s) / passed_s, looks=passed_s / LOOK_S)
            self._looked_at_s, self._spent_s = now_s, spent_s

    def _follow(self, share: float, *, looks: float) -> None:
        longest_s = LONGEST_PAUSE_S if share > FULL else LONG_PAUSE_S if share > BUSY else 0.0
        if self._pause_s < longest_s:
            longer_s = max(FIRST_PAUSE_S, self._pause_s * LONGER)
            if share > FULL:
                # Where nothing is left, those who come next would wait until the pauses have grown.
                longer_s = LONG_PAUSE_S if self._pause_s < LONG_PAUSE_S else LONGEST_PAUSE_S
            self._pause_s = min(longest_s, longer_s)
        elif self._pause_s > longest_s:
            # While nothing streams nobody looks: what comes after a quiet while does not wait for what was before it.
            shorter_s = max(longest_s, self._pause_s * SHORTER**looks)
            self._pause_s = shorter_s if shorter_s >= FIRST_PAUSE_S else 0.0


OF_THIS_PROCESS = Tempo()
