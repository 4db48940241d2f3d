"""Takes the stream of a Redis apart, as far as it takes to tell what is published from what is answered."""

from __future__ import annotations

from asyncio import StreamReader
from dataclasses import dataclass
from typing import Final

_END: Final = b"\r\n"
_TEXTS: Final = b"$!="
_LISTS: Final = b"*~>"
_PUBLISHED: Final = (b"message", b"pmessage", b"smessage")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """One reply, or one message to a subscriber. `data` is the whole of it, as it was sent."""

    data: bytes
    is_published: bool


async def next_reply(stream: StreamReader) -> Reply:
    """Raises IncompleteReadError at the end of the stream."""
    data, first_text = await _read(stream)
    return Reply(data=data, is_published=data[:1] in (b"*", b">") and first_text in _PUBLISHED)


async def _read(stream: StreamReader) -> tuple[bytes, bytes]:
    """The whole value, and its text, or that of the first value in it."""
    head = await stream.readuntil(_END)
    kind, size = head[:1], head[1 : -len(_END)]
    if kind in _TEXTS and size != b"-1":
        body = await stream.readexactly(int(size) + len(_END))
        return head + body, body[: -len(_END)]
    count = 0
    if kind in _LISTS and size != b"-1":
        count = int(size)
    elif kind in (b"%", b"|"):
        count = 2 * int(size)
    parts, first_text = [head], b"" if count else size
    for number in range(count):
        part, text = await _read(stream)
        parts.append(part)
        if number == 0:
            first_text = text
    return b"".join(parts), first_text
