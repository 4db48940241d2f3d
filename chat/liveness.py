"""Tells at once, on one machine, whether a process is dead: each holds a lock that the kernel lets go with it.

Heartbeats tell the same for every machine, but only after a while. Must not know what processes do.
"""

from __future__ import annotations

import fcntl
import glob
import socket
import time
import uuid
from pathlib import Path
from typing import IO

# A lock is kept so long after its process: sites with other databases may share the folder, and have not looked yet.
FORGOTTEN_AFTER_S = 24 * 3600.0


class Liveness:
    """The locks of the processes of one machine that share a folder.

    machine: its name, in the names of its locks. Over a network a folder may be shared where locks are not: a lock of
    another machine looks free there, so nothing is said of it.
    """

    def __init__(self, folder: Path, *, machine: str | None = None) -> None:
        self._folder = folder
        self._machine = socket.gethostname() if machine is None else machine
        self._held: IO[bytes] | None = None
        self._path: Path | None = None

    def hold(self, process_id: uuid.UUID) -> None:
        """Show that this process lives, until it ends."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._path = self._path_of(process_id)
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
        return self._is_free(self._path_of(process_id))

    def forget_dead(self) -> None:
        """Remove what processes left here that are long dead."""
        for path in self._folder.glob(f"{glob.escape(self._machine)}.*.lock"):
            if self._is_free(path) and time.time() - path.stat().st_mtime > FORGOTTEN_AFTER_S:
                path.unlink(missing_ok=True)

    def _path_of(self, process_id: uuid.UUID) -> Path:
        return self._folder / f"{self._machine}.{process_id}.lock"

    def _is_free(self, path: Path) -> bool:
        try:
            with path.open("rb") as lock:
                # Shared: others may look at the same moment.
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except (FileNotFoundError, BlockingIOError):
            return False
        return True
