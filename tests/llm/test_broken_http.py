"""What answers at the base URL may be no web server, or a broken one: that is said in words."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress

import pytest

from chat.llm.port import ModelFault
from tests.llm.asking import World


@asynccontextmanager
async def answering(*pieces: bytes, then: Iterable[bytes] = ()) -> AsyncIterator[str]:
    """The base URL of a server that says this to every request, and closes. Who asks must let go of it."""
    answers: set[asyncio.Task[None] | None] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        answers.add(asyncio.current_task())
        await reader.readuntil(b"\r\n\r\n")
        with suppress(ConnectionError):
            for piece in itertools.chain(pieces, then):
                writer.write(piece)
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        async with asyncio.timeout(5):
            await asyncio.gather(*filter(None, answers))


@pytest.mark.parametrize(
    "piece", [b"hello there\r\n\r\n", b"SSH-2.0-OpenSSH_9.2\r\n"], ids=["a word", "another protocol"]
)
async def test_what_is_no_http_answer_is_an_unavailable_server(world: World, piece: bytes) -> None:
    async with answering(piece) as url:
        error = await world.failure(model=world.model(base_url=url))
    assert error.fault is ModelFault.UNAVAILABLE
    assert url.removesuffix("/v1") in error.words


@pytest.mark.parametrize("head", [b"500 Broken", b"307 Elsewhere\r\nLocation: /v2"], ids=["refuses", "leads elsewhere"])
async def test_what_refuses_without_end_is_left_when_enough_of_it_is_known(world: World, head: bytes) -> None:
    async with answering(b"HTTP/1.1 ", head, b"\r\n\r\n", then=itertools.repeat(b"x" * 65_536)) as url:
        error = await world.failure(model=world.model(base_url=url, first_token_s=5))
    assert error.fault is ModelFault.UNAVAILABLE


@pytest.mark.parametrize("charset", ["utf-16", "base64", "no-such-one", "a\\b"])
async def test_what_refuses_in_an_odd_encoding_is_sorted_like_any_other(world: World, charset: str) -> None:
    head = f"HTTP/1.1 429 Slow\r\nContent-Type: application/json; charset={charset}\r\n\r\n"
    async with answering(head.encode(), b'{"error": "slow down"}') as url:
        error = await world.failure(model=world.model(base_url=url))
    assert error.fault is ModelFault.RATE_LIMIT
    assert error.words.endswith("slow down")
