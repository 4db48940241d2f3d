"""What each kind of server wants to hear, and how it says that an answer has begun and ended.

Knows frames. Must not know sockets, times or figures.
"""

from __future__ import annotations

import json
import re
from typing import Protocol

from tests.bench.upstream import TOKEN

ENDED = re.compile(rb'data-state="complete" data-position="\d+" dir="auto" hx-swap-oob="attributes"')


class Speech(Protocol):
    """One socket's way to speak."""

    def answers(self, frame: bytes) -> tuple[str, ...]:
        """What the socket must say to this frame for the conversation to go on."""
        ...

    def is_ready(self, frame: bytes) -> bool:
        """Whether a message can be sent after this frame."""
        ...

    def says(self, content: str) -> str:
        """The frame that sends a message."""
        ...

    def is_end(self, frame: bytes) -> bool:
        """Whether the answer has ended with this frame."""
        ...

    def newest(self, frame: bytes) -> int:
        """The number of the newest token in this frame; -1 when there is none."""
        ...


class Html:
    """The site's page."""

    def answers(self, frame: bytes) -> tuple[str, ...]:
        return ()

    def is_ready(self, frame: bytes) -> bool:
        return True

    def says(self, content: str) -> str:
        return json.dumps({"type": "user_message", "content": content})

    def is_end(self, frame: bytes) -> bool:
        return ENDED.search(frame) is not None

    def newest(self, frame: bytes) -> int:
        found = TOKEN.findall(frame)
        return int(found[-1], 16) if found else -1


class Json(Html):
    """The site's programs."""

    def is_end(self, frame: bytes) -> bool:
        return b'"llm_response_completed"' in frame

    def newest(self, frame: bytes) -> int:
        return super().newest(frame) if b'"llm_response_delta"' in frame else -1


class Plain(Html):
    """The limits: each token is a frame, and `[DONE]` ends them."""

    def says(self, content: str) -> str:
        return content

    def is_end(self, frame: bytes) -> bool:
        return frame == b"[DONE]"
