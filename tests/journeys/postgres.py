"""A PostgreSQL of its own for tests, thrown away afterwards.

PostgreSQL refuses to run as root; then it runs as somebody who may do nothing.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

from tests.server import free_port

WHAT_TO_INSTALL = "PostgreSQL's initdb and pg_ctl are missing; install the package postgresql"
NO_ORDINARY_USER = "PostgreSQL refuses to run as root, and this machine has no user postgres or nobody; make one"
ORDINARY_USERS = ("postgres", "nobody")
# Nothing in it outlives the tests, so nothing needs to reach the disk.
SETTINGS = "fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nmax_connections = 50\n"


def programs() -> Path | None:
    """The folder with PostgreSQL's programs, the newest when there are several."""
    packaged = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name), reverse=True
    )
    on_path = shutil.which("initdb")
    for folder in (*packaged, *([Path(on_path).parent] if on_path else [])):
        if (folder / "initdb").exists() and (folder / "pg_ctl").exists():
            return folder
    return None


@contextmanager
def postgres() -> Iterator[str]:
    """A running server; the URL of an empty database in it.

    Where that can't be, the test is skipped with the reason; with `CI=true` it fails.
    """
    folder = programs()
    if folder is None:
        _give_up(WHAT_TO_INSTALL)
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as name:
        place = Path(name)
        as_whom = _as_ordinary_user(place)
        data, port = place / "data", free_port()

        def run(program: str, *words: str) -> None:
            done = subprocess.run(
                [*as_whom, str(folder / program), *words],
                cwd=place,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            assert done.returncode == 0, f"{program} failed:\n{done.stdout}"

        run("initdb", "-D", str(data), "-U", "agentsite", "-A", "trust", "-E", "UTF8", "--no-sync")
        with (data / "postgresql.conf").open("a") as written:
            written.write(f"{SETTINGS}port = {port}\nlisten_addresses = '127.0.0.1'\n")
            written.write(f"unix_socket_directories = '{place}'\n")
        run("pg_ctl", "-D", str(data), "-l", str(place / "log"), "-w", "start")
        try:
            yield f"postgres://agentsite@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")


def _as_ordinary_user(place: Path) -> tuple[str, ...]:
    """What goes before a command so that it does not run as root, who gives the folder away for that."""
    if os.geteuid() != 0:
        return ()
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = next((known[name] for name in ORDINARY_USERS if name in known), None)
    if user is None:
        _give_up(NO_ORDINARY_USER)
    os.chown(place, user.pw_uid, user.pw_gid)
    return ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")


def _give_up(reason: str) -> NoReturn:
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
