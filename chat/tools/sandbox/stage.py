"""Run as a script, by root alone: becomes another user and then another program.

An ordinary user may not enter root's own folders, where the project and its Python may lie. So this makes a private
view of the file system first, in which the few folders that are needed can be reached, and nothing beside them.
"""

from __future__ import annotations

import ctypes
import json
import os
import stat
import sys

_CLONE_NEWNS = 0x20000
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 4096, 16384, 1 << 18


def main() -> None:
    """orders: user_id (also the group), reach (absolute paths to keep), argv (what to become)."""
    orders = json.loads(sys.argv[1])
    _open_the_way(orders["reach"])
    user_id = int(orders["user_id"])
    os.chdir("/")
    os.setgroups([])
    os.setresgid(user_id, user_id, user_id)
    os.setresuid(user_id, user_id, user_id)
    os.execve(orders["argv"][0], orders["argv"], dict(os.environ))  # noqa: S606


def _open_the_way(paths: list[str]) -> None:
    barred = {bar for path in paths if (bar := _first_barred_ancestor(path))}
    if not barred:
        return
    libc = ctypes.CDLL(None, use_errno=True)

    def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
        done = libc.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode())
        if done != 0:
            raise OSError(ctypes.get_errno(), f"mounting {target}: {os.strerror(ctypes.get_errno())}")

    if libc.unshare(_CLONE_NEWNS) != 0:
        sys.exit(f"another user can't enter {', '.join(sorted(barred))}, and root may not mount here")
    mount("none", "/", "none", _MS_REC | _MS_PRIVATE)
    # Opened in the new view: what was opened in the old one can't be mounted here.
    files = {path: os.open(path, os.O_PATH | os.O_CLOEXEC) for path in paths if _first_barred_ancestor(path)}
    for bar in barred:
        mount("none", bar, "tmpfs", _MS_NOSUID | _MS_NODEV, "mode=0755,size=1m")
    for path, file in files.items():
        os.makedirs(path, mode=0o755, exist_ok=True)
        mount(f"/proc/self/fd/{file}", path, "none", _MS_BIND | _MS_REC)


def _first_barred_ancestor(path: str) -> str | None:
    parts = path.strip("/").split("/")
    for end in range(1, len(parts)):
        ancestor = "/" + "/".join(parts[:end])
        if not os.stat(ancestor).st_mode & stat.S_IXOTH:
            return ancestor
    return None


if __name__ == "__main__":
    main()
