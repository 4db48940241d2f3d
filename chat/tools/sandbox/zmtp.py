"""Speaks ZMTP 3.0, ZeroMQ's protocol, with a peer that may be an enemy.

Knows frames and their bounds; knows nothing of Jupyter. libzmq is not used on this side: it keeps an unfinished
multipart message in memory without any bound, whatever MAXMSGSIZE and RCVHWM say (measured: 1.4 GB in four seconds),
and it drops messages and connections silently. Source: https://rfc.zeromq.org/spec/23/
"""

from __future__ import annotations

import asyncio
import socket
from typing import Literal

GREETING = b"\xff" + b"\0" * 8 + b"\x7f" + b"\x03\x00" + b"NULL".ljust(20, b"\0") + b"\0" * 32
IS_MORE, IS_LONG, IS_COMMAND = 1, 2, 4
SUBSCRIBE_TO_ALL = b"\x01"
MESSAGE_MAX_BYTES = 8 << 20
MESSAGE_FRAMES_MAX = 16
COMMAND_MAX_BYTES = 1024
# What the reader takes from the socket ahead; beyond it the peer has to wait.
BUFFER_BYTES = 128 * 1024


class BrokenProtocolError(Exception):
    """The peer sent what no honest peer sends, or more than fits."""


class Channel:
    """One connection to one socket of the peer."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, connected: socket.socket, kind: Literal["DEALER", "SUB"]) -> Channel:
        """Shake hands over a connected socket, which this owns from now on; waits until the peer is there."""
        reader, writer = await asyncio.open_connection(sock=connected, limit=BUFFER_BYTES)
        channel = cls(reader, writer)
        try:
            writer.write(GREETING)
            greeting = await reader.readexactly(len(GREETING))
            if greeting[0] != 0xFF or greeting[9] != 0x7F or greeting[10] < 3 or greeting[12:32] != GREETING[12:32]:
                raise BrokenProtocolError("no ZMTP 3 with the NULL mechanism")
            name = kind.encode()
            ready = b"\x05READY" + b"\x0bSocket-Type" + len(name).to_bytes(4, "big") + name
            writer.write(bytes((IS_COMMAND, len(ready))) + ready)
            if not (await channel._frame(MESSAGE_MAX_BYTES))[0] & IS_COMMAND:
                raise BrokenProtocolError("no READY")
            if kind == "SUB":
                channel.send((SUBSCRIBE_TO_ALL,))
        except BaseException:
            writer.close()
            raise
        return channel

    def send(self, frames: tuple[bytes, ...]) -> None:
        """Send a message. Never waits: what is sent to a kernel is small and one at a time."""
        for position, frame in enumerate(frames):
            flags = IS_MORE if position < len(frames) - 1 else 0
            if len(frame) < 256:
                self._writer.write(bytes((flags, len(frame))))
            else:
                self._writer.write(bytes((flags | IS_LONG,)) + len(frame).to_bytes(8, "big"))
            self._writer.write(frame)

    async def receive(self) -> tuple[bytes, ...]:
        """The next message. Raises BrokenProtocolError, or EOFError and OSError when the peer is gone."""
        frames: list[bytes] = []
        room = MESSAGE_MAX_BYTES
        while True:
            flags, body = await self._frame(room)
            if flags & IS_COMMAND:
                # Nothing that is said here matters; but a peer that only says this must not keep the loop for itself.
                await asyncio.sleep(0)
                continue
            frames.append(body)
            room -= len(body)
            if not flags & IS_MORE:
                return tuple(frames)
            if len(frames) == MESSAGE_FRAMES_MAX:
                raise BrokenProtocolError(f"a message of more than {MESSAGE_FRAMES_MAX} frames")

    def close(self) -> None:
        """Hang up. What was not sent yet is dropped."""
        self._writer.transport.abort()

    async def _frame(self, room: int) -> tuple[int, bytes]:
        flags = (await self._reader.readexactly(1))[0]
        size = int.from_bytes(await self._reader.readexactly(8 if flags & IS_LONG else 1), "big")
        if size > (COMMAND_MAX_BYTES if flags & IS_COMMAND else room):
            raise BrokenProtocolError(f"a frame of {size:,} bytes")
        return flags, await self._reader.readexactly(size)
