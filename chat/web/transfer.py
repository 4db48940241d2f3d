"""Bodies of requests and responses, which may be long: none lies in memory as a whole, and none is larger than allowed.

Daphne as it comes copies a request's body several times into memory before the application sees it, takes one of any
length, and piles up what a client does not read. Here a body that is too large is refused by its first lines, a body is
handed over in pieces, and a response waits for its reader. Other servers see to the last two themselves.
Knows Daphne, Twisted and ASGI. Must not know what the bodies are.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import IO, Any

from daphne.http_protocol import WebRequest
from django.conf import settings

PIECE_BYTES = 1 << 16

Scope = dict[str, Any]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


def body_max_bytes() -> int:
    """The largest body of any request: a form with one file."""
    return (settings.AGENTSITE.agent_upload_max_mib << 20) + int(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)


def _refusal() -> tuple[list[tuple[bytes, bytes]], bytes]:
    """Headers and text for who sends more."""
    words = (
        f"This is larger than {settings.AGENTSITE.agent_upload_max_mib} MB, the most that this site takes.\n".encode()
    )
    headers = [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", str(len(words)).encode()),
        (b"connection", b"close"),
    ]
    return headers, words


class Room:
    """Open while the transport has room: what Twisted calls a push producer."""

    # Only while there is none: most connections never need one.
    _opened: asyncio.Event | None = None

    def pauseProducing(self) -> None:  # noqa: N802 - Twisted's name
        """The transport is full."""
        if self._opened is None:
            self._opened = asyncio.Event()

    def resumeProducing(self) -> None:  # noqa: N802 - Twisted's name
        """The transport has room again."""
        if self._opened is not None:
            self._opened.set()
            self._opened = None

    def stopProducing(self) -> None:  # noqa: N802 - Twisted's name
        """The transport is gone: nobody needs to wait for it."""
        self.resumeProducing()

    async def wait(self) -> None:
        """Until there is room."""
        while self._opened is not None:
            await self._opened.wait()


class PatientRequest(WebRequest):  # type: ignore[misc]
    """Daphne's, which refuses what is too large, and tells when its reader has room."""

    content: Any

    def __init__(self, *args: Any, **named: Any) -> None:
        # Twisted would take forms apart as well, in memory.
        super().__init__(*args, parsePOSTFormSubmission=False, **named)
        self.room = Room()
        self._received_bytes = 0
        self._is_refused = False

    def gotLength(self, length: int | None) -> None:  # noqa: N802 - Twisted's name
        """The headers are there; `length` of the body is None when it comes in chunks."""
        super().gotLength(length)
        if length is not None and length > body_max_bytes():
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:  # noqa: N802 - Twisted's name
        """A piece of the body."""
        self._received_bytes += len(data)
        if not self._is_refused and self._received_bytes > body_max_bytes():
            self._refuse()
        if not self._is_refused:
            super().handleContentChunk(data)
        elif self._received_bytes > 2 * body_max_bytes():
            self.channel.abortConnection()

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:  # noqa: N802 - Twisted's name
        """The whole body was sent."""
        if self._is_refused:
            self.channel.loseConnection()
        else:
            super().requestReceived(command, path, version)

    def _refuse(self) -> None:
        """Answer at once, and drop what comes for a while: most clients look for an answer once they have sent all."""
        self._is_refused = True
        self.content.truncate(0)
        # Nobody is to be told to go on after this.
        self.requestHeaders.removeHeader(b"Expect")
        headers, words = _refusal()
        lines = b"".join(b"%b: %b\r\n" % header for header in headers)
        self.channel.transport.write(b"HTTP/1.1 413 Content Too Large\r\n%b\r\n%b" % (lines, words))

    def handle_reply(self, message: dict[str, Any]) -> None:
        """Pass a message of the application on to the client."""
        is_open = not self.finished and self.channel is not None
        if message["type"] == "http.response.start" and is_open and not self.producer:
            self.registerProducer(self.room, True)
        super().handle_reply(message)

    def finish(self) -> None:
        """The response has ended."""
        if self.producer:
            self.unregisterProducer()
            self.room.stopProducing()
        super().finish()


class Body(asyncio.Queue[dict[str, Any]]):
    """What the application receives of a request: its body in pieces, as it takes them, then what Daphne puts here."""

    def __init__(self, request: PatientRequest) -> None:
        super().__init__()
        self._file: IO[bytes] = request.content
        self._is_read = False
        request.content = _HandedOver(self._file)

    async def get(self) -> dict[str, Any]:
        """The next message."""
        if self._is_read:
            return await super().get()
        if self._file.closed:
            # The request has ended; half a body must not pass for a whole one.
            return {"type": "http.disconnect"}
        # Others have a turn between two pieces.
        await asyncio.sleep(0)
        piece = self._file.read(PIECE_BYTES)
        self._is_read = not piece
        return {"type": "http.request", "body": piece, "more_body": True} if piece else await super().get()


class _HandedOver:
    """In place of a request's content: there is nothing to copy, and closing it closes that content."""

    def __init__(self, content: IO[bytes]) -> None:
        self._content = content

    @property
    def closed(self) -> bool:
        return self._content.closed

    def read(self, _size: int = -1) -> bytes:
        return b""

    def close(self) -> None:
        self._content.close()


def with_limit(application: Application) -> Application:
    """The application behind any server, which is spared bodies that are too large."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await application(scope, receive, send)
            return
        lengths = [value for name, value in scope["headers"] if name == b"content-length" and value.isdigit()]
        if any(int(value) > body_max_bytes() for value in lengths):
            await _refuse(receive, send)
            return
        received_bytes = 0

        async def counted() -> dict[str, Any]:
            nonlocal received_bytes
            message = await receive()
            received_bytes += len(message.get("body", b""))
            if received_bytes > body_max_bytes():
                await _refuse(receive, send)
                return {"type": "http.disconnect"}
            return message

        await application(scope, counted, send)

    return wrapped


async def _refuse(receive: Receive, send: Send) -> None:
    """The same as a message: answer at once, and drop what comes for a while."""
    headers, words = _refusal()
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": words, "more_body": True})
    dropped_bytes = 0
    while dropped_bytes < 2 * body_max_bytes():
        message = await receive()
        dropped_bytes += len(message.get("body", b""))
        if not message.get("more_body"):
            break
    await send({"type": "http.response.body"})
