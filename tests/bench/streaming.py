"""Scenarios in which text streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench import chats as talk
from tests.bench import clocks, served
from tests.bench.bench import App, Bench, Found, row_of, scenario
from tests.bench.report import Figure, Row, percentile

UNLIMITED_TOKENS = 300_000
# As many would take some peers minutes.
PEER_TOKENS = 30_000
LONG_REPLY_TOKENS = 36_000
TABS = 20
# So many conversations at once, for their sum to be more than what a process does anyway.
TABBED_CHATS = 8
# Of so many long replies, the median of each tenth counts.
REPLIES = 3


@scenario("paced")
async def paced(bench: Bench) -> Found:
    """1, 20, 100, 300 and 600 chats at 50 tokens a second each, and 100 that speak JSON."""
    counts = (1, 20, 100) if bench.is_quick else (1, 20, 100, 300, 600)
    rows = [await bench.streams("paced", served.daphne, chats=chats) for chats in counts]
    return [*rows, await bench.streams("paced", served.daphne, chats=100, frames="json")]


@scenario("limits")
async def limits(bench: Bench) -> Found:
    """The same chats through a relay without a framework, the least that Channels and daphne can do, and peers."""
    counts = (1, 100) if bench.is_quick else (1, 100, 300)
    rows = []
    for make in (served.relay, served.channels, *bench.peers):
        rows += [await bench.streams("paced", make, chats=chats) for chats in counts]
        rows.append(await _unlimited(bench, make, PEER_TOKENS if make in bench.peers else UNLIMITED_TOKENS))
        bench.end(make)
    return rows


@scenario("uvicorn")
async def uvicorn(bench: Bench) -> Found:
    """100 and 300 chats under uvicorn instead of daphne."""
    counts = (100,) if bench.is_quick else (100, 300)
    rows = [await bench.streams("paced", served.uvicorn, chats=chats) for chats in counts]
    bench.end(served.uvicorn)
    return rows


@scenario("unlimited")
async def unlimited(bench: Bench) -> Found:
    """One chat with a model server that sends as fast as it is read."""
    return [await _unlimited(bench, served.daphne, UNLIMITED_TOKENS)]


async def _unlimited(bench: Bench, make: Callable[[Path, str], App], most: int) -> Row:
    app = await bench.app(make)

    async def measure() -> Row:
        (chat,) = await talk.open_all(await app.seats(1), bench.upstream)
        tokens = most // (10 if bench.is_quick else 1)
        with talk.seated([chat]), talk.without_pauses():
            clocks.forget_peak(app.pid)
            chat.is_noting = True
            watch = bench.watch(app)
            chat.say(tokens, 0)
            await chat.ended()
            return row_of(
                "unlimited",
                app,
                [chat],
                watch.read(),
                frames="html",
                rate=0,
                received=chat.wire.received_bytes,
                firsts_ms=[chat.first_added_ms],
            )

    return await bench.undisturbed(f"unlimited: {app.app}", measure)


@scenario("burst")
async def burst(bench: Bench) -> Found:
    """300 chats whose first messages come within one second."""
    app = await bench.site()
    count = 50 if bench.is_quick else 300

    async def measure() -> Row:
        opened = await talk.open_all(await app.seats(count), bench.upstream)
        with talk.seated(opened), talk.without_pauses():
            clocks.forget_peak(app.pid)
            watch = bench.watch(app)
            for chat in opened:
                chat.is_noting = True
            await talk.begin(opened, tokens=50, rate=50, within_s=1)
            await asyncio.gather(*(chat.ended() for chat in opened))
            return row_of(
                "burst",
                app,
                opened,
                watch.read(),
                frames="html",
                rate=50,
                received=sum(chat.wire.received_bytes for chat in opened),
                firsts_ms=[chat.first_added_ms for chat in opened],
            )

    return [await bench.undisturbed(f"burst: {count} first messages within a second", measure)]


@scenario("tabs")
async def tabs(bench: Bench) -> Found:
    """20 tabs on a conversation against one."""
    app = await bench.site()
    one = await bench.undisturbed("tabs: one a conversation", lambda: _tabs(bench, app, 1))
    many = await bench.undisturbed(f"tabs: {TABS} a conversation", lambda: _tabs(bench, app, TABS))
    ratio = Figure(
        scenario="tabs",
        name=f"CPU of {TABS} tabs on a conversation against one",
        value=many.cpu_us / one.cpu_us,
        unit="times",
        others_percent=max(one.others_percent, many.others_percent),
    )
    return [one, many, ratio]


async def _tabs(bench: Bench, app: App, tabs: int) -> Row:
    seats = await app.seats(TABBED_CHATS)
    opened = await talk.open_all([seat for seat in seats for _ in range(tabs)], bench.upstream)
    with talk.seated(opened), talk.without_pauses():
        speakers = opened[::tabs]
        await talk.begin(speakers, tokens=int((bench.seconds + 3) * 50), rate=50, within_s=0.5)
        for number, chat in enumerate(opened):
            if chat not in speakers:
                chat.follow(speakers[number // tabs].key)
        await asyncio.sleep(0.5)
        clocks.forget_peak(app.pid)
        before = sum(chat.wire.received_bytes for chat in opened)
        watch = bench.watch(app)
        for chat in speakers:
            chat.is_noting = True
        await asyncio.sleep(bench.seconds)
        for chat in speakers:
            chat.is_noting = False
        spent = watch.read()
        received = sum(chat.wire.received_bytes for chat in opened) - before
        await asyncio.gather(*(chat.ended() for chat in opened))
        return row_of(
            f"{tabs} tabs each",
            app,
            speakers,
            spent,
            frames="html",
            rate=50,
            received=received,
            firsts_ms=[chat.first_added_ms for chat in speakers],
        )


@scenario("turns")
async def turns(bench: Bench) -> Found:
    """Turn 1,000 in one conversation against turn 1."""
    site = await bench.site()
    rounds, before = (5, 100) if bench.is_quick else (15, 999)
    young = await talk.open_all(await site.seats(rounds), bench.upstream)
    with talk.seated(young):
        first = await _turns(bench, site, young)
    (seat,) = await site.seats(1)
    await site.fill("turns", seat.conversation, str(before))
    (old,) = await talk.open_all([seat], bench.upstream)
    with talk.seated([old]):
        last = await _turns(bench, site, [old] * rounds)
    what = f"turn {before + 1:,}"
    return [
        Figure(scenario="turns", name="CPU of turn 1", value=first[0], unit="ms", note="20 tokens, commits and all"),
        Figure(scenario="turns", name=f"CPU of {what}", value=last[0], unit="ms"),
        Figure(scenario="turns", name="CPU that a late turn costs more", value=last[0] - first[0], unit="ms"),
        Figure(scenario="turns", name="bytes of a late turn against the first", value=last[1] / first[1], unit="times"),
    ]


async def _turns(bench: Bench, app: App, turns: list[talk.Chat]) -> tuple[float, float]:
    """Median CPU of a turn in ms, and of its bytes."""
    cpu_ms, received = [], []
    for chat in turns:
        await asyncio.sleep(0.2)
        before = chat.wire.received_bytes
        watch = bench.watch(app)
        chat.say(20, 200)
        await chat.ended()
        await asyncio.sleep(0.1)
        cpu_ms.append(watch.read().cpu_s * 1000)
        received.append(float(chat.wire.received_bytes - before))
    return percentile(sorted(cpu_ms), 50), percentile(sorted(received), 50)


async def _tenths_us(bench: Bench, app: App, chat: talk.Chat, tokens: int, rate: int) -> list[float]:
    """CPU of a token in each tenth of a reply."""
    chat.say(tokens, rate)
    await chat.has_begun.wait()
    costs_us = []
    tenth = tokens // 10
    for number in range(10):
        watch = bench.watch(app)
        await chat.reached((number + 1) * tenth - 1)
        # Not of a flush: how much comes with one depends on how busy the process was before.
        costs_us.append(watch.read().cpu_s * 1e6 / tenth)
    await chat.ended()
    return costs_us


@scenario("reply")
async def reply(bench: Bench) -> Found:
    """A reply of 200 KB in Markdown: what its last tokens cost against its first."""
    app = await bench.site()
    rate = 2_000
    tokens = LONG_REPLY_TOKENS // (5 if bench.is_quick else 1)
    replies = await talk.open_all(await app.seats(1 if bench.is_quick else REPLIES), bench.upstream)
    with talk.seated(replies), talk.without_pauses():
        # What else goes on in the machine makes one dearer by a third at times, and what went on before its beginning
        # cheaper.
        of_all = [await _tenths_us(bench, app, chat, tokens, rate) for chat in replies]
    costs_us = [percentile(sorted(of_tenth), 50) for of_tenth in zip(*of_all, strict=True)]
    return [
        Figure(
            scenario="reply", name="CPU of a token in the first tenth of a long reply", value=costs_us[0], unit="µs"
        ),
        Figure(scenario="reply", name="CPU of a token in its last tenth", value=costs_us[-1], unit="µs"),
        Figure(
            scenario="reply",
            name="last tokens of a long reply against its first",
            value=costs_us[-1] / costs_us[0],
            unit="times",
            note=f"{tokens:,} tokens, median of {len(replies)} replies",
        ),
    ]


@scenario("soak", is_asked_for=True)
async def soak(bench: Bench) -> Found:
    """100 chats, again and again for `--minutes`: whether memory stays."""
    app = await bench.site()
    ends_s = time.monotonic() + bench.minutes * 60
    memory_mib = []
    while time.monotonic() < ends_s:
        await bench.streams("soak", served.daphne, chats=100)
        memory_mib.append(clocks.memory_kib(app.pid) / 1024)
    # Caches fill up first.
    settled = memory_mib[len(memory_mib) // 4]
    return [
        Figure(scenario="soak", name="memory once it has settled", value=settled, unit="MiB"),
        Figure(scenario="soak", name="memory at the end of the soak", value=memory_mib[-1], unit="MiB"),
        Figure(
            scenario="soak",
            name="growth of memory under load",
            value=memory_mib[-1] / settled,
            unit="times",
            note=f"{bench.minutes:g} min",
        ),
    ]
