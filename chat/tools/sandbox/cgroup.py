"""Bounds memory and processes of a room in the kernel itself, where the server may make control groups (version 2).

Knows the files of a control group. Where there is none to be had, nothing here does anything: the watcher counts in any
case. A group also counts what the watcher can't see: /tmp in memory, buffers of pipes and sockets.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from functools import cache
from pathlib import Path

from chat.tools.sandbox.values import Limits

_ROOT = Path("/sys/fs/cgroup")
_PREFIX = "agentsite-"


class Group:
    """One control group, which processes can be put into before they run foreign code."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @classmethod
    def create(cls, limits: Limits, parent: Path | None) -> Group | None:
        """A new one under `parent`; None when it can't be made or would not bound memory."""
        if parent is None:
            return None
        path = parent / f"{_PREFIX}{secrets.token_hex(8)}"
        try:
            path.mkdir()
        except OSError:
            return None
        group = cls(path)
        try:
            # /tmp and shared memory are counted here, on top of what the processes hold.
            (path / "memory.max").write_text(str(limits.memory_max_bytes + limits.tmp_max_bytes * 2))
            (path / "pids.max").write_text(str(limits.tasks_max * 2))
        except OSError:
            group.remove()
            return None
        for name, value in (("memory.swap.max", "0"), ("memory.oom.group", "1")):
            with contextlib.suppress(OSError):
                (path / name).write_text(value)
        return group

    def add(self, pids: tuple[int, ...]) -> None:
        """Put processes into it; their children will be in it, too."""
        for pid in pids:
            with contextlib.suppress(OSError):
                (self._path / "cgroup.procs").write_text(str(pid))

    @property
    def has_run_out_of_memory(self) -> bool:
        """Whether Linux killed something in it for that."""
        try:
            events = dict(line.split() for line in (self._path / "memory.events").read_text().splitlines())
        except (OSError, ValueError):
            return False
        return events.get("oom_kill", "0") != "0"

    def remove(self) -> None:
        """Once nothing of it runs."""
        with contextlib.suppress(OSError):
            self._path.rmdir()


@cache
def delegated() -> Path | None:
    """The group under which this process may make others that bound memory; None when there is none."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return None
    own = next((_ROOT / line[3:].strip("/") for line in lines if line.startswith("0::")), None)
    if own is None:
        return None
    # With systemd's DelegateSubgroup= the server is in a group below the one that is delegated to it.
    candidates = [own, *([own.parent] if _is_delegated(own.parent) else [])]
    return next((path for path in candidates if can_bound_memory(path)), None)


def can_bound_memory(path: Path) -> bool:
    """Whether groups below this one have the controllers, and this process may make some."""
    try:
        if not {"memory", "pids"} <= set((path / "cgroup.subtree_control").read_text().split()):
            (path / "cgroup.subtree_control").write_text("+memory +pids")
        return {"memory", "pids"} <= set((path / "cgroup.subtree_control").read_text().split())
    except OSError:
        return False


def _is_delegated(path: Path) -> bool:
    try:
        return os.getxattr(path, "user.delegate") == b"1"
    except OSError:
        return False
