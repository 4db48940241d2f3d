"""A relay without a framework: `python -m tests.bench.limits.relay PORT`.

For each frame of a socket it asks the model server, and sends each token as a frame of its own. It knows no more of
HTTP and WebSocket than the load generator says: what it costs is what nobody can be below, in Python, on asyncio.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import os
import re
import sys
from urllib.parse import urlsplit

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTENT = re.compile(rb'"content":"((?:[^"\\]|\\.)*)"')


class Asking(asyncio.Protocol):
    """One answer."""

    def __init__(self, host: str, content: bytes, reader: asyncio.Transport) -> None:
        body = json.dumps({"stream": True, "messages": [{"role": "user", "content": content.decode()}]}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\ncontent-length: {len(body)}\r\n\r\n"
        self._request = head.encode() + body
        self._reader = reader
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        events = (self._rest + data).split(b"\n\n")
        self._rest = events.pop()
        frames = []
        for event in events:
            found = CONTENT.search(event)
            if found is not None:
                frames.append(frame(found[1]))
            elif b"[DONE]" in event:
                frames.append(frame(b"[DONE]"))
                self._transport.close()
        if frames:
            self._reader.write(b"".join(frames))


class Reader(asyncio.Protocol):
    """One socket."""

    def __init__(self) -> None:
        self._rest = b""
        self._is_open = False
        self._asking: set[asyncio.Task[object]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        data = self._rest + data
        if not self._is_open:
            if b"\r\n\r\n" not in data:
                self._rest = data
                return
            key = re.search(rb"(?i)sec-websocket-key: *([^\r]+)", data)
            assert key is not None
            accept = base64.b64encode(hashlib.sha1(key[1] + MAGIC).digest())
            self._transport.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                b"Sec-WebSocket-Accept: %b\r\n\r\n" % accept + frame(b"ready")
            )
            self._is_open, self._rest = True, b""
            return
        # One short masked frame at a time, with the mask that changes nothing.
        asking = asyncio.ensure_future(self._ask(data[6:]))
        self._asking.add(asking)
        asking.add_done_callback(self._asking.discard)

    async def _ask(self, content: bytes) -> None:
        url = urlsplit(os.environ["OPENAI_BASE_URL"])
        loop = asyncio.get_running_loop()
        assert url.hostname
        assert url.port
        await loop.create_connection(lambda: Asking(url.netloc, content, self._transport), url.hostname, url.port)


def frame(payload: bytes) -> bytes:
    """A text frame, never long."""
    return (bytes((129, len(payload))) if len(payload) < 126 else b"\x81\x7e%b" % len(payload).to_bytes(2)) + payload


async def main() -> None:
    """Listen until the end."""
    server = await asyncio.get_running_loop().create_server(Reader, "127.0.0.1", int(sys.argv[1]), backlog=2048)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
