"""Processes as /proc shows them, and programs that a test has started and can do anything to.

Must not know what the programs are.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

# No test waits for it; it only ends one that would hang.
HELD_WITHIN_S = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Running:
    """A process as /proc shows it. `started` tells it from a later one of the same id."""

    pid: int
    parent: int
    started: int
    words: bytes


def running() -> dict[int, Running]:
    """Every process that has not ended, by its id."""
    found = (_look(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return {each.pid: each for each in found if each is not None}


def _look(pid: int) -> Running | None:
    folder = Path(f"/proc/{pid}")
    words = b""
    try:
        # The name comes in parentheses and may hold anything.
        name, _, numbers = (folder / "stat").read_bytes().rpartition(b")")
        fields = numbers.split()
        if fields[0] in (b"Z", b"X"):
            return None
        with suppress(PermissionError):
            words = b"\0".join((name, (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()))
    except (FileNotFoundError, ProcessLookupError):
        return None
    return Running(pid=pid, parent=int(fields[1]), started=int(fields[19]), words=words)


def below(pid: int) -> list[Running]:
    """All descendants of a process."""
    everybody = running()
    found = {pid}
    grown = True
    while grown:
        children = {each.pid for each in everybody.values() if each.parent in found}
        grown = not children <= found
        found |= children
    return [everybody[each] for each in found - {pid} if each in everybody]


def still_running(before: Sequence[Running]) -> list[Running]:
    """Those of them that have not ended."""
    now = running()
    return [each for each in before if each.pid in now and now[each.pid].started == each.started]


def is_held(pid: int) -> bool:
    """Whether each thread of a process has come to the halt that SIGSTOP asks for."""
    try:
        stats = [path.read_bytes() for path in Path(f"/proc/{pid}/task").glob("*/stat")]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return {stat.rpartition(b")")[2].split()[0] for stat in stats} == {b"T"}


class Spawned:
    """A program in a session of its own. Can be killed, held and started again.

    Its output is appended to `log`.
    """

    def __init__(self, command: Sequence[str], *, folder: Path, environ: Mapping[str, str], log: Path) -> None:
        self.environ = dict(environ)
        self.log = log
        self._command = tuple(command)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        """Begin to come up; returns at once."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, cwd=self._folder, env=self.environ, stdout=log, stderr=log, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    @property
    def log_text(self) -> str:
        """What it has said so far."""
        return self.log.read_text() if self.log.exists() else ""

    def kill(self) -> None:
        """`kill -9`."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def kill_tree(self) -> None:
        """`kill -9` to it and all that it has started, and wait until all of it is gone."""
        self.pause()
        tree = below(self.pid)
        for each in tree:
            with suppress(ProcessLookupError):
                os.kill(each.pid, signal.SIGKILL)
        Spawned.kill(self)
        wait_until(lambda: not still_running(tree), within_s=HELD_WITHIN_S, what="what it had started to end")

    def pause(self) -> None:
        """Hold it and all that it has started, as on a machine that stands still."""
        os.kill(self.pid, signal.SIGSTOP)
        wait_until(lambda: is_held(self.pid), within_s=HELD_WITHIN_S, what="a process to be held")
        # Nothing more is started now.
        for each in below(self.pid):
            with suppress(ProcessLookupError):
                os.kill(each.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        for each in below(self.pid):
            with suppress(ProcessLookupError):
                os.kill(each.pid, signal.SIGCONT)
        os.kill(self.pid, signal.SIGCONT)

    def stop(self, with_signal: int = signal.SIGTERM, *, within_s: float = 15) -> int:
        """Ask it to end; its exit code."""
        assert self._process is not None
        self._process.send_signal(with_signal)
        return self.wait(within_s=within_s)

    def wait(self, *, within_s: float) -> int:
        """Until it has ended; its exit code."""
        assert self._process is not None
        return self._process.wait(within_s)

    def close(self) -> None:
        """Leave nothing behind."""
        if self.is_running:
            self.kill()


def wait_until(is_so: Callable[[], bool], *, within_s: float, what: str) -> None:
    """Look again and again, and fail with words when it does not come."""
    deadline = time.monotonic() + within_s
    while not is_so():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {within_s} s in vain for {what}")
        time.sleep(0.02)
