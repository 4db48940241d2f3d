"""What comes over the wire is bounded and checked before anybody sees it: frames, messages, pictures, text."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import socket
import struct
import tracemalloc
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.tools.sandbox import images, zmtp
from chat.tools.sandbox.execution import Collector, plain
from chat.tools.sandbox.messages import Messenger, Raised, Reply, Stream
from chat.tools.sandbox.values import MIB, Limits
from chat.tools.sandbox.zmtp import BrokenProtocolError, Channel

READY = b"\x04\x19\x05READY\x0bSocket-Type\x00\x00\x00\x03PUB"


@asynccontextmanager
async def peer(kind: str = "SUB") -> AsyncIterator[tuple[Channel, asyncio.StreamReader, asyncio.StreamWriter]]:
    """A channel, and the other end of its connection after the handshake."""
    ours, theirs = socket.socketpair()
    reader, writer = await asyncio.open_connection(sock=theirs)
    writer.write(zmtp.GREETING + READY)
    channel = await Channel.open(ours, "SUB" if kind == "SUB" else "DEALER")
    await reader.readexactly(64)
    await reader.readexactly((await reader.readexactly(2))[1])
    try:
        yield channel, reader, writer
    finally:
        channel.close()
        writer.transport.abort()
        await asyncio.sleep(0)


async def test_messages_go_there_and_back() -> None:
    async with peer() as (channel, reader, writer):
        assert await reader.readexactly(3) == b"\x00\x01\x01"
        channel.send((b"a", b"b" * 300))
        assert await reader.readexactly(3) == b"\x01\x01a"
        assert await reader.readexactly(9) == b"\x02" + (300).to_bytes(8, "big")
        assert await reader.readexactly(300) == b"b" * 300
        writer.write(b"\x04\x05\x04PING\x01\x01a\x02" + (300).to_bytes(8, "big") + b"c" * 300)
        assert await channel.receive() == (b"a", b"c" * 300)


@pytest.mark.parametrize(
    "sent",
    [
        b"\x02" + (zmtp.MESSAGE_MAX_BYTES + 1).to_bytes(8, "big"),
        b"\x02" + b"\xff" * 8,
        b"\x06" + (1 << 40).to_bytes(8, "big"),
        b"\x01\x00" * 100,
        b"\x01\x01a\x02" + zmtp.MESSAGE_MAX_BYTES.to_bytes(8, "big"),
    ],
    ids=["a_byte_too_much", "largest_number", "endless_command", "endless_message", "too_much_together"],
)
async def test_what_is_too_much_breaks_the_protocol_before_it_arrives(sent: bytes) -> None:
    async with peer() as (channel, _, writer):
        writer.write(sent)
        with pytest.raises(BrokenProtocolError):
            await channel.receive()


async def test_a_peer_that_nobody_listens_to_has_to_wait() -> None:
    async with peer() as (channel, _, writer):
        tracemalloc.start()
        try:
            for _ in range(200):
                writer.write(b"\x02" + MIB.to_bytes(8, "big") + b"x" * MIB)
                try:
                    await asyncio.wait_for(writer.drain(), 0.1)
                except TimeoutError:
                    break
            else:
                pytest.fail("everything was taken in")
            mine = [stat.size for stat in tracemalloc.take_snapshot().statistics("filename") if "streams" in str(stat)]
        finally:
            tracemalloc.stop()
        assert sum(mine) < 2 * MIB
        assert len((await channel.receive())[0]) == MIB


@pytest.mark.parametrize(
    "greeting", [b"HTTP/1.1 200 OK\r\n" + b"x" * 60, b"\0" * 64, zmtp.GREETING.replace(b"NULL", b"CURVE"[:4])]
)
async def test_a_peer_that_speaks_something_else_is_refused(greeting: bytes) -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(greeting)
    with pytest.raises(BrokenProtocolError):
        await Channel.open(ours, "SUB")
    theirs.close()
    await asyncio.sleep(0)


async def test_a_peer_that_hangs_up_is_gone() -> None:
    async with peer() as (channel, _, writer):
        writer.write(b"\x02\x00\x00")
        writer.transport.abort()
        with pytest.raises((EOFError, OSError)):
            await channel.receive()


def forged(
    messenger: Messenger, kind: object, content: bytes, *, parent: bytes = b'{"msg_id":"p"}'
) -> tuple[bytes, ...]:
    """A message that is signed as the kernel would sign it."""
    parts = (json.dumps({"msg_type": kind}).encode(), parent, b"{}", content)
    return (b"stream", b"<IDS|MSG>", messenger._signature(parts), *parts)


def test_a_well_formed_message_is_read() -> None:
    messenger = Messenger()
    read = messenger.read(forged(messenger, "stream", b'{"name":"stdout","text":"hi","more":[1]}'))
    assert read == ("p", Stream(name="stdout", text="hi"))
    assert messenger.read(forged(messenger, "execute_reply", b'{"status":"ok"}')) == ("p", Reply(status="ok"))
    assert messenger.read(forged(messenger, "error", b"{}")) == ("p", Raised())


def test_a_request_is_signed_with_the_kernels_key() -> None:
    messenger = Messenger()
    message_id, frames = messenger.request("execute_request", {"code": "1"})
    assert frames[0] == b"<IDS|MSG>"
    assert frames[1] == messenger._signature(frames[2:])
    assert json.loads(frames[2])["msg_id"] == message_id


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("stream", b'{"name":"stdin","text":"x"}'),
        ("stream", b'{"name":"stdout","text":null}'),
        ("stream", b'{"name":"stdout"}'),
        ("stream", b"[]"),
        ("stream", b"{"),
        ("stream", b"\xff"),
        ("stream", b'{"name":"stdout","text":"\\ud800"}'),
        ("stream", b'{"name":"stdout","text":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        ("display_data", b'{"data":' + b'{"x":' * 100_000 + b"1" + b"}" * 100_000 + b"}"),
        ("display_data", b'{"data":{"image/png":["x"]}}'),
        ("display_data", b'{"data":[]}'),
        ("error", b'{"traceback":"x"}'),
        ("error", b'{"traceback":[1]}'),
        ("status", b'{"execution_state":1}'),
        ("execute_reply", b"{}"),
        ("input_request", b'{"prompt":"password"}'),
        ("comm_open", b"{}"),
        (7, b"{}"),
        ({"a": 1}, b"{}"),
    ],
)
def test_a_message_that_is_not_what_it_says_is_ignored(kind: object, content: bytes) -> None:
    messenger = Messenger()
    read = messenger.read(forged(messenger, kind, content))
    assert read is None or "\ud800" not in plain(getattr(read[1], "text", ""))


def test_a_message_with_another_key_is_ignored() -> None:
    assert Messenger().read(forged(Messenger(), "stream", b'{"name":"stdout","text":"x"}')) is None


@given(st.lists(st.binary(max_size=50) | st.just(b"<IDS|MSG>"), max_size=9))
def test_garbage_is_ignored(frames: list[bytes]) -> None:
    assert Messenger().read(tuple(frames)) is None


@given(st.text(alphabet=st.characters(), max_size=200))
def test_text_is_without_control_characters_and_always_encodes(text: str) -> None:
    shown = plain(text)
    shown.encode()
    assert not any(ord(sign) < 32 and sign not in "\n\t" for sign in shown)


def test_terminal_sequences_are_taken_out() -> None:
    assert plain("\x1b]0;title\x07\x1b[1;31mred\x1b[0m\x00\r\n50 %\r60 %\x9b") == "red\n50 %\n60 %"


def test_output_ends_at_its_limit_with_a_note_and_nothing_more() -> None:
    said: list[str] = []
    collector = Collector(Limits(output_max_chars=10), lambda _, text: said.append(text))
    for _ in range(100):
        collector.take(Stream(name="stdout", text="1234"))
    assert "".join(said) == "1234123412"
    assert list(collector.notes) == ["Output was cut after 10 characters."]


def test_a_listener_that_fails_does_not_disturb(caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: str) -> None:
        raise OSError("gone")

    Collector(Limits(), fail).take(Stream(name="stdout", text="x"))
    assert "listener" in caplog.text


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int = 2, height: int = 2, *, extra: bytes = b"", colour: int = 6) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 64)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def segment(marker: int, body: bytes) -> bytes:
    return b"\xff" + bytes((marker,)) + struct.pack(">H", len(body) + 2) + body


def jpeg(*, note: bytes = b"", width: int = 3, height: int = 2) -> bytes:
    frame = segment(0xC0, struct.pack(">BHHB", 8, height, width, 1) + b"\1\x11\0")
    return b"\xff\xd8" + note + frame + segment(0xDA, b"\1\1\0\0\x3f\0") + b"\x12\xff\x00\xff\xd0\x34" + b"\xff\xd9"


def test_of_a_picture_only_the_picture_is_kept() -> None:
    image = images.verified(png(extra=chunk(b"tEXt", b"<script>") + chunk(b"eXIf", b"x")) + b"<html>second file")
    assert (image.mime, image.width_px, image.height_px) == ("image/png", 2, 2)
    assert image.content == png()
    image = images.verified(jpeg(note=segment(0xFE, b"<script>") + segment(0xE1, b"Exif")) + b"PK\3\4")
    assert (image.mime, image.width_px, image.height_px) == ("image/jpeg", 3, 2)
    assert image.content == jpeg()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>",
        b"GIF89a<script>",
        b"\x89PNG\r\n\x1a\n",
        png()[:-4],
        png()[:30],
        png(60_000, 60_000),
        png(0, 5),
        png(1 << 31, 1),
        png(colour=5),
        png().replace(b"IDAT", b"IDAX"),
        png(extra=chunk(b"IHDR", b"\0" * 13)),
        b"\x89PNG\r\n\x1a\n" + chunk(b"IDAT", b"x") + chunk(b"IEND", b""),
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 0xFFFFFFFF) + b"IHDR",
        b"\xff\xd8\xff",
        b"\xff\xd8\xff\xd9",
        jpeg()[:-1],
        jpeg()[:20],
        jpeg(width=0),
        jpeg(note=segment(0xC0, struct.pack(">BHHB", 8, 1, 1, 1) + b"\1\x11\0")),
    ],
)
def test_what_is_no_picture_is_refused(content: bytes) -> None:
    with pytest.raises(images.NoImageError):
        images.verified(content)


@given(st.binary(max_size=300), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"]))
def test_nothing_that_looks_like_a_picture_breaks_the_check(content: bytes, start: bytes) -> None:
    with contextlib.suppress(images.NoImageError):
        images.verified(start + content)


@pytest.mark.parametrize("text", ["%%%", "a", "x" * 1000, "é", base64.b64encode(b"x" * 2000).decode()])
def test_what_is_no_picture_in_base64_is_refused(text: str) -> None:
    with pytest.raises(images.NoImageError):
        images.from_base64(text, max_bytes=1000)


def test_base64_with_line_breaks_is_read() -> None:
    assert images.from_base64(base64.encodebytes(png()).decode(), max_bytes=1000).content == png()
