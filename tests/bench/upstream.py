"""A model server within this process that notes when it sent each token.

The newest message says what to send: `bench:<key> <tokens> <tokens per second>`, 0 for as fast as it is read. Must not
do anything that costs: what it costs is counted as if the server under test had added it.
"""

from __future__ import annotations

import asyncio
import re
import time
from array import array

ASKED = re.compile(rb"bench:([0-9a-z]+) (\d+) (\d+)")
TOKEN = re.compile(rb"z([0-9a-f]{3,6})")
# Tokens of one write where there is no limit.
BURST_TOKENS = 200
HEAD = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"bench",'
    b'"choices":[{"index":0,"delta":{"content":"'
)
TAIL = b'"},"finish_reason":null}]}\n\n'
LAST = (
    b'data: {"id":"chatcmpl-bench","object":"chat.completion.chunk","created":1700000000,"model":"bench",'
    b'"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
)
DONE = b"data: [DONE]\n\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
# The pattern of an answer's Markdown repeats after so many tokens.
ROUND_TOKENS = 120


class Stream:
    """One answer. Times are of the monotonic clock, in ns.

    asked_ns: the request was there. sent_ns: of each token. closed_ns: the server under test closed the connection, as
    `closed` then says.
    """

    def __init__(self, key: str, count: int, rate: int) -> None:
        self.key = key
        self.count = count
        self.rate = rate
        self.asked_ns = time.monotonic_ns()
        self.sent_ns = array("q")
        self.closed_ns = 0
        self.closed = asyncio.Event()


class Upstream:
    """The server. `streams`: the newest answer of each key."""

    def __init__(self, port: int = 0) -> None:
        """port: any when it is 0."""
        self.streams: dict[str, Stream] = {}
        self.port = port
        self._server: asyncio.Server | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def start(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Connection(self.streams), "127.0.0.1", self.port, backlog=2048)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Listen no more."""
        assert self._server is not None
        self._server.close()


class _Connection(asyncio.Protocol):
    def __init__(self, streams: dict[str, Stream]) -> None:
        self._streams = streams
        self._stream: Stream | None = None
        self._head = b""
        self._body: list[bytes] = []
        self._missing = 0
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = 0.0
        self._is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._loop = asyncio.get_running_loop()

    def data_received(self, data: bytes) -> None:
        if not self._missing:
            head, found, data = (self._head + data).partition(b"\r\n\r\n")
            if not found:
                self._head = head
                return
            self._head = b""
            length = re.search(rb"content-length: (\d+)", head.lower())
            self._missing = int(length[1]) if length else 0
        self._body.append(data)
        self._missing -= len(data)
        if self._missing <= 0:
            self._missing = 0
            body, self._body = b"".join(self._body), []
            self._answer(ASKED.findall(body))

    def _answer(self, asked: list[tuple[bytes, bytes, bytes]]) -> None:
        if not asked:
            self._transport.write(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
            return
        key, count, rate = asked[-1]
        stream = self._stream = self._streams[key.decode()] = Stream(key.decode(), int(count), int(rate))
        self._transport.write(ANSWER)
        self._due_s = self._loop.time()
        if stream.rate:
            self._send_paced()
        else:
            self._send_all()

    def _send_paced(self) -> None:
        stream = self._stream
        assert stream is not None
        number = len(stream.sent_ns)
        if number == stream.count:
            self._end()
            return
        chunk = _chunk(number)
        stream.sent_ns.append(time.monotonic_ns())
        self._transport.write(chunk)
        self._due_s += 1 / stream.rate
        self._timer = self._loop.call_at(self._due_s, self._send_paced)

    def _send_all(self) -> None:
        stream = self._stream
        assert stream is not None
        while not self._is_paused and len(stream.sent_ns) < stream.count:
            first = len(stream.sent_ns)
            last = min(first + BURST_TOKENS, stream.count)
            chunks = b"".join(_chunk(number) for number in range(first, last))
            stream.sent_ns.extend([time.monotonic_ns()] * (last - first))
            self._transport.write(chunks)
        if len(stream.sent_ns) == stream.count:
            self._stream = None
            self._end()

    def _end(self) -> None:
        self._transport.write(_sized(LAST) + _sized(DONE) + b"0\r\n\r\n")

    def pause_writing(self) -> None:
        self._is_paused = True

    def resume_writing(self) -> None:
        self._is_paused = False
        if self._stream is not None and not self._stream.rate:
            self._send_all()

    def connection_lost(self, fault: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._stream is not None:
            self._stream.closed_ns = time.monotonic_ns()
            self._stream.closed.set()


def token(number: int) -> str:
    """The text of a token: about as long as those of English, and Markdown of every kind."""
    word = f"z{number:03x}"
    place = number % ROUND_TOKENS
    before = {
        0: "\n\n## ",
        8: "\n\n",
        40: "\n\n- ",
        50: "\n- ",
        60: "\n- ",
        70: "\n\n",
        90: "\n\n```python\n",
        105: "\n```\n\n",
    }
    if place % 17 == 5 and not 90 <= place < 105:
        word = f"**{word}**"
    return f"{before.get(place, '')}{word} "


_CHUNKS: list[bytes] = []


def _chunk(number: int) -> bytes:
    while number >= len(_CHUNKS):
        text = token(len(_CHUNKS)).replace("\n", "\\n").encode()
        _CHUNKS.append(_sized(HEAD + text + TAIL))
    return _CHUNKS[number]


def _sized(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)
