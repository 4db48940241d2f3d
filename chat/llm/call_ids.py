"""What a call is called, so that its result finds it.

Knows which ids are taken. Must not know where a call came from.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

# Longer ones fit no column and few servers.
MAX_CALL_ID_CHARACTERS: Final = 200


class CallIds:
    """Ids that are unique among the calls of one prompt and its answer, however a server names them."""

    __slots__ = ("_number", "_taken")

    def __init__(self, taken: Iterable[str] = ()) -> None:
        """taken: the ids of the calls in the prompt."""
        # An empty set would take three times the memory; most answers call nothing.
        self._taken = dict.fromkeys(taken)
        self._number = len(self._taken)

    def take(self, given: str = "") -> str:
        """The id that the server gave if it can be used, else one of our own, which depends on nothing but the
        calls before it."""
        call_id = given
        while not call_id or call_id in self._taken or len(call_id) > MAX_CALL_ID_CHARACTERS:
            self._number += 1
            # Nine letters and digits: the strictest servers take nothing else.
            call_id = f"call{self._number:05}"
        self._taken[call_id] = None
        return call_id
