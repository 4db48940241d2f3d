"""Tells at once, on one machine, whether a process is dead: each holds a lock that the kernel lets go with it.

Heartbeats tell the same for every machine, but only after a while. Must not know what processes do.
"""

from __future__ import annotations

import fcntl
import uuid
from pathlib import Path
from typing import IO


class Liveness:
    """The locks of the processes that share a folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: IO[bytes] | None = None
        self._path: Path | None = None

    def hold(self, process_id: uuid.UUID) -> None:
        """Show that this process lives, until it ends."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._path = self._folder / f"{process_id}.lock"
        # Locked before it has its name: nobody finds it without its lock and takes us for dead.
        unnamed = self._path.with_suffix(".new")
        self._held = unnamed.open("wb")
        fcntl.flock(self._held, fcntl.LOCK_EX)
        unnamed.rename(self._path)

    def release(self) -> None:
        """This process performs nothing any more."""
        if self._held is not None and self._path is not None:
            self._path.unlink(missing_ok=True)
            self._held.close()
            self._held = self._path = None

    def is_dead(self, process_id: uuid.UUID) -> bool:
        """Whether that process ran on this machine and is gone. False also when nothing is known of it."""
        path = self._folder / f"{process_id}.lock"
        try:
            with path.open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
        except (FileNotFoundError, BlockingIOError):
            return False
        return True

    def forget_dead(self) -> None:
        """Remove what dead processes left here. Only after what they had was taken over: then it tells nothing more."""
        for path in self._folder.glob("*.lock"):
            self.is_dead(uuid.UUID(path.stem))
