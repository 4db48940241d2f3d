"""Requests byte for byte, as no library would send them.

Knows how an answer stands on the wire. Must not know what the site means by it.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

# No test waits for it; it only ends a test that would hang.
FAR_S = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came back. status: 0 when the connection was closed without a word. headers: names in lower case."""

    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    def all(self, name: str) -> list[str]:
        """Every value of a header."""
        return [value for known, value in self.headers if known == name]

    def header(self, name: str) -> str:
        """The one value of a header; empty when there is none."""
        return ", ".join(self.all(name))

    @property
    def text(self) -> str:
        """The body, as far as it is text."""
        return self.body.decode("utf-8", "replace")


def request(
    path: str | bytes,
    *headers: str | bytes,
    method: str = "GET",
    host: str = "127.0.0.1",
    body: bytes = b"",
    closes: bool = True,
) -> bytes:
    """A well-formed request but for what the test puts in."""
    target = path if isinstance(path, bytes) else path.encode("latin-1")
    lines = [b"%b %b HTTP/1.1" % (method.encode("latin-1"), target), b"Host: " + host.encode("latin-1")]
    lines += [header if isinstance(header, bytes) else header.encode("latin-1") for header in headers]
    if body:
        lines.append(b"Content-Length: %d" % len(body))
    if closes:
        lines.append(b"Connection: close")
    return b"\r\n".join((*lines, b"", body))


def ask(base: str, sent: bytes, *, hurry_s: float = FAR_S) -> list[Answer]:
    """Everything that comes back until the server closes.

    hurry_s: when nothing comes for so long, it is told that nothing more will be sent, and has to close.
    """
    place = urlsplit(base)
    received: list[bytes] = []
    with socket.create_connection((place.hostname or "", place.port or 80), timeout=hurry_s) as wire:
        try:
            wire.sendall(sent)
            try:
                _receive(wire, received)
            except TimeoutError:
                wire.shutdown(socket.SHUT_WR)
                wire.settimeout(FAR_S)
                _receive(wire, received)
        except ConnectionError:
            # It had enough, and said so before; what it said was read as far as it came.
            pass
    return list(_answers(b"".join(received)))


def _receive(wire: socket.socket, received: list[bytes]) -> None:
    while piece := wire.recv(1 << 16):
        received.append(piece)


def _answers(received: bytes) -> Iterator[Answer]:
    while received:
        head, _, rest = received.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        words = first.split(" ", 2)
        assert words[0].startswith("HTTP/1."), f"no answer of HTTP: {received[:200]!r}"
        headers = tuple((name.strip().lower(), value.strip()) for name, _, value in (x.partition(":") for x in lines))
        answer = Answer(status=int(words[1]), headers=headers)
        if answer.header("transfer-encoding") == "chunked":
            body, received = _joined(rest)
        else:
            length = int(answer.header("content-length") or len(rest))
            body, received = rest[:length], rest[length:]
        yield Answer(status=answer.status, headers=headers, body=body)


def _joined(rest: bytes) -> tuple[bytes, bytes]:
    """The body that came in chunks, and what follows it."""
    body = b""
    while True:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size or b"0", 16)
        if not length:
            return body, rest.removeprefix(b"\r\n")
        body, rest = body + rest[:length], rest[length + 2 :]
