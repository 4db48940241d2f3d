"""Jupyter's messages: signs what is sent, and makes checked values of what comes back.

Knows the wire form. Whoever runs inside has the key and can say anything, so a signature proves nothing but that the
message is not garbage; what counts is that only known kinds with the right types and the right parent come out of
here. Source: https://jupyter-client.readthedocs.io/en/stable/messaging.html
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

DELIMITER = b"<IDS|MSG>"
# After the delimiter: signature, header, parent header, metadata, content.
PARTS = 5
TRACEBACK_LINES_MAX = 200


class Stream(msgspec.Struct, frozen=True):
    """Text on a standard stream."""

    name: Literal["stdout", "stderr"]
    text: str


class Shown(msgspec.Struct, frozen=True):
    """The forms of one value or picture. Other forms are not read."""

    text: str = msgspec.field(name="text/plain", default="")
    html: str = msgspec.field(name="text/html", default="")
    png: str = msgspec.field(name="image/png", default="")
    jpeg: str = msgspec.field(name="image/jpeg", default="")


class Display(msgspec.Struct, frozen=True):
    """Something to show, from `display` or a chart."""

    data: Shown


class Result(msgspec.Struct, frozen=True):
    """The value of a cell's last expression."""

    data: Shown


class Raised(msgspec.Struct, frozen=True):
    """An exception that nobody caught."""

    ename: str = ""
    evalue: str = ""
    traceback: list[str] = msgspec.field(default_factory=list)


class State(msgspec.Struct, frozen=True):
    """Whether the kernel works on something."""

    execution_state: str


class Reply(msgspec.Struct, frozen=True):
    """The answer to a request, once it is done."""

    status: str


Content = Stream | Display | Result | Raised | State | Reply

_CONTENTS: dict[str, type[Any]] = {
    "stream": Stream,
    "display_data": Display,
    "update_display_data": Display,
    "execute_result": Result,
    "error": Raised,
    "status": State,
    "execute_reply": Reply,
    "kernel_info_reply": Reply,
}


class _Header(msgspec.Struct):
    msg_type: str


class _Parent(msgspec.Struct):
    msg_id: str = ""


class Messenger:
    """Writes and reads the messages of one kernel."""

    def __init__(self) -> None:
        self.key = secrets.token_hex(32)
        self._session = secrets.token_hex(16)

    def request(self, kind: str, content: dict[str, Any]) -> tuple[str, tuple[bytes, ...]]:
        """The id and the frames of a request."""
        message_id = secrets.token_hex(16)
        header = {
            "msg_id": message_id,
            "session": self._session,
            "username": "agentsite",
            "date": datetime.now(UTC).isoformat(),
            "msg_type": kind,
            "version": "5.4",
        }
        parts = tuple(msgspec.json.encode(part) for part in (header, {}, {}, content))
        return message_id, (DELIMITER, self._signature(parts), *parts)

    def read(self, frames: tuple[bytes, ...]) -> tuple[str, Content] | None:
        """The id of the request that it answers, and what it says; None for whatever is not a message we know."""
        try:
            start = frames.index(DELIMITER) + 1
        except ValueError:
            return None
        signed = frames[start : start + PARTS]
        if len(signed) < PARTS or not hmac.compare_digest(signed[0], self._signature(signed[1:])):
            return None
        try:
            known = _CONTENTS.get(msgspec.json.decode(signed[1], type=_Header).msg_type)
            if known is None:
                return None
            parent = msgspec.json.decode(signed[2], type=_Parent).msg_id
            return parent, msgspec.json.decode(signed[4], type=known)
        # Deep nesting ends as RecursionError, lone surrogates as UnicodeError.
        except (msgspec.MsgspecError, RecursionError, UnicodeError):
            return None

    def _signature(self, parts: tuple[bytes, ...]) -> bytes:
        return hmac.new(self.key.encode(), b"".join(parts), hashlib.sha256).hexdigest().encode()
