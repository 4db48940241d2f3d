"""The sandbox as the rest of the project sees it: executes code for a conversation, stops it, keeps its files.

Knows all rooms and how many kernels there may be; keeps kernels warm, ends idle ones, watches the limits in total.
One for each process; a conversation's kernel lives in the process that executes for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import re
import secrets
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from chat.tools.sandbox import availability
from chat.tools.sandbox.availability import Availability, Available, Unavailable
from chat.tools.sandbox.command import Build, Confinement
from chat.tools.sandbox.confined import undisturbed
from chat.tools.sandbox.folder import WorkFolder
from chat.tools.sandbox.kernel import Kernel
from chat.tools.sandbox.room import Furnished, Place, Room
from chat.tools.sandbox.values import (
    OnOutput,
    Outcome,
    SandboxFullError,
    SandboxSettings,
    SandboxStartError,
    SandboxUnavailableError,
)
from chat.tools.sandbox.watcher import Watcher

T = TypeVar("T")

logger = logging.getLogger(__name__)

WATCH_INTERVAL_S = 0.1
# While nothing is executed.
WATCH_INTERVAL_IDLE_S = 0.5
# A new warm kernel takes a second of CPU, which whoever took the last one should have for himself.
REFILL_DELAY_S = 1.0
# When one did not start, before the next try.
REFILL_RETRY_DELAY_S = 10.0
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
# Folders of a process, beside the conversations' own. Who holds the lock in one lives.
_OWN_PREFIX, _LOCK = ".process-", "lock"


class Sandbox:
    """Confined kernels and shells for conversations, named by any text of letters, digits, `-` and `_`.

    `start` first, `close` last, both on the event loop that lives as long as the server: what the loop's thread has
    started dies with it. Everything raises SandboxUnavailableError where code can't be executed safely.
    """

    def __init__(self, settings: SandboxSettings) -> None:
        self._settings = settings
        self._availability: Availability | None = None
        self._is_known = asyncio.Event()
        self._rooms: dict[str, Room] = {}
        self._warm: list[Furnished] = []
        self._own_folder = settings.work_root / f"{_OWN_PREFIX}{secrets.token_hex(8)}"
        self._lock: int | None = None
        self._starting = 0
        self._user_ids: set[int] = set()
        self._watcher = Watcher(settings.limits)
        self._watch: asyncio.Task[None] | None = None
        self._refill: asyncio.Task[None] | None = None
        self._evictions: set[asyncio.Task[None]] = set()

    async def start(self) -> Availability:
        """Find out whether and how code can be executed here, and start to warm up. Says which it is."""
        found: Availability = Unavailable(reason="The sandbox could not start.", remedy="The server's log says why.")
        try:
            found = await availability.find_out(self._settings.venv)
            if isinstance(found, Available):
                await asyncio.to_thread(self._take_work_root)
        finally:
            self._availability = found
            self._is_known.set()
        if isinstance(found, Available):
            self._watch = asyncio.create_task(self._keep_watch(), name="sandbox watch")
            self._refill_soon(0)
        return found

    @property
    def availability(self) -> Availability | None:
        """Whether code can be executed, by which means, or why not; None before that is known."""
        return self._availability

    async def known_availability(self) -> Availability:
        """The same, once it is known."""
        await self._is_known.wait()
        assert self._availability is not None  # noqa: S101 - nobody takes it away
        return self._availability

    @property
    def warm_kernels(self) -> int:
        """How many wait for somebody."""
        return len(self._warm)

    async def execute(
        self, conversation: str, code: str, *, on_output: OnOutput, timeout_s: float | None = None
    ) -> Outcome:
        """Execute a cell in the conversation's kernel, in which earlier cells' variables live.

        timeout_s: None for what the settings say. When this is cancelled, the cell is stopped first. Raises
        SandboxFullError, SandboxStartError.
        """
        return await self._room(conversation).execute(code, on_output, self._timeout_s(timeout_s))

    async def run_shell(
        self, conversation: str, command: str, *, on_output: OnOutput, timeout_s: float | None = None
    ) -> Outcome:
        """Run a command with bash, as confined as a cell and in the same work folder.

        timeout_s: None for what the settings say. When this is cancelled, the command is killed first. Raises
        SandboxStartError.
        """
        return await self._room(conversation).run_shell(command, on_output, self._timeout_s(timeout_s))

    def _timeout_s(self, wished_s: float | None) -> float:
        return self._settings.execution_timeout_s if wished_s is None else wished_s

    async def interrupt(self, conversation: str) -> None:
        """Stop what the conversation executes: by an interrupt, and by killing its whole tree when that does not help.

        Returns when nothing of it runs; the execution then ends as interrupted. Without effect when nothing runs, and
        on what still waits for its turn or for its kernel: cancelling an execution stops it in every state.
        """
        room = self._rooms.get(conversation)
        if room:
            await room.interrupt()

    async def close_kernel(self, conversation: str) -> None:
        """End the conversation's kernel: its variables go, its files stay."""
        await self._close(conversation, "It was closed.")

    def folder(self, conversation: str) -> WorkFolder:
        """The conversation's work folder, which may not exist yet. Its methods block. Works where execution is off,
        too.
        """
        if not _NAME.fullmatch(conversation):
            raise ValueError(f"not a name of a conversation: {conversation!r}")
        return WorkFolder(self._settings.work_root / conversation)

    async def close(self) -> None:
        """End every process. Work folders stay."""
        for task in (self._watch, self._refill):
            if task:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        await asyncio.gather(*self._evictions, return_exceptions=True)
        warm, self._warm = self._warm, []
        await asyncio.gather(
            *(self._close(name, "The sandbox was closed.") for name in list(self._rooms)),
            *(each.kernel.kill("It was closed.") for each in warm),
        )
        if self._lock is not None:
            await asyncio.to_thread(WorkFolder(self._own_folder).remove)
            os.close(self._lock)
            self._lock = None
        self._availability = Unavailable(reason="The sandbox was closed.", remedy="Start it.")

    def _build(self) -> Build:
        match self._availability:
            case Available(build=build):
                return build
            case Unavailable(reason=reason, remedy=remedy):
                raise SandboxUnavailableError(f"{reason} {remedy}")
            case None:
                raise SandboxUnavailableError("The sandbox was not started.")

    def _room(self, conversation: str) -> Room:
        build = self._build()
        room = self._rooms.get(conversation)
        if room is None:
            folder = self.folder(conversation)
            room = Room(
                folder=folder,
                build=build,
                settings=self._settings,
                furnish=self._furnish,
                enter=self._enter,
                leave=self._leave,
            )
            self._rooms[conversation] = room
        return room

    async def _close(self, conversation: str, reason: str) -> None:
        room = self._rooms.get(conversation)
        if room:
            await room.close(reason)
            if not room.is_busy and not room.has_kernel:
                self._rooms.pop(conversation, None)

    async def _furnish(self, folder: WorkFolder) -> Furnished:
        """A warm kernel that moves into the conversation's folder, or a new one in it."""
        while self._warm:
            furnished = self._warm.pop(0)
            self._refill_soon(REFILL_DELAY_S)
            if not furnished.kernel.is_alive:
                await self._leave(furnished.place)
                continue
            try:
                await _in_thread(self._move_in, furnished.place, folder)
            except BaseException:
                await furnished.kernel.kill("It could not move in.")
                await self._leave(furnished.place)
                raise
            return furnished
        await self._make_room_for_kernel()
        place = await self._enter(folder)
        return await self._start_kernel(place)

    def _move_in(self, place: Place, folder: WorkFolder) -> None:
        """The kernel's own folder takes what the conversation's holds, and its place: a mount can't be changed, a
        name can.
        """
        if folder.path.exists():
            folder.create(place.user_id)
        place.folder.move_contents_from(folder)

    async def _enter(self, folder: WorkFolder) -> Place:
        user_id = availability.new_user_id(frozenset(self._user_ids))
        if user_id is not None:
            self._user_ids.add(user_id)
        scratch = None
        if self._build().confinement is Confinement.LANDLOCK:
            scratch = self._own_folder / f"scratch-{secrets.token_hex(8)}"
        place = Place(folder=folder, scratch=scratch, user_id=user_id)
        try:
            for each in (folder, WorkFolder(scratch) if scratch else None):
                if each:
                    await _in_thread(each.create, user_id)
        except BaseException:
            await self._leave(place)
            raise
        return place

    async def _leave(self, place: Place) -> None:
        if place.scratch:
            await asyncio.to_thread(WorkFolder(place.scratch).remove)
        if place.user_id is not None:
            self._user_ids.discard(place.user_id)

    async def _start_kernel(self, place: Place) -> Furnished:
        self._starting += 1
        try:
            kernel = await Kernel.start(
                self._build(), place.order(self._settings.limits), timeout_s=self._settings.start_timeout_s
            )
        except BaseException:
            await self._leave(place)
            raise
        finally:
            self._starting -= 1
        return Furnished(place=place, kernel=kernel)

    @property
    def _kernels(self) -> int:
        return self._starting + len(self._warm) + sum(room.has_kernel for room in self._rooms.values())

    async def _make_room_for_kernel(self) -> None:
        while self._kernels >= self._settings.kernels_max:
            idle = [
                (room.idle_since_s, name) for name, room in self._rooms.items() if room.has_kernel and not room.is_busy
            ]
            if not idle:
                raise SandboxFullError
            await self.close_kernel(min(idle)[1])

    def _refill_soon(self, delay_s: float) -> None:
        if self._refill is None or self._refill.done():
            self._refill = asyncio.create_task(self._keep_warm(delay_s), name="sandbox warm-up")

    async def _keep_warm(self, delay_s: float) -> None:
        while len(self._warm) < self._settings.warm_kernels and self._kernels < self._settings.kernels_max:
            await asyncio.sleep(delay_s)
            place = await self._enter(WorkFolder(self._own_folder / f"warm-{secrets.token_hex(8)}"))
            try:
                self._warm.append(await self._start_kernel(place))
            except SandboxStartError as fault:
                logger.error("No warm kernel: %s", fault)
                delay_s = REFILL_RETRY_DELAY_S

    async def _keep_watch(self) -> None:
        while True:
            is_busy = any(room.is_busy for room in self._rooms.values())
            await asyncio.sleep(WATCH_INTERVAL_S if is_busy else WATCH_INTERVAL_IDLE_S)
            try:
                await self._look_around()
            except Exception:
                logger.exception("The sandbox's watch failed once")

    async def _look_around(self) -> None:
        rooms = list(self._rooms.items())
        broken = await asyncio.to_thread(lambda: [self._watcher.broken_limit(room) for _, room in rooms])
        now = time.monotonic()
        for (name, room), reason in zip(rooms, broken, strict=True):
            if reason:
                self._hold(self._close(name, reason), f"eviction of {name}")
            elif not room.is_busy and now - room.idle_since_s > self._settings.idle_timeout_s:
                self._hold(self.close_kernel(name), f"end of {name}'s idle kernel")

    def _hold(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.create_task(work, name=name)
        self._evictions.add(task)
        task.add_done_callback(self._evictions.discard)

    def _take_work_root(self) -> None:
        """Make this process's own folder, and remove those of processes that are gone."""
        self._own_folder.mkdir(parents=True, mode=0o711)
        self._lock = os.open(self._own_folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        for other in self._settings.work_root.glob(f"{_OWN_PREFIX}*"):
            if other != self._own_folder and _is_abandoned(other):
                # Another process may be at it, too.
                with contextlib.suppress(OSError):
                    WorkFolder(other).remove()


async def _in_thread(work: Callable[..., T], *arguments: Any) -> T:
    """Wait for it although cancelled: a thread can't be stopped half-way, and nobody may come in between."""
    return await undisturbed(asyncio.create_task(asyncio.to_thread(work, *arguments), name="sandbox files"))


def _is_abandoned(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(lock)
        return True
    return False
