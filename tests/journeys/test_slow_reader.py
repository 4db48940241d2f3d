"""A reader that takes nothing while much is said."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator

import pytest

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import Flood, Say, ScriptedRequest, Step
from tests.journeys import figures
from tests.journeys.place import FAR_S, Place
from tests.journeys.serving import serving
from tests.server import ServerProcess

TOO_SLOW, ABNORMAL = 4408, 1006
# More than what the kernel keeps for a connection that nobody reads (about 4 MB on each side).
TOKEN = "0123456789" * 20
FLOODS, TOKENS_A_FLOOD = 4, 25_000
# What the flood itself is in memory, several times over: as text, as frames of those who read, as rows.
MORE_MEMORY_MB = 300


@pytest.fixture(scope="module")
def server(upstream: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server that has little patience."""
    folder = tmp_path_factory.mktemp("impatient")
    with serving(ServerProcess(folder, upstream=upstream.base_url, AGENT_SLOW_READER_TIMEOUT_S="1")) as running:
        yield running


def narrow(server: ServerProcess) -> socket.socket:
    """A connection on whose end little room is kept."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.connect(("127.0.0.1", server.port))
    return connection


async def test_a_reader_that_stalls_is_let_go_and_nobody_else_notices(place: Place) -> None:
    other_id = place.person.new_conversation()

    def script(request: ScriptedRequest) -> tuple[Step, ...]:
        if request.last_user_text == "calm":
            return (Say(text="calm word " * 200, delay_s=0.02),)
        return (Flood(text=TOKEN, count=TOKENS_A_FLOOD),)

    place.answers(script)
    before_mb = place.server.memory_mb
    peak_mb = before_mb
    is_over = False

    async def watch_memory() -> None:
        nonlocal peak_mb
        while not is_over:
            peak_mb = max(peak_mb, place.server.memory_mb)
            await asyncio.sleep(0.05)

    async def read_calmly() -> float:
        async with place.person.socket(f"/ws/c/{other_id}/?format=json") as wire:
            await wire.receive()
            await wire.say("calm")
            await wire.until_text(within_s=FAR_S)
            longest_s, last_s = 0.0, time.monotonic()
            while wire.state["phase"] != "idle":
                await wire.receive(within_s=FAR_S)
                longest_s = max(longest_s, time.monotonic() - last_s)
                last_s = time.monotonic()
            assert wire.wrong_offsets == []
            return longest_s

    async with (
        place.socket(sock=narrow(place.server), max_queue=1, ping_interval=None, close_timeout=1) as stalled,
        place.socket() as steady,
    ):
        stalled.connection.transport.pause_reading()
        memory = asyncio.create_task(watch_memory())
        calm = asyncio.create_task(read_calmly())
        for number in range(FLOODS):
            await steady.say(f"flood {number}")
        while steady.state["phase"] != "idle" or steady.state["queue"] or len(place.questions) < FLOODS:
            await steady.receive(within_s=FAR_S)
        longest_s = await calm
        # The kernel still holds what was sent before; then comes the end.
        stalled.connection.transport.resume_reading()
        assert await stalled.closed(within_s=FAR_S) in (TOO_SLOW, ABNORMAL)
        assert stalled.state["seq"] < steady.state["seq"]
        for row in steady.messages.values():
            if row["role"] == "assistant":
                assert row["content"] == TOKEN * TOKENS_A_FLOOD
                assert steady.texts[row["id"]] == row["content"]
        assert steady.wrong_offsets == []
    is_over = True
    await memory

    async with place.socket() as healed:
        assert {row["id"]: row["content"] for row in healed.state["messages"]} == {
            key: row["content"] for key, row in steady.messages.items()
        }
    said_mb = FLOODS * TOKENS_A_FLOOD * len(TOKEN) / 2**20
    figures.show(
        f"a reader that stalls in {said_mb:.0f} MiB of text: closed with {stalled.connection.close_code}; "
        f"server {before_mb:.0f} MiB before, {peak_mb:.0f} at the most; "
        f"longest pause of another conversation {longest_s * 1000:.0f} ms"
    )
    assert peak_mb - before_mb < MORE_MEMORY_MB


async def test_a_reader_that_stalls_is_closed_with_a_code_that_says_so(place: Place) -> None:
    place.answers((Flood(text=TOKEN, count=TOKENS_A_FLOOD * 3),))
    async with (
        place.socket(sock=narrow(place.server), max_queue=1, ping_interval=None, close_timeout=1) as stalled,
        place.socket() as steady,
    ):
        stalled.connection.transport.pause_reading()
        await steady.say("flood")
        await steady.until_idle(within_s=FAR_S)
        await asyncio.sleep(2)
        stalled.connection.transport.resume_reading()
        assert await stalled.closed(within_s=FAR_S) == TOO_SLOW
