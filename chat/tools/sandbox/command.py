"""Composes the command line and the orders of a confined process.

Knows bubblewrap's options and what the inside is made of. Starts nothing.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from chat.tools.sandbox import syscalls
from chat.tools.sandbox.values import Limits

INSIDE = Path(__file__).parent / "inside"
STAGE = Path(__file__).parent / "stage.py"
# Where the work folder is, seen from inside, where there is a file system of its own.
FOLDER_INSIDE = "/mnt/work"
# On top of the memory limit, because it is reserved and never touched: address space of code, shared libraries and
# mapped files; private memory of stacks and pools (a warm kernel has 260 MB of it and uses half).
ADDRESS_SPACE_EXTRA_BYTES = 3 << 30
PRIVATE_EXTRA_BYTES = 256 << 20
SHARED_MEMORY_MAX_BYTES = 64 << 20
# Reserved by Debian's policy, used by nobody. Each sandbox of root's gets its own, so that limits of a user hold for
# one.
USER_ID_FIRST, USER_IDS = 65000, 500

_SYSTEM_FOLDERS = ("/lib", "/lib32", "/lib64", "/libx32", "/bin", "/sbin")
_SYSTEM_FILES = ("/etc/ld.so.cache", "/etc/alternatives", "/etc/fonts", "/etc/localtime", "/etc/debian_version")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


class Confinement(StrEnum):
    """What holds the code in, besides seccomp and resource limits."""

    BUBBLEWRAP = "bubblewrap"
    LANDLOCK = "landlock"


@dataclass(frozen=True, kw_only=True, slots=True)
class Build:
    """What this machine's sandboxes are made of; the same for all of them."""

    confinement: Confinement
    # Absolute; None with Landlock.
    bwrap: Path | None
    venv: Path
    # The Python that the venv is made of: its prefix, and None when that lies under /usr anyway.
    python_home: Path | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Order:
    """One process to confine."""

    folder: Path
    # Beside the work folder; only with Landlock, which has no private /tmp.
    scratch: Path | None
    limits: Limits
    # What `inside/entry.py` becomes, and what it needs for it.
    run: dict[str, Any]
    # Root becomes this user first; None for an ordinary user, who stays who he is.
    user_id: int | None
    # Read inside: its other end is closed when the server is gone, and with Landlock to end the tree.
    lifeline: int | None = None
    # With bubblewrap: gets {"child-pid": …} as JSON. `info_end` is what that is read from.
    info: int | None = None
    info_end: int | None = None


def environment(build: Build, order: Order) -> dict[str, str]:
    """All variables that the confined process has."""
    tmp = str(order.scratch or "/tmp")  # noqa: S108 - its own
    return {
        "PATH": f"{build.venv}/bin:/usr/local/bin:/usr/bin:/bin",
        "HOME": f"{tmp}/home",
        "TMPDIR": tmp,
        "IPYTHONDIR": f"{tmp}/ipython",
        "MPLCONFIGDIR": f"{tmp}/matplotlib",
        "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "PYTHONDONTWRITEBYTECODE": "1",
        "OPENBLAS_NUM_THREADS": "2",
        "OMP_NUM_THREADS": "2",
    }


def argv(build: Build, order: Order) -> list[str]:
    """The command line, started as the server's own user."""
    # A shell needs no packages.
    packages = ["-S"] if order.run["run"] == "shell" else []
    entry = [str(build.venv / "bin" / "python"), "-I", *packages, "-X", "utf8", str(INSIDE / "entry.py")]
    confined = entry if build.confinement is Confinement.LANDLOCK else [*_bubblewrap(build, order), *entry]
    if order.user_id is None:
        return confined
    reach = [path for path in (build.venv, build.python_home, INSIDE, order.folder, order.scratch) if path]
    staged = {"user_id": order.user_id, "reach": [str(path) for path in reach], "argv": confined}
    return [sys.executable, "-I", "-S", str(STAGE), json.dumps(staged)]


def orders(build: Build, order: Order) -> bytes:
    """What `inside/entry.py` reads on standard input."""
    limits = order.limits
    has_own_namespaces = build.confinement is Confinement.BUBBLEWRAP
    tasks_of_others = 0 if has_own_namespaces or order.user_id is not None else _tasks_of_this_user()
    supervised = None
    if not has_own_namespaces:
        kept = (build.venv, build.python_home, INSIDE)
        supervised = {
            "read": ["/usr", *_SYSTEM_FOLDERS, *_SYSTEM_FILES, *(str(path) for path in kept if path)],
            "write": [str(order.folder), str(order.scratch)],
            "devices": list(_DEVICES),
        }
    return json.dumps(
        {
            "folder": FOLDER_INSIDE if has_own_namespaces else str(order.folder),
            "lifeline": order.lifeline,
            "unneeded": [order.info_end] if has_own_namespaces else [],
            "supervised": supervised,
            "filter": base64.b64encode(syscalls.compiled(has_own_namespaces=has_own_namespaces)).decode(),
            "limits": {
                "AS": limits.memory_max_bytes + ADDRESS_SPACE_EXTRA_BYTES,
                "DATA": limits.memory_max_bytes + PRIVATE_EXTRA_BYTES,
                "NPROC": limits.tasks_max + tasks_of_others,
                "FSIZE": limits.file_max_bytes,
                "NOFILE": limits.open_files_max,
                "CPU": limits.cpu_max_s,
                "CORE": 0,
                "MEMLOCK": 0,
                "MSGQUEUE": 0,
                "SIGPENDING": 256,
            },
            **order.run,
        }
    ).encode()


def _bubblewrap(build: Build, order: Order) -> list[str]:
    options = [str(build.bwrap), "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent"]
    options += ["--new-session", "--cap-drop", "ALL", "--uid", "1000", "--gid", "1000", "--hostname", "sandbox"]
    options += ["--info-fd", str(order.info)]
    options += ["--ro-bind", "/usr", "/usr"]
    for folder in _SYSTEM_FOLDERS:
        if os.path.islink(folder):
            options += ["--symlink", os.readlink(folder), folder]
        elif os.path.isdir(folder):
            options += ["--ro-bind", folder, folder]
    for file in _SYSTEM_FILES:
        options += ["--ro-bind-try", file, file]
    for name in ("passwd", "group"):
        options += ["--ro-bind", str(INSIDE / "etc" / name), f"/etc/{name}"]
    options += ["--proc", "/proc", "--dev", "/dev", "--size", str(SHARED_MEMORY_MAX_BYTES), "--tmpfs", "/dev/shm"]  # noqa: S108
    options += ["--remount-ro", "/dev", "--size", str(order.limits.tmp_max_bytes), "--tmpfs", "/tmp"]  # noqa: S108
    for path in (build.venv, build.python_home, INSIDE):
        if path:
            options += ["--ro-bind", str(path), str(path)]
    options += ["--bind", str(order.folder), FOLDER_INSIDE, "--remount-ro", "/", "--chdir", FOLDER_INSIDE]
    options += ["--clearenv"]
    for name, value in environment(build, order).items():
        options += ["--setenv", name, value]
    return [*options, "--"]


def _tasks_of_this_user() -> int:
    """An ordinary user's limit counts everything of his on the machine."""
    total = 0
    own = os.getuid()
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if os.stat(f"/proc/{name}").st_uid == own:
                    total += len(os.listdir(f"/proc/{name}/task"))
            except OSError:
                continue
    return total
