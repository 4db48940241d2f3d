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

    def __init__(
        self, process: Process, order: Order, root: int, root_handle: int | None, lifeline: int | None
    ) -> None:
        self._process = process
        self._order = order
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
        making = asyncio.create_task(cls._make(build, order, passed, is_heard), name="making of a sandbox")
        try:
            confined = await asyncio.shield(making)
        except asyncio.CancelledError:
            await undisturbed(asyncio.create_task(_end_unwanted(making), name="end of a sandbox that did not begin"))
            raise
        try:
            await confined._give(command.orders(build, confined._order), order.limits)
        except BaseException:
            await confined.kill()
            raise
        return confined

    @classmethod
    async def _make(cls, build: Build, order: Order, passed: tuple[int, ...], is_heard: bool) -> ConfinedProcess:
        """One that waits for its orders. Better not cancelled: when bubblewrap is killed in the middle of its work,
        what it has started waits for it for ever.
        """
        is_bubblewrap = build.confinement is Confinement.BUBBLEWRAP
        lifeline_end, lifeline = os.pipe()
        # bubblewrap writes who the first inside is. It gets the other end, too: else it would die of writing when the
        # server has ended.
        info_end, info = os.pipe()
        order = replace(order, lifeline=lifeline_end, info=info, info_end=info_end)
        given = (lifeline_end, info, info_end) if is_bubblewrap else (lifeline_end,)
        try:
            process = await asyncio.create_subprocess_exec(
                *command.argv(build, order),
                stdin=PIPE,
                stdout=PIPE if is_heard else DEVNULL,
                stderr=PIPE,
                env=command.environment(build, order),
                cwd="/",
                pass_fds=(*given, *passed),
                start_new_session=True,
                limit=PIPE_BUFFER_BYTES,
            )
        except BaseException:
            os.close(info_end)
            os.close(lifeline)
            raise
        finally:
            os.close(info)
            os.close(lifeline_end)
        try:
            root = await _first_inside(info_end) if is_bubblewrap else process.pid
            if root is None:
                raise SandboxStartError(await _complaint(process))
        except BaseException:
            os.close(lifeline)
            await undisturbed(asyncio.create_task(_abandon(process), name="end of a sandbox nobody knows"))
            raise
        finally:
            os.close(info_end)
        return cls(process, order, root, _handle_of(root) if is_bubblewrap else None, lifeline)

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
    # Not as a transport: uvloop closes such a pipe's descriptor twice, and the second time it can be another's, such as
    # the database's (https://github.com/MagicStack/uvloop/issues/763).
    loop, readable, told = asyncio.get_running_loop(), asyncio.Event(), b""
    os.set_blocking(info, False)
    loop.add_reader(info, readable.set)
    try:
        while b"}" not in told:
            readable.clear()
            await readable.wait()
            try:
                more = os.read(info, COMPLAINT_MAX_BYTES)
            except BlockingIOError:
                # Said twice of what was read at once.
                continue
            if not more:
                break
            told += more
    finally:
        loop.remove_reader(info)
    return int(json.loads(told)["child-pid"]) if told else None


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def _handle_of(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


async def _end_unwanted(making: asyncio.Task[ConfinedProcess]) -> None:
    """Once it is made it can be ended cleanly, and that takes a moment only."""
    await asyncio.wait({making}, timeout=END_TIMEOUT_S)
    if not making.done():
        logger.error("A sandbox can't be made; it is given up")
        making.cancel()
        await asyncio.wait({making})
    if not making.cancelled() and not making.exception():
        await making.result().kill()


async def _abandon(process: Process) -> None:
    """Where nobody knows who is inside: what waits there for its orders ends itself when they can't come any more."""
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
