"""Many chats at once, each with one reader or several, and what came of them.

Knows seats and the model server's notes. Must not know which server is measured, or what is done with the figures.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tests.bench import wire
from tests.bench.served import Seat
from tests.bench.upstream import Stream, Upstream

MS_PER_NS = 1e-6
# Nothing takes as long; it only ends a run that would hang.
ENDS_WITHIN_S = 120
_NUMBERS = itertools.count(1)


class Chat:
    """One reader of one conversation.

    latencies_ns: of each token while `is_noting`. first_ns: from sending to the first token. frames: how many came.
    """

    def __init__(self, seat: Seat, upstream: Upstream) -> None:
        self.seat = seat
        self.latencies_ns: list[int] = []
        self.first_ns = 0
        self.frames = 0
        self.newest = -1
        self.is_noting = False
        self.has_ended = asyncio.Event()
        self.has_begun = asyncio.Event()
        self.is_ready = asyncio.Event()
        self.has_reached = asyncio.Event()
        self.stream: Stream | None = None
        self.key = ""
        self._sent_ns = 0
        self._waits_for = 0
        self._upstream = upstream

    async def open(self) -> None:
        """Take the seat; returns when a message can be sent."""
        seat = self.seat
        self.wire = await wire.connect(seat.port, seat.path, self._take, cookie=seat.cookie)
        async with asyncio.timeout(ENDS_WITHIN_S):
            await self.is_ready.wait()

    def say(self, tokens: int, rate: int) -> None:
        """Ask for an answer of so many tokens."""
        self.follow(f"{next(_NUMBERS):06d}")
        self._sent_ns = time.monotonic_ns()
        self.wire.send(self.seat.speech.says(f"bench:{self.key} {tokens} {rate}"))

    def follow(self, key: str) -> None:
        """Note what comes of an answer, also of one that another reader asked for."""
        self.key, self.newest, self.stream = key, -1, None
        self.has_ended.clear()
        self.has_begun.clear()

    async def reached(self, number: int) -> None:
        """Until the token of that number is there."""
        self._waits_for = number
        self.has_reached.clear()
        await self.has_reached.wait()

    async def ended(self) -> None:
        """Until the answer has ended. Fails when a token is missing."""
        async with asyncio.timeout(ENDS_WITHIN_S):
            await self.has_ended.wait()

    @property
    def first_added_ms(self) -> float:
        """From sending to the first token, but for the time that the model server took."""
        assert self.stream is not None
        return (self.first_ns - (self.stream.sent_ns[0] - self.stream.asked_ns)) * MS_PER_NS

    def _take(self, frame: bytes) -> None:
        now_ns = time.monotonic_ns()
        speech = self.seat.speech
        self.frames += 1
        if not self.is_ready.is_set():
            for words in speech.answers(frame):
                self.wire.send(words)
            if speech.is_ready(frame):
                self.is_ready.set()
            return
        newest = speech.newest(frame)
        if newest > self.newest:
            stream = self.stream
            if stream is None:
                stream = self.stream = self._upstream.streams.get(self.key)
                if stream is None or newest >= len(stream.sent_ns):
                    # What is left of an answer before.
                    self.stream = None
                    return
                self.first_ns = now_ns - self._sent_ns
                self.has_begun.set()
            if self.is_noting:
                self.latencies_ns += [now_ns - sent_ns for sent_ns in stream.sent_ns[self.newest + 1 : newest + 1]]
            self.newest = newest
            if newest >= self._waits_for:
                self.has_reached.set()
        if self.stream is not None and self.newest == self.stream.count - 1 and speech.is_end(frame):
            self.has_ended.set()
        for words in speech.answers(frame):
            self.wire.send(words)


@contextmanager
def seated(chats: Sequence[Chat]) -> Iterator[None]:
    """Leave no socket open."""
    try:
        yield
    finally:
        for chat in chats:
            if hasattr(chat, "wire"):
                chat.wire.close()


async def open_all(seats: Sequence[Seat], upstream: Upstream, *, at_once: int = 20) -> list[Chat]:
    """All of them, some at a time."""
    chats = [Chat(seat, upstream) for seat in seats]
    waiting = iter(chats)

    async def take_turns() -> None:
        for chat in waiting:
            await chat.open()

    await asyncio.gather(*(take_turns() for _ in range(min(at_once, len(chats)))))
    return chats


async def begin(chats: Sequence[Chat], *, tokens: int, rate: int, within_s: float) -> None:
    """Let each say something within this time; returns when each has its first token."""
    moments = sorted(random.uniform(0, within_s) for _ in chats)
    began_s = time.monotonic()
    for chat, moment_s in zip(chats, moments, strict=True):
        await asyncio.sleep(began_s + moment_s - time.monotonic())
        chat.say(tokens, rate)
    async with asyncio.timeout(ENDS_WITHIN_S):
        await asyncio.gather(*(chat.has_begun.wait() for chat in chats))


async def ask_again(chats: Sequence[Chat], *, times: int, rate: int, within_s: float) -> list[float]:
    """Let each ask so many times, for one token, in about this time; how long each of them was in coming, in ms."""
    found_ms: list[float] = []

    async def ask(chat: Chat) -> None:
        await chat.ended()
        for _ in range(times):
            await asyncio.sleep(random.uniform(0, 2 * within_s / times))
            chat.say(1, rate)
            await chat.ended()
            found_ms.append(chat.first_added_ms)

    await asyncio.gather(*(ask(chat) for chat in chats))
    return found_ms


@contextmanager
def without_pauses() -> Iterator[None]:
    """The load's own garbage collection would be counted as latency."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.unfreeze()
