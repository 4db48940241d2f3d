"""What one conversation has of the sandbox: its work folder, its kernel, its running command; one execution at a time.

Knows how an execution becomes an outcome, and what happens when a limit in total is broken. Must not know other
conversations: the pool gives it kernels.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from chat.tools.sandbox.command import Build, Order
from chat.tools.sandbox.confined import ConfinedProcess
from chat.tools.sandbox.execution import Collector
from chat.tools.sandbox.folder import Scan, WorkFolder, changes
from chat.tools.sandbox.kernel import Kernel
from chat.tools.sandbox.shell import Shell
from chat.tools.sandbox.values import Limits, OnOutput, Outcome, SandboxSettings, Status


@dataclass(kw_only=True, slots=True)
class Place:
    """Where the processes of one room work, and as whom."""

    folder: WorkFolder
    # A private /tmp on disk, where bubblewrap does not give one; gone with the kernel.
    scratch: Path | None
    user_id: int | None

    def order(self, limits: Limits) -> Order:
        """What to confine a process with, once it is known what it runs."""
        return Order(folder=self.folder.path, scratch=self.scratch, limits=limits, run={}, user_id=self.user_id)


@dataclass(kw_only=True, slots=True)
class Furnished:
    """A kernel and where it works."""

    place: Place
    kernel: Kernel


class Room:
    """One conversation's share.

    furnish: gives it a kernel in its work folder. enter, leave: prepare what its processes need, and take it away.
    """

    def __init__(
        self,
        *,
        folder: WorkFolder,
        build: Build,
        settings: SandboxSettings,
        furnish: Callable[[WorkFolder], Awaitable[Furnished]],
        enter: Callable[[WorkFolder], Awaitable[Place]],
        leave: Callable[[Place], Awaitable[None]],
    ) -> None:
        self.folder = folder
        self.idle_since_s = time.monotonic()
        self._build = build
        self._settings = settings
        self._furnish = furnish
        self._enter = enter
        self._leave = leave
        self._turn = asyncio.Lock()
        self._furnished: Furnished | None = None
        self._place: Place | None = None
        self._shell: Shell | None = None
        self._users = 0
        self._before: Scan | None = None

    @property
    def is_busy(self) -> bool:
        """Whether something is executed here, or waits for its turn."""
        return self._users > 0

    @property
    def has_kernel(self) -> bool:
        """Whether a kernel lives here."""
        return self._furnished is not None and self._furnished.kernel.is_alive

    @property
    def place(self) -> Place | None:
        """Where its processes work; None before the first."""
        return self._place

    @property
    def processes(self) -> tuple[ConfinedProcess, ...]:
        """All that runs here."""
        found = [self._furnished.kernel.process] if self._furnished else []
        return tuple(found + ([self._shell.process] if self._shell else []))

    async def execute(self, code: str, on_output: OnOutput, timeout_s: float) -> Outcome:
        """Execute a cell in the kernel, a new one when there is none."""
        collector = Collector(self._settings.limits, on_output)
        async with self._in_turn():
            kernel = await self._kernel()
            started = time.monotonic()
            before = self._before = await asyncio.to_thread(self.folder.scan, self._settings.limits)
            status = await kernel.execute(
                code, collector=collector, timeout_s=timeout_s, grace_s=self._settings.interrupt_grace_s
            )
            duration_s = time.monotonic() - started
            self._note_timeout(collector, status, timeout_s)
            error = collector.error
            if status is Status.DIED:
                error = kernel.reason
            elif not kernel.is_alive:
                collector.note(f"The kernel was ended, and its variables are gone: {kernel.reason}")
            return await self._outcome(
                before, collector, status=status, error=error, keeps=kernel.is_alive, duration_s=duration_s
            )

    async def run_shell(self, command: str, on_output: OnOutput, timeout_s: float) -> Outcome:
        """Run a command with bash in the work folder."""
        limits = self._settings.limits
        collector = Collector(limits, on_output)
        async with self._in_turn():
            if self._place is None:
                self._place = await self._enter(self.folder)
            started = time.monotonic()
            before = self._before = await asyncio.to_thread(self.folder.scan, limits)
            self._shell = await Shell.start(
                self._build, self._place.order(limits), command=command, collector=collector
            )
            try:
                ending = await self._shell.run(timeout_s=timeout_s)
            finally:
                self._shell = None
            self._note_timeout(collector, ending.status, timeout_s)
            return await self._outcome(
                before,
                collector,
                status=ending.status,
                error=ending.reason,
                keeps=True,
                exit_code=ending.exit_code,
                duration_s=time.monotonic() - started,
            )

    async def interrupt(self) -> None:
        """Stop what is executed. Returns when nothing of it runs."""
        if self._shell:
            await self._shell.stop()
        elif self._furnished:
            await self._furnished.kernel.stop()

    async def close(self, reason: str) -> None:
        """End everything here, and bring the work folder within its limits. What is executed dies of this reason."""
        if self._shell:
            await self._shell.stop(Status.DIED, reason)
        if self._furnished:
            await self._furnished.kernel.kill(reason)
        async with self._turn:
            if not self.has_kernel:
                await self._clear()

    async def _kernel(self) -> Kernel:
        if self._furnished and self._furnished.kernel.is_alive:
            return self._furnished.kernel
        await self._clear()
        self._furnished = await self._furnish(self.folder)
        self._place = self._furnished.place
        return self._furnished.kernel

    async def _clear(self) -> None:
        if self._furnished:
            await self._furnished.kernel.kill("It was closed.")
            self._furnished = None
        place, self._place = self._place, None
        if place:
            await self._leave(place)
        if self._before:
            await asyncio.to_thread(self.folder.bring_within, self._settings.limits, self._before)

    @staticmethod
    def _note_timeout(collector: Collector, status: Status, timeout_s: float) -> None:
        if status is Status.TIMED_OUT:
            collector.note(f"It was stopped after {timeout_s:g} s, the most that it may take.")

    async def _outcome(
        self,
        before: Scan,
        collector: Collector,
        *,
        status: Status,
        error: str,
        keeps: bool,
        duration_s: float,
        exit_code: int | None = None,
    ) -> Outcome:
        limits = self._settings.limits
        after = await asyncio.to_thread(self.folder.scan, limits)
        if after.breach:
            # What broke it may still be writing.
            await self._clear()
            keeps = False
            collector.note(f"Its newest files were removed: {after.breach}.")
            after = await asyncio.to_thread(self.folder.scan, limits)
        changed = changes(before, after)
        if len(changed) > limits.files_reported_max:
            collector.note(f"{len(changed) - limits.files_reported_max:,} more files were written.")
        if after.skipped > before.skipped:
            collector.note(f"{after.skipped - before.skipped:,} entries that are not plain files are not shown.")
        return Outcome(
            status=status,
            result=collector.result,
            error=error,
            html=tuple(collector.html),
            images=tuple(collector.images),
            files=changed[: limits.files_reported_max],
            notes=tuple(collector.notes),
            has_kept_variables=keeps,
            exit_code=exit_code,
            duration_s=duration_s,
        )

    @contextlib.asynccontextmanager
    async def _in_turn(self) -> AsyncIterator[None]:
        self._users += 1
        try:
            async with self._turn:
                yield
        finally:
            self._users -= 1
            self.idle_since_s = time.monotonic()
