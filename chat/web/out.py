"""What a socket says: the same announcements as HTML fragments or as JSON, behind one form."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from chat.core.announcement import Announcement
from chat.live import LiveOutput, LiveText
from chat.rooms import Published
from chat.store.reads import Entry, View


class Out(Protocol):
    """Writes frames for one socket. Each method returns one frame, or "" when there is nothing to say.

    wants_list: whether it shows the list of conversations.
    wants_whole: whether a gap is healed by the whole of the conversation instead of what has changed.
    pause_s: how long to leave this socket alone after the text that it was told since the reader set this to 0: so that
    a browser is not flooded, and a busy process does more at a time.
    """

    wants_list: bool
    wants_whole: bool
    pause_s: float

    def whole(self, view: View, live: LiveText | None) -> str:
        """The conversation as it stands. `live` is the text of the message that streams, when it is known."""
        ...

    def newer(self, view: View, live: LiveText | None) -> str:
        """What has changed since this socket last heard; `view` holds just that."""
        ...

    def update(self, published: Published) -> str:
        """What one announcement changes."""
        ...

    def again(self) -> str:
        """What something else than an event has changed: whether anybody is there to perform orders."""
        ...

    def text(self, live: LiveText) -> str:
        """The text that this socket has not had yet."""
        ...

    def output(self, output: LiveOutput) -> list[str]:
        """Frames with what a running tool has printed that this socket has not had yet, and how far it is."""
        ...

    def list_change(self, published: Published) -> str:
        """What one announcement changes in the list of conversations."""
        ...

    def entries(self, entries: Iterable[Entry]) -> str:
        """The list of conversations."""
        ...

    def accepted_before(self, announcement: Announcement) -> str:
        """The answer to a message that was accepted before."""
        ...

    def error(self, *, code: str, words: str, ref: str) -> str:
        """A frame that was refused."""
        ...
