"""One Jupyter kernel: starts it confined, has it execute code, interrupts it, ends it.

Knows which messages make an execution, and when one is over. Must not know pools, work folders, or limits in total.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from chat.tools.sandbox.command import Build, Order
from chat.tools.sandbox.confined import ConfinedProcess, undisturbed
from chat.tools.sandbox.execution import Collector
from chat.tools.sandbox.messages import Content, Messenger, Reply, State
from chat.tools.sandbox.values import SandboxStartError, Status
from chat.tools.sandbox.zmtp import BrokenProtocolError, Channel

# The last output may come after the reply; ZeroMQ may also have dropped it.
AFTER_REPLY_TIMEOUT_S = 1.0
# From a closed channel to the end of the process that closed it.
HANG_UP_TIMEOUT_S = 0.5
# What a message costs besides its own length.
MESSAGE_EXTRA_BYTES = 256
# Of traffic_max_bytes, what may come while nothing is executed.
UNASKED_PART = 8


class Kernel:
    """A warm Python whose variables live on between executions, one at a time.

    `start` makes it; `execute` may be cancelled, and then returns when the cell is stopped; `kill` ends it.
    """

    def __init__(
        self, process: ConfinedProcess, messenger: Messenger, channels: dict[str, Channel], traffic_max_bytes: int
    ) -> None:
        self.process = process
        self._messenger = messenger
        self._channels = channels
        self._traffic_max_bytes = traffic_max_bytes
        self._unasked_bytes = 0
        self._current: _Execution | None = None
        self._reason = ""
        self._end: asyncio.Task[None] | None = None
        self._readers = [
            asyncio.create_task(self._read(name, channel), name=f"sandbox {name}") for name, channel in channels.items()
        ]
        self._watch = asyncio.create_task(self._notice_end(), name="sandbox kernel's end")

    @classmethod
    async def start(cls, build: Build, order: Order, *, timeout_s: float) -> Kernel:
        """Start one and wait until it is warm. Raises SandboxStartError."""
        messenger = Messenger()
        limits = order.limits
        listeners, clients = _socket_pairs()
        try:
            numbers = {name: listener.fileno() for name, listener in listeners.items()}
            kernel_orders = {
                "listeners": numbers,
                "key": messenger.key,
                "text_max_chars": max(limits.output_max_chars, limits.result_max_chars),
                "image_max_chars": limits.image_max_bytes * 4 // 3,
            }
            order = replace(order, run={"run": "kernel", "kernel": kernel_orders})
            process = await ConfinedProcess.start(build, order, passed=tuple(numbers.values()))
        except BaseException:
            for client in clients.values():
                client.close()
            raise
        finally:
            for listener in listeners.values():
                listener.close()
        kernel = None
        try:
            async with asyncio.timeout(timeout_s):
                channels = await _shake_hands(clients)
                kernel = cls(process, messenger, channels, limits.traffic_max_bytes)
                await kernel._become_ready()
        except BaseException as fault:
            await (kernel.kill("It did not start.") if kernel else process.kill())
            for client in clients.values():
                client.close()
            match fault:
                case TimeoutError():
                    raise SandboxStartError(f"A kernel did not answer within {timeout_s:g} s.") from fault
                case EOFError() | OSError() | BrokenProtocolError():
                    said = await process.complaint()
                    raise SandboxStartError(f"A kernel did not start: {said}") from fault
                case _:
                    raise
        return kernel

    @property
    def is_alive(self) -> bool:
        """Whether it can execute."""
        return self._end is None and self.process.is_alive

    @property
    def reason(self) -> str:
        """Why it ended, in words; empty while it lives."""
        return self._reason

    @property
    def is_busy(self) -> bool:
        """Whether it executes."""
        return self._current is not None

    async def execute(self, code: str, *, collector: Collector, timeout_s: float, grace_s: float) -> Status:
        """Execute a cell; what it says goes to the collector. Only one at a time.

        When this is cancelled, it stops the cell first: interrupted, or killed after grace_s, and nothing of it runs.
        """
        if self._current:
            raise RuntimeError("a kernel executes one cell at a time")
        if not self.is_alive:
            return Status.DIED
        content = {"code": code, "silent": False, "store_history": True, "allow_stdin": False, "stop_on_error": False}
        message_id, frames = self._messenger.request("execute_request", content)
        execution = self._current = _Execution(message_id, collector, grace_s)
        self._channels["shell"].send(frames)
        try:
            try:
                async with asyncio.timeout(timeout_s):
                    await execution.finished.wait()
            except TimeoutError:
                await self.stop(Status.TIMED_OUT)
            except asyncio.CancelledError:
                await self.stop(Status.INTERRUPTED)
                raise
            if execution.stop:
                await undisturbed(execution.stop)
        finally:
            self._current = None
            self._unasked_bytes = 0
        if execution.stopped_as:
            return execution.stopped_as
        if not self.is_alive:
            return Status.DIED
        return Status.FAILED if collector.has_raised or execution.has_failed else Status.SUCCEEDED

    async def stop(self, how: Status = Status.INTERRUPTED) -> None:
        """Interrupt what is executed, and kill the kernel when that does not help. Returns when nothing of it runs."""
        execution = self._current
        if execution is None or (execution.finished.is_set() and not execution.stop):
            return
        if execution.stop is None:
            execution.stopped_as = how
            execution.stop = asyncio.create_task(self._stop(execution), name="stop of a cell")
        await undisturbed(execution.stop)

    async def kill(self, reason: str) -> None:
        """End it and everything that it started. Returns when all of it is dead and reaped."""
        await undisturbed(self._begin_end(reason))

    async def _stop(self, execution: _Execution) -> None:
        try:
            async with asyncio.timeout(execution.grace_s):
                # Before it has begun, an interrupt would be lost.
                await execution.begun.wait()
                self._channels["control"].send(self._messenger.request("interrupt_request", {})[1])
                await execution.finished.wait()
        except TimeoutError:
            await self.kill("It did not react to the interrupt.")
        else:
            if self.is_alive and not await self.process.come_to_rest():
                await self.kill("It went on working after the interrupt.")

    async def _become_ready(self) -> None:
        message_id, frames = self._messenger.request("kernel_info_request", {})
        execution = self._current = _Execution(message_id, None, 0)
        self._channels["shell"].send(frames)
        await execution.finished.wait()
        self._current = None
        if not self.is_alive:
            raise EOFError
        self.process.remember_first()

    async def _read(self, name: str, channel: Channel) -> None:
        try:
            while True:
                frames = await channel.receive()
                if not self._has_room_for(sum(map(len, frames)) + MESSAGE_EXTRA_BYTES):
                    self._begin_end("It sent far more than output can be.")
                    return
                message = self._messenger.read(frames)
                if message and self._current and message[0] == self._current.message_id:
                    self._hear(name, message[1], self._current)
                # Received messages may lie ready without end; others want their turn.
                await asyncio.sleep(0)
        except BrokenProtocolError as fault:
            self._begin_end(f"It broke the protocol: {fault}.")
        except (EOFError, OSError):
            # When the process ended, that says more; so it gets the first word.
            await asyncio.wait({self._watch}, timeout=HANG_UP_TIMEOUT_S)
            self._begin_end("It hung up.")

    def _has_room_for(self, size: int) -> bool:
        if self._current:
            self._current.traffic_bytes += size
            return self._current.traffic_bytes <= self._traffic_max_bytes
        self._unasked_bytes += size
        return self._unasked_bytes <= self._traffic_max_bytes // UNASKED_PART

    def _hear(self, channel: str, content: Content, execution: _Execution) -> None:
        match channel, content:
            case "shell", Reply(status=status):
                execution.has_failed = status != "ok"
                execution.reply(asyncio.get_running_loop())
            case "iopub", State(execution_state="busy"):
                execution.begun.set()
            case "iopub", State(execution_state="idle"):
                execution.rest()
            case "iopub", _ if execution.collector:
                execution.collector.take(content)

    async def _notice_end(self) -> None:
        code = await self.process.ended()
        how = f"by signal {-code}" if code < 0 else f"by signal {code - 128}" if code > 128 else f"with code {code}"
        is_out = self.process.has_run_out_of_memory
        self._begin_end("It ran out of memory." if is_out else f"The Python process ended {how}.")

    def _begin_end(self, reason: str) -> asyncio.Task[None]:
        if self._end is None:
            self._reason = reason
            self._end = asyncio.create_task(self._finish(), name="sandbox kernel's clean-up")
        return self._end

    async def _finish(self) -> None:
        await self.process.kill()
        await self._watch
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        for channel in self._channels.values():
            channel.close()
        if self._current:
            self._current.end()


class _Execution:
    """One request that waits for its answer."""

    def __init__(self, message_id: str, collector: Collector | None, grace_s: float) -> None:
        self.message_id = message_id
        self.collector = collector
        self.grace_s = grace_s
        self.begun = asyncio.Event()
        self.finished = asyncio.Event()
        self.has_failed = False
        self.stopped_as: Status | None = None
        self.stop: asyncio.Task[None] | None = None
        self.traffic_bytes = 0
        self._is_resting = False
        self._late: asyncio.TimerHandle | None = None

    def reply(self, loop: asyncio.AbstractEventLoop) -> None:
        """The answer is there; the last output may not be."""
        if self._is_resting:
            self.end()
        elif self._late is None:
            self._late = loop.call_later(AFTER_REPLY_TIMEOUT_S, self.end)

    def rest(self) -> None:
        """The last output is there; the answer may not be."""
        self._is_resting = True
        if self._late:
            self.end()

    def end(self) -> None:
        """Nothing more is waited for."""
        if self._late:
            self._late.cancel()
        self.begun.set()
        self.finished.set()


def _socket_pairs() -> tuple[dict[str, socket.socket], dict[str, socket.socket]]:
    """A listener for inside and a client for here, for each channel, connected while nobody else could be."""
    listeners, clients = {}, {}
    with contextlib.ExitStack() as stack, tempfile.TemporaryDirectory(prefix="agentsite-") as place:
        for name in ("shell", "control", "iopub"):
            listener = listeners[name] = stack.enter_context(socket.socket(socket.AF_UNIX))
            client = clients[name] = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(Path(place) / name))
            listener.listen(1)
            client.connect(str(Path(place) / name))
            client.setblocking(False)
        stack.pop_all()
    return listeners, clients


async def _shake_hands(clients: dict[str, socket.socket]) -> dict[str, Channel]:
    tasks: dict[str, asyncio.Task[Any]] = {
        name: asyncio.create_task(Channel.open(client, "SUB" if name == "iopub" else "DEALER"), name=f"greet {name}")
        for name, client in clients.items()
    }
    try:
        await asyncio.gather(*tasks.values())
    except BaseException:
        for task in tasks.values():
            task.cancel()
        for ended in await asyncio.gather(*tasks.values(), return_exceptions=True):
            if isinstance(ended, Channel):
                ended.close()
        raise
    return {name: task.result() for name, task in tasks.items()}
