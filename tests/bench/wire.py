"""A WebSocket client that costs next to nothing, so that the load is never what is measured.

Knows as much of the protocol as servers use towards a client that offers no extension. Must not know what frames say.
"""

from __future__ import annotations

import asyncio
import os
import struct
from base64 import b64encode
from collections.abc import Callable

CONNECT_TIMEOUT_S = 30
TEXT, CLOSE, PING, PONG = 1, 8, 9, 10


class Wire(asyncio.Protocol):
    """One socket. received_bytes: all that came after the handshake."""

    def __init__(self, request: bytes, on_frame: Callable[[bytes], None]) -> None:
        self.received_bytes = 0
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._on_frame = on_frame
        self._rest = b""
        self._is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        if not self._is_open:
            head, found, rest = data.partition(b"\r\n\r\n")
            if not found:
                self._rest = data
                return
            if b" 101 " not in head.split(b"\r\n", 1)[0]:
                self.opened.set_exception(ConnectionError(head.decode("latin-1")))
                self._transport.close()
                return
            self._is_open = True
            self._rest = b""
            self.opened.set_result(None)
            if not rest:
                return
            data = rest
        self._take(data)

    def _take(self, data: bytes) -> None:
        at, end = 0, len(data)
        while end - at >= 2:
            length, begin = data[at + 1] & 127, at + 2
            if length == 126:
                begin += 2
                length = int.from_bytes(data[at + 2 : begin], "big")
            elif length == 127:
                begin += 8
                length = int.from_bytes(data[at + 2 : begin], "big")
            if begin + length > end:
                break
            kind = data[at] & 15
            if kind == TEXT:
                self._on_frame(data[begin : begin + length])
            elif kind == PING:
                self._send(PONG, data[begin : begin + length])
            elif kind == CLOSE:
                self._transport.close()
                return
            self.received_bytes += begin + length - at
            at = begin + length
        self._rest = data[at:]

    def send(self, text: str) -> None:
        """One frame out."""
        self._send(TEXT, text.encode())

    def _send(self, kind: int, payload: bytes) -> None:
        size = len(payload)
        # Masked, as a client must, with a mask that changes nothing.
        head = struct.pack("!BB", 128 | kind, 128 | size) if size < 126 else struct.pack("!BBH", 128 | kind, 254, size)
        self._transport.write(head + b"\0\0\0\0" + payload)

    def close(self) -> None:
        """Go away."""
        self._transport.abort()

    def connection_lost(self, fault: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(ConnectionError("closed before it was open"))
        if not self.closed.done():
            self.closed.set_result(None)


async def connect(
    port: int, path: str, on_frame: Callable[[bytes], None], *, cookie: str = "", origin: str = ""
) -> Wire:
    """Open a socket at a server of this machine."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {b64encode(os.urandom(16)).decode()}",
        "Sec-WebSocket-Version: 13",
        f"Origin: {origin or f'http://127.0.0.1:{port}'}",
    ]
    if cookie:
        lines.append(f"Cookie: {cookie}")
    request = ("\r\n".join(lines) + "\r\n\r\n").encode()
    loop = asyncio.get_running_loop()
    _, wire = await loop.create_connection(lambda: Wire(request, on_frame), "127.0.0.1", port)
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        await wire.opened
    return wire
