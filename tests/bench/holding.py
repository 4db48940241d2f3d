"""Scenarios about what a server holds, and how fast it lets go."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import Sequence

from tests.bench import chats as talk
from tests.bench import clocks, served
from tests.bench.bench import Bench, Found, scenario
from tests.bench.report import Figure, percentile

STOP = json.dumps({"type": "stop"})
STOP_TOKENS = 5_000
CLOSED_WITHIN_S = 20


@scenario("memory")
async def memory(bench: Bench) -> Found:
    """Memory of a server that has just started, for each idle socket, and more for each stream; CPU of idle sockets."""
    bench.end(served.daphne)
    site = await bench.site()
    pid = site.pid
    await asyncio.sleep(2)
    start_kib = clocks.memory_kib(pid)
    # What comes with the first of all of them is not theirs.
    with_first = await talk.open_all(await site.seats(20), bench.upstream)
    count, streams = (100, 50) if bench.is_quick else (1000, 300)
    with talk.seated(with_first):
        await talk.begin(with_first, tokens=50, rate=50, within_s=0.2)
        await asyncio.gather(*(chat.ended() for chat in with_first))
        before_kib = clocks.memory_kib(pid)
        idle = await talk.open_all(await site.seats(count), bench.upstream)
        with talk.seated(idle):
            await asyncio.sleep(1)
            idle_kib = clocks.memory_kib(pid)
            watch = bench.watch(site)
            await asyncio.sleep(3)
            resting = watch.read()
            speaking = idle[:streams]
            tokens = int((bench.seconds + 3) * 50)
            await talk.begin(speaking, tokens=tokens, rate=50, within_s=1)
            await asyncio.sleep(bench.seconds)
            streaming_kib = clocks.memory_kib(pid)
            await asyncio.gather(*(chat.ended() for chat in speaking))
    return [
        Figure(scenario="memory", name="memory at start", value=start_kib / 1024, unit="MiB"),
        Figure(
            scenario="memory",
            name="memory of an idle socket",
            value=(idle_kib - before_kib) / count,
            unit="KiB",
            note=f"of {count:,}",
        ),
        Figure(
            scenario="memory",
            name="memory more of a stream",
            value=(streaming_kib - idle_kib) / streams,
            unit="KiB",
            note=f"of {streams}",
        ),
        Figure(
            scenario="memory",
            name="CPU of idle sockets",
            value=resting.core_percent,
            unit="% of the core",
            others_percent=resting.others_percent,
            note=f"{count:,}",
        ),
    ]


@scenario("stop")
async def stop(bench: Bench) -> Found:
    """From Stop to the moment at which the model server's connection is closed, with 1 and with 300 chats."""
    site = await bench.site()
    (alone,) = await talk.open_all(await site.seats(1), bench.upstream)
    with talk.seated([alone]), talk.without_pauses():
        alone_ms = []
        for _ in range(5 if bench.is_quick else 20):
            await talk.begin([alone], tokens=STOP_TOKENS, rate=50, within_s=0)
            await asyncio.sleep(random.uniform(0.1, 0.3))
            alone_ms += await _stopped_ms([alone])
            await asyncio.sleep(0.2)
    count = 50 if bench.is_quick else 300
    crowd = await talk.open_all(await site.seats(count), bench.upstream)
    with talk.seated(crowd), talk.without_pauses():
        await talk.begin(crowd, tokens=STOP_TOKENS, rate=50, within_s=1.5)
        await asyncio.sleep(1)
        # One after the other, while the others go on: the load hardly changes with the first of them.
        stopped = crowd[: count // 3]
        crowd_ms = await _stopped_ms(stopped)
        rest = crowd[count // 3 :]
        for chat in rest:
            chat.wire.send(STOP)
        async with asyncio.timeout(CLOSED_WITHIN_S):
            await asyncio.gather(*(chat.stream.closed.wait() for chat in rest if chat.stream))
    alone_ms.sort()
    crowd_ms.sort()
    figures = (
        ("from Stop to upstream closed, 1 chat, median", percentile(alone_ms, 50)),
        (f"from Stop to upstream closed, {count} chats, median", percentile(crowd_ms, 50)),
        (f"from Stop to upstream closed, {count} chats, p99", percentile(crowd_ms, 99)),
    )
    return [Figure(scenario="stop", name=name, value=value, unit="ms") for name, value in figures]


async def _stopped_ms(chats: Sequence[talk.Chat]) -> list[float]:
    """How long each took."""
    sent_ns = []
    for chat in chats:
        sent_ns.append(time.monotonic_ns())
        chat.wire.send(STOP)
        await asyncio.sleep(0.02)
    took_ms = []
    async with asyncio.timeout(CLOSED_WITHIN_S):
        for chat, began_ns in zip(chats, sent_ns, strict=True):
            assert chat.stream is not None
            await chat.stream.closed.wait()
            took_ms.append((chat.stream.closed_ns - began_ns) * talk.MS_PER_NS)
    return took_ms
