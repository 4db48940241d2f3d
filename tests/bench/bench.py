"""What a scenario is, and what it is given.

Knows the registry and the servers of a run. Must not know any scenario.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from tests.bench import chats as talk
from tests.bench import clocks, served
from tests.bench.report import Figure, Row, percentile
from tests.bench.served import Seat, SiteUnderTest
from tests.bench.upstream import Upstream

# Above this, others had too much of the server's core for a figure to be believed.
OTHERS_PERCENT_MAX = 10.0
# While chats stream, one of so many asks again, each so often in about this time. Of a few answers it is chance how
# long a first token takes.
ONE_OF = 10
ASKED_EACH, ASKED_LEAST = 3, 20
ASKING_S = 4

Found = Sequence[Row | Figure]


class App(Protocol):
    """A server under test."""

    app: str

    @property
    def pid(self) -> int:
        """Its process id."""
        ...

    def start(self, core: int) -> None:
        """Come up."""
        ...

    async def seats(self, count: int, frames: str = "html") -> list[Seat]:
        """Places for so many readers."""
        ...

    def close(self) -> None:
        """Leave nothing behind."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Scenario:
    """What is measured. is_asked_for: it runs only when it is named."""

    name: str
    words: str
    run: Callable[[Bench], Awaitable[Found]]
    is_asked_for: bool


SCENARIOS: dict[str, Scenario] = {}


def scenario(
    name: str, *, is_asked_for: bool = False
) -> Callable[[Callable[[Bench], Awaitable[Found]]], Callable[[Bench], Awaitable[Found]]]:
    """Registers a scenario; its docstring says what it measures."""

    def register(run: Callable[[Bench], Awaitable[Found]]) -> Callable[[Bench], Awaitable[Found]]:
        words = " ".join((run.__doc__ or "").split())
        SCENARIOS[name] = Scenario(name=name, words=words, run=run, is_asked_for=is_asked_for)
        return run

    return register


class Bench:
    """One run.

    seconds: how long streams are measured. tries: how often at most where others disturb. core: the server's.
    """

    def __init__(
        self,
        *,
        folder: Path,
        upstream: Upstream,
        core: int,
        seconds: float,
        tries: int,
        is_quick: bool,
        minutes: float,
        peers: Sequence[Callable[[Path, str], App]],
    ) -> None:
        self.folder = folder
        self.upstream = upstream
        self.core = core
        self.seconds = seconds
        self.is_quick = is_quick
        self.minutes = minutes
        self.peers = peers
        # What was disturbed by others in every try.
        self.disturbed: list[str] = []
        self._tries = tries
        self._apps: dict[Callable[[Path, str], App], App] = {}

    @property
    def environ(self) -> dict[str, str]:
        """For programs that measure by themselves."""
        return {name: value for name, value in os.environ.items() if not name.startswith(("AGENT_", "OPENAI_"))}

    async def app(self, make: Callable[[Path, str], App]) -> App:
        """The server of that kind, started when it was not."""
        if make not in self._apps:
            app = make(self.folder, self.upstream.url)
            self._apps[make] = app
            await asyncio.to_thread(app.start, self.core)
        return self._apps[make]

    async def site(self) -> SiteUnderTest:
        """The site as `make run` serves it."""
        app = await self.app(served.daphne)
        assert isinstance(app, SiteUnderTest)
        return app

    def end(self, make: Callable[[Path, str], App]) -> None:
        """Stop the server of that kind; it is started anew when it is wanted again."""
        app = self._apps.pop(make, None)
        if app is not None:
            app.close()

    def close(self) -> None:
        """Leave nothing behind."""
        for make in list(self._apps):
            self.end(make)

    def watch(self, app: App) -> clocks.Stopwatch:
        """Begins now."""
        return clocks.Stopwatch(app.pid, self.core)

    async def undisturbed(self, what: str, measure: Callable[[], Awaitable[Row]]) -> Row:
        """Measure, and again while others took too much of the core; the least disturbed of so many tries."""
        best: Row | None = None
        for number in range(1, self._tries + 1):
            print(f"  {what} …", file=sys.stderr, flush=True)  # noqa: T201 - progress
            row = replace(await measure(), tries=number)
            if best is None or row.others_percent < best.others_percent:
                best = row
            if best.others_percent <= OTHERS_PERCENT_MAX:
                return best
        assert best is not None
        self.disturbed.append(f"{what}: others took {best.others_percent:.0f} % of the core")
        return best

    async def streams(
        self,
        name: str,
        make: Callable[[Path, str], App],
        *,
        chats: int,
        frames: str = "html",
        rate: int = 50,
    ) -> Row:
        """So many paced chats, measured once all of them stream; then how long a first token takes of a message that
        is sent while they do.
        """
        app = await self.app(make)
        words = f"{name}: {app.app}, {chats} chats, {frames}"
        return await self.undisturbed(words, lambda: self._streams(name, app, chats=chats, frames=frames, rate=rate))

    async def _streams(self, name: str, app: App, *, chats: int, frames: str, rate: int) -> Row:
        spread_s = max(0.5, chats / 300)
        opened = await talk.open_all(await app.seats(chats, frames), self.upstream)
        with talk.seated(opened), talk.without_pauses():
            lasts_s = self.seconds + spread_s + 2
            # Of ten chats one ends sooner, and asks again while the others go on.
            askers = opened[::ONE_OF]
            others = [chat for number, chat in enumerate(opened) if number % ONE_OF]
            longer_s = lasts_s + 2 * ASKING_S
            await asyncio.gather(
                talk.begin(askers, tokens=int(lasts_s * rate), rate=rate, within_s=spread_s),
                talk.begin(others, tokens=int(longer_s * rate), rate=rate, within_s=spread_s),
            )
            await asyncio.sleep(0.5)
            clocks.forget_peak(app.pid)
            before = sum(chat.wire.received_bytes for chat in opened)
            watch = self.watch(app)
            for chat in opened:
                chat.is_noting = True
            await asyncio.sleep(self.seconds)
            for chat in opened:
                chat.is_noting = False
            spent = watch.read()
            received = sum(chat.wire.received_bytes for chat in opened) - before
            times = max(ASKED_LEAST // len(askers), ASKED_EACH)
            firsts_ms = await talk.ask_again(askers, times=times, rate=rate, within_s=ASKING_S)
            for chat in opened:
                await chat.ended()
            return row_of(name, app, opened, spent, frames=frames, rate=rate, received=received, firsts_ms=firsts_ms)


def row_of(
    name: str,
    app: App,
    chats: Sequence[talk.Chat],
    spent: clocks.Spent,
    *,
    frames: str,
    rate: int,
    received: int,
    firsts_ms: Sequence[float],
) -> Row:
    """What was noted, as a row. firsts_ms: how long each first token was in coming."""
    latencies_ms = sorted(ns * talk.MS_PER_NS for chat in chats for ns in chat.latencies_ns)
    firsts_ms = sorted(firsts_ms)
    tokens = len(latencies_ms) or 1
    return Row(
        scenario=name,
        app=app.app,
        chats=len(chats),
        frames=frames,
        rate=rate,
        tokens=len(latencies_ms),
        carried=len(latencies_ms) / spent.took_s,
        p50_ms=percentile(latencies_ms, 50),
        p99_ms=percentile(latencies_ms, 99),
        first_p50_ms=percentile(firsts_ms, 50),
        first_p99_ms=percentile(firsts_ms, 99),
        cpu_us=spent.cpu_s / tokens * 1e6,
        core_percent=spent.core_percent,
        bytes_each=received / tokens,
        peak_mib=clocks.memory_kib(app.pid, peak=True) / 1024,
        others_percent=spent.others_percent,
        load_percent=spent.own_percent,
    )
