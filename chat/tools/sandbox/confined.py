"""One tree of confined processes: started, watched, and ended so that nothing of it is left.

Knows processes and how each confinement ends. Must not know what runs inside.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
from asyncio import StreamReader, StreamWriter
from asyncio.subprocess import DEVNULL, PIPE, Process
from dataclasses import replace
from typing import TypeVar, cast

from chat.tools.sandbox import cgroup, command, proctree
from chat.tools.sandbox.cgroup import Group
from chat.tools.sandbox.command import Build, Confinement, Order
from chat.tools.sandbox.values import Limits, SandboxStartError

logger = logging.getLogger(__name__)

T = TypeVar("T")

# How long a killed tree may take to be gone before it is killed another way. A fork bomb's memory takes two seconds.
END_TIMEOUT_S = 5.0
# After an interrupt: how often, and how far apart, what the cell started is killed before the whole kernel is.
SWEEPS, SWEEP_INTERVAL_S = 10, 0.005
# A kernel that is through with an interrupt rests. One that uses most of this time still runs a thread of the cell's.
REST_CHECK_S, REST_CPU_MAX_S = 0.05, 0.035
# Of the words with which a start failed.
COMPLAINT_MAX_BYTES = 2000
# Text that waits in the server's memory before the writer has to wait.
PIPE_BUFFER_BYTES = 64 * 1024


class ConfinedProcess:
    """A process that can reach nothing but its work folder, and everything that it starts."""

    def __init__(self, process: Process, root: int, root_handle: int | None, lifeline: int | None) -> None:
        self._process = process
        # The first process inside, or with Landlock the supervisor: the rest of the tree is below it.
        self._root = root
        self._root_handle = root_handle
        self._lifeline = lifeline
        self._end: asyncio.Task[None] | None = None
        self._own: frozenset[int] = frozenset()
        self._group: Group | None = None

    @classmethod
    async def start(
        cls, build: Build, order: Order, *, passed: tuple[int, ...] = (), is_heard: bool = False
    ) -> ConfinedProcess:
        """passed: file descriptors that go in, with their numbers. is_heard: stdout and stderr are pipes to here.

        Raises SandboxStartError with what was said when the walls can't be built.
        """
        is_bubblewrap = build.confinement is Confinement.BUBBLEWRAP
        read, write = os.pipe()
        # bubblewrap writes who the first inside is; a supervisor reads when it is to end everything.
        given, kept = (write, read) if is_bubblewrap else (read, write)
        order = replace(order, info=given) if is_bubblewrap else replace(order, lifeline=given)
        try:
            process = await asyncio.create_subprocess_exec(
                *command.argv(build, order),
                stdin=PIPE,
                stdout=PIPE if is_heard else DEVNULL,
                stderr=PIPE,
                env=command.environment(build, order),
                cwd="/",
                pass_fds=(given, *passed),
                start_new_session=True,
                limit=PIPE_BUFFER_BYTES,
            )
        except BaseException:
            os.close(kept)
            raise
        finally:
            os.close(given)
        try:
            root = await _first_inside(kept) if is_bubblewrap else process.pid
            if root is None:
                raise SandboxStartError(await _complaint(process))
            confined = cls(process, root, _handle_of(root) if is_bubblewrap else None, None if is_bubblewrap else kept)
        except BaseException:
            os.close(kept)
            await undisturbed(asyncio.create_task(_give_up(process), name="end of a sandbox that did not begin"))
            raise
        if is_bubblewrap:
            os.close(kept)
        try:
            await confined._give(command.orders(build, order), order.limits)
        except BaseException:
            await confined.kill()
            raise
        return confined

    @property
    def is_alive(self) -> bool:
        """Whether its first process runs, as far as has been noticed."""
        return self._process.returncode is None

    @property
    def exit_code(self) -> int | None:
        """Of the first process, negative for a signal; None while it runs."""
        return self._process.returncode

    @property
    def output(self) -> tuple[StreamReader, StreamReader]:
        """stdout and stderr, when it is heard."""
        return cast(StreamReader, self._process.stdout), cast(StreamReader, self._process.stderr)

    def members(self) -> tuple[int, ...]:
        """The ids of its processes, seen from outside."""
        return proctree.members(self._root) if self.is_alive else ()

    async def ended(self) -> int:
        """Wait for its end; the exit code."""
        return await self._process.wait()

    async def complaint(self) -> str:
        """What it said on stderr when it ended before it began. Only where it is not heard."""
        return await _complaint(self._process)

    @property
    def has_run_out_of_memory(self) -> bool:
        """Whether a control group ended it for that."""
        return self._group is not None and self._group.has_run_out_of_memory

    async def _give(self, orders: bytes, limits: Limits) -> None:
        """Let it begin: it waits for its orders, so everything that bounds it is in place before."""
        self._group = Group.create(limits, cgroup.delegated())
        if self._group:
            self._group.add(self.members())
        pipe = self._process.stdin
        if pipe:
            pipe.write(orders)
            with contextlib.suppress(ConnectionError):
                await pipe.drain()
            pipe.close()

    def remember_first(self) -> None:
        """What runs now was started by us; see `come_to_rest`."""
        self._own = frozenset(self.members())

    async def come_to_rest(self) -> bool:
        """Kill what foreign code started, and see whether what is left is quiet. The first process lives on."""
        for _ in range(SWEEPS):
            strangers = [pid for pid in self.members() if pid not in self._own and proctree.is_running(pid)]
            if not strangers:
                break
            for pid in strangers:
                _kill(pid)
            await asyncio.sleep(SWEEP_INTERVAL_S)
        else:
            return False
        before = proctree.usage(self.members()).cpu_s
        await asyncio.sleep(REST_CHECK_S)
        return proctree.usage(self.members()).cpu_s - before < REST_CPU_MAX_S

    async def kill(self) -> None:
        """End the whole tree; returns when every process of it is dead and reaped. Can't be cancelled half-way."""
        if self._end is None:
            self._end = asyncio.create_task(self._kill(), name=f"end of sandbox {self._root}")
        await undisturbed(self._end)

    async def _kill(self) -> None:
        for attempt in range(3):
            self._strike(attempt)
            try:
                await asyncio.wait_for(self._process.wait(), END_TIMEOUT_S)
                break
            except TimeoutError:
                logger.error("A sandbox did not end at once; attempt %d", attempt + 1)
        if self._process.stdin:
            self._process.stdin.close()
        for handle in (self._root_handle, self._lifeline):
            if handle is not None:
                os.close(handle)
        self._root_handle = self._lifeline = None
        if self._group:
            self._group.remove()

    def _strike(self, attempt: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            if self._root_handle is not None:
                # The first process of a process namespace takes all others with it before it is gone itself, and
                # bubblewrap ends after it: when bubblewrap is reaped, nothing is left.
                signal.pidfd_send_signal(self._root_handle, signal.SIGKILL)
            elif self._lifeline is not None:
                os.close(self._lifeline)
                self._lifeline = None
            if attempt and self.is_alive:
                for pid in self.members():
                    _kill(pid)
                self._process.kill()


async def undisturbed(task: asyncio.Task[T]) -> T:
    """Wait for a task that must end although the waiting one is cancelled, and only then be cancelled."""
    is_cancelled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            is_cancelled = True
        except Exception:  # noqa: S110 - the task keeps it
            pass
    if is_cancelled:
        raise asyncio.CancelledError
    return task.result()


async def _first_inside(info: int) -> int | None:
    """The id that bubblewrap reports; None when it ended instead."""
    reader = StreamReader(limit=COMPLAINT_MAX_BYTES)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(os.dup(info), "rb", buffering=0)
    )
    try:
        told = await reader.read(COMPLAINT_MAX_BYTES)
        while told and b"}" not in told:
            more = await reader.read(COMPLAINT_MAX_BYTES)
            if not more:
                break
            told += more
        return int(json.loads(told)["child-pid"]) if told else None
    finally:
        transport.close()


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def _handle_of(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


async def _give_up(process: Process) -> None:
    """Before it had its orders: what waits for them inside ends itself when they can't come any more."""
    cast(StreamWriter, process.stdin).close()
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    try:
        await asyncio.wait_for(process.wait(), END_TIMEOUT_S)
    except TimeoutError:
        logger.error("A sandbox that did not begin does not end")


async def _complaint(process: Process) -> str:
    said = await cast(StreamReader, process.stderr).read(COMPLAINT_MAX_BYTES)
    await process.wait()
    return said.decode(errors="replace").strip() or f"it ended with {process.returncode}"
