"""How fast one person may send frames, on all their sockets together.

A pace holds for this process. Where there are others, it also spends shares of what all of them have together.

Knows time alone. Must not know sockets, frames or settings.
"""

from __future__ import annotations

import time
from collections.abc import Callable

# So many seconds' worth may come at once: a page that was offline sends what it had kept.
BURST_S = 20.0
# Of what all processes take together within BURST_S, as much as one asks for at once: so many seconds' worth.
SHARE_S = 2.0
# Fewer are not worth the search for those that have nothing to remember.
USERS_MIN = 1000


class Pace:
    """A bucket that fills up at an even rate, and from which each frame takes one."""

    def __init__(self, per_second: float, now_s: Callable[[], float] = time.monotonic) -> None:
        self._per_second = per_second
        # A rate below one frame in that time is still a rate.
        self._most = max(1.0, per_second * BURST_S)
        self._left = self._most
        self._now_s = now_s
        self._at_s = now_s()
        self._shared, self._shared_until_s = 0, 0.0

    @property
    def most(self) -> int:
        """So many may come at once."""
        return int(self._most)

    @property
    def share(self) -> int:
        """So many to ask for at once, where processes share."""
        return min(self.most, max(1, int(self._per_second * SHARE_S)))

    def grant(self, for_s: float) -> None:
        """A share more of what all processes have together, to be spent within that time."""
        self._shared = self.share + (self._shared if self._now_s() < self._shared_until_s else 0)
        self._shared_until_s = self._now_s() + for_s

    def spend(self) -> bool:
        """One of the shares; whether there was any left."""
        if self._shared < 1 or self._now_s() >= self._shared_until_s:
            return False
        self._shared -= 1
        return True

    def take(self) -> bool:
        """One more; whether there was room for it."""
        self._fill()
        if self._left < 1:
            return False
        self._left -= 1
        return True

    @property
    def is_full(self) -> bool:
        """Whether a new one would be the same."""
        self._fill()
        return self._left == self._most

    def _fill(self) -> None:
        now_s = self._now_s()
        self._left = min(self._most, self._left + (now_s - self._at_s) * self._per_second)
        self._at_s = now_s


class Paces:
    """One pace for each user. It outlives their sockets: who comes anew has no more than they had left."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._by_user: dict[int, Pace] = {}
        self._look_at = USERS_MIN

    def of_user(self, user_id: int, per_second: float) -> Pace:
        """The pace of all sockets of a user in this process."""
        pace = self._by_user.get(user_id)
        if pace is None:
            if len(self._by_user) >= self._look_at:
                self._by_user = {known: pace for known, pace in self._by_user.items() if not pace.is_full}
                self._look_at = max(USERS_MIN, 2 * len(self._by_user))
            pace = self._by_user[user_id] = Pace(per_second, self._now_s)
        return pace

    def __len__(self) -> int:
        """How many users are remembered."""
        return len(self._by_user)


paces = Paces()
