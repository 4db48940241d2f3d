"""Links between processes and what they connect to, that can be cut, stalled and healed.

A link listens on a port of its own and passes bytes on. Must not know what the bytes mean, but for a lossy link to a
Redis.
"""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Coroutine, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final, TypeVar

from tests.fleet.machine import HERE, Machine
from tests.fleet.resp import next_reply

_READ_BYTES: Final = 64 * 1024
# Of one message of a Redis.
_LIMIT_BYTES: Final = 64 * 1024 * 1024
_START_S: Final = 10.0
_CONNECT_S: Final = 5.0

Address = tuple[str, int]
T = TypeVar("T")


class Condition(Enum):
    """What becomes of what is sent: it arrives; the connection ends at once; it gets stuck, and nobody is told."""

    WHOLE = "whole"
    CUT = "cut"
    STALLED = "stalled"


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss:
    """What a lossy link does to what a Redis publishes.

    dropped, delayed: the part of it (0 to 1) to which that happens. delay_max_s: for how long it and what comes after
    it is held up.
    """

    dropped: float
    delayed: float
    delay_max_s: float
    seed: int


class Link:
    """Listens, and passes on to one of its targets in turn, leaving out those that do not answer."""

    def __init__(self, network: Network, targets: Sequence[Address], loss: Loss | None) -> None:
        self.port = 0
        self.dropped_count = self.delayed_count = 0
        self._network = network
        self._targets = tuple(targets)
        self._turn = 0
        self._loss = loss
        self._chance = random.Random(loss.seed if loss else 0)
        self._is_whole = asyncio.Event()
        self._is_whole.set()
        self._condition = Condition.WHOLE
        self._passing: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None

    def cut(self) -> None:
        """End every connection, and let no new one come to be."""
        self._network.call(self._become(Condition.CUT))

    def stall(self) -> None:
        """Pass nothing on, and tell nobody."""
        self._network.call(self._become(Condition.STALLED))

    def heal(self) -> None:
        """Pass on again, also what got stuck."""
        self._network.call(self._become(Condition.WHOLE))

    async def open(self, address: str) -> None:
        """Listen. On the network's loop."""
        self._server = await asyncio.start_server(self._accept, address, 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """End every connection and listen no more. On the network's loop."""
        if self._server is not None:
            self._server.close()
        await self._end_all()

    async def _become(self, condition: Condition) -> None:
        self._condition = condition
        if condition is Condition.WHOLE:
            self._is_whole.set()
        else:
            self._is_whole.clear()
        if condition is Condition.CUT:
            await self._end_all()

    async def _end_all(self) -> None:
        passing = tuple(self._passing)
        for task in passing:
            task.cancel()
        await asyncio.gather(*passing, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer), name="link")
        self._passing.add(task)
        task.add_done_callback(self._passing.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far: asyncio.StreamWriter | None = None
        try:
            if self._condition is Condition.CUT:
                raise ConnectionRefusedError
            await self._is_whole.wait()
            far_reader, far = await self._connect()
            back = self._pass_some if self._loss else self._pass
            async with asyncio.TaskGroup() as ways:
                ways.create_task(self._pass(reader, far), name="link out")
                ways.create_task(back(far_reader, writer), name="link back")
            writer.close()
            far.close()
        except* (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            for end in (writer, far):
                if end is not None and not end.is_closing():
                    # At once, as the sudden end that it is.
                    end.transport.abort()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """To the target whose turn it is, or else to the next one."""
        first, self._turn = self._turn, self._turn + 1
        for number in range(len(self._targets)):
            address = self._targets[(first + number) % len(self._targets)]
            with suppress(OSError, TimeoutError):
                async with asyncio.timeout(_CONNECT_S):
                    return await asyncio.open_connection(*address, limit=_LIMIT_BYTES)
        raise ConnectionRefusedError

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(_READ_BYTES):
            await self._is_whole.wait()
            writer.write(data)
            await writer.drain()
        writer.write_eof()

    async def _pass_some(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """What a Redis answers whole, and what it publishes with losses."""
        assert self._loss is not None
        while True:
            reply = await next_reply(reader)
            if reply.is_published and self._chance.random() < self._loss.dropped:
                self.dropped_count += 1
                continue
            if reply.is_published and self._chance.random() < self._loss.delayed:
                self.delayed_count += 1
                await asyncio.sleep(self._chance.uniform(0, self._loss.delay_max_s))
            await self._is_whole.wait()
            writer.write(reply.data)
            await writer.drain()


class Network:
    """Links in a thread of their own, so that a test that waits does not hold them up."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._links: list[Link] = []

    def link(self, *targets: Address, at: Machine = HERE, loss: Loss | None = None) -> Link:
        """A new one, which is whole. at: where it listens."""

        async def make() -> Link:
            link = Link(self, targets, loss)
            await link.open(at.address)
            self._links.append(link)
            return link

        return self.call(make())

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Do something on the loop of the links, from another thread."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(_START_S)

    async def close(self) -> None:
        """End every link. On the network's loop."""
        for link in self._links:
            await link.close()


@contextmanager
def network() -> Iterator[Network]:
    """One that works until the end of the block."""
    ready: Future[tuple[Network, asyncio.Event]] = Future()

    async def serve() -> None:
        made = Network(asyncio.get_running_loop())
        must_end = asyncio.Event()
        ready.set_result((made, must_end))
        await must_end.wait()
        await made.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="links", daemon=True)
    thread.start()
    made, must_end = ready.result(_START_S)
    try:
        yield made
    finally:
        made.loop.call_soon_threadsafe(must_end.set)
        thread.join()
