"""The rendering of a text in flight, made once for all who read along."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol
from uuid import UUID

from chat.render import fragments, ids
from chat.render.markdown import render
from chat.render.markdown_stream import MarkdownStream, Operation

# A reader that is further behind than so many flushes, or lacks more than this share of the text, gets all of it anew.
FLUSHES_KEPT = 64
# Where no reader was further behind yet, so few: of one that takes each flush, nobody asks for more.
FLUSHES_KEPT_FOR_ONE = 2
SHARE_KEPT = 1 / 4
# Less is always kept, in characters of frames.
ALWAYS_KEPT = 3_000


class Text(Protocol):
    """A text that grows."""

    @property
    def message_id(self) -> UUID:
        """Whose text it is."""
        ...

    @property
    def length(self) -> int:
        """Characters so far."""
        ...

    @property
    def attachments(self) -> dict[str, Any]:
        """What readers keep with it."""
        ...

    def since(self, offset: int) -> str:
        """The text from an offset."""
        ...


class LiveMarkdown:
    """Follows one text. `version` counts flushes; a page at one version needs the frames of those after it."""

    def __init__(self, text: Text) -> None:
        # The text holds this, and this not the text: what nobody reads any more is gone at once.
        self._message_id = text.message_id
        self._article = ids.message(text.message_id)
        self._stream = MarkdownStream(self._article)
        self._frames: list[str] = []
        self._frames_length = 0
        self._flushes_kept = FLUSHES_KEPT_FOR_ONE
        self._is_finished = False
        self._fed = 0
        self.version = 0

    @classmethod
    def of(cls, text: Text) -> LiveMarkdown:
        """The one of this text, with all that the text has by now."""
        known: LiveMarkdown | None = text.attachments.get("markdown")
        if known is None:
            known = text.attachments["markdown"] = cls(text)
        if known._fed < text.length:
            known._stream.feed(text.since(known._fed))
            known._fed = text.length
            known._flush(known._stream.flush())
        return known

    @property
    def cost_characters(self) -> int:
        """How much the next flush may have to render again: who reads along looks less often while it is large."""
        return self._stream.tail_cost

    def drawn(self) -> fragments.Drawn:
        """The whole text as it stands at this version."""
        return fragments.Drawn(settled="".join(self._stream.settled), tail=self._stream.tail())

    def frame(self, version_shown: int) -> str:
        """What a page of that version needs to be of this one."""
        missing = self.version - version_shown
        if missing > len(self._frames):
            self._flushes_kept = FLUSHES_KEPT
            return fragments.text_replaced(self._message_id, self.drawn())
        return "".join(self._frames[len(self._frames) - missing :])

    def ending(self, version_shown: int, text: Text) -> str:
        """What a page of that version needs once the text has ended."""
        if not self._is_finished:
            self._is_finished = True
            self._flush(self._stream.finish())
        if self._stream.is_stale:
            whole = fragments.Drawn(settled=render(text.since(0)), tail="")
            return fragments.text_replaced(self._message_id, whole)
        return self.frame(version_shown)

    def _flush(self, operations: Iterable[Operation]) -> None:
        frame = fragments.text_operations(self._article, operations)
        self._frames.append(frame)
        self._frames_length += len(frame)
        most = max(ALWAYS_KEPT, self._fed * SHARE_KEPT)
        while len(self._frames) > self._flushes_kept or (self._frames_length > most and len(self._frames) > 1):
            self._frames_length -= len(self._frames.pop(0))
        self.version += 1
