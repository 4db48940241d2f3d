"""A PostgreSQL of its own for tests, thrown away afterwards.

PostgreSQL refuses to run as root; then it runs as somebody who may do nothing.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import psycopg

from tests.fleet.machine import HERE, Machine
from tests.needs import missing
from tests.processes import Spawned, wait_until
from tests.server import free_port

WHAT_TO_INSTALL = "PostgreSQL's initdb and postgres are missing; install the package postgresql"
NO_ORDINARY_USER = "PostgreSQL refuses to run as root, and this machine has no user postgres or nobody; make one"
ORDINARY_USERS = ("postgres", "nobody")
# The tests kill programs, never the machine: what was written is there, on the disk or on its way.
SETTINGS = "fsync = off\nfull_page_writes = off\nmax_connections = 300\n"
USER = "agentsite"


class PostgresProcess(Spawned):
    """An empty server, not started. `folder` is a new one of its own."""

    def __init__(self, folder: Path, *, machine: Machine = HERE) -> None:
        programs = _programs()
        if programs is None:
            missing(WHAT_TO_INSTALL)
        as_whom = _as_ordinary_user(folder)
        self.port = free_port()
        self.address = machine.address
        data = folder / "data"
        done = subprocess.run(
            [*as_whom, str(programs / "initdb"), "-D", str(data), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync"],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"initdb failed:\n{done.stdout}"
        with (data / "postgresql.conf").open("a") as written:
            addresses = ",".join({machine.address, machine.outside})
            written.write(f"{SETTINGS}port = {self.port}\nlisten_addresses = '{addresses}'\n")
            written.write(f"unix_socket_directories = '{folder}'\n")
        with (data / "pg_hba.conf").open("a") as written:
            written.write("host all all samenet trust\n")
        super().__init__(
            [*machine.within, *as_whom, str(programs / "postgres"), "-D", str(data)],
            folder=folder,
            environ=os.environ,
            log=folder / "log",
        )
        # Whoever may not leave the machine still finds its socket here.
        self._sockets = folder

    def url(self, database: str = "postgres", *, address: str = "", port: int = 0) -> str:
        """Of a database; at another address, through a link."""
        return f"postgres://{USER}@{address or self.address}:{port or self.port}/{database}"

    def start(self) -> None:
        """Come up, also after it was killed."""
        self.launch()
        wait_until(self._answers, within_s=30, what=f"PostgreSQL to answer; see {self.log}")

    def new_database(self) -> str:
        """The name of a fresh one."""
        name = f"test_{uuid4().hex}"
        with self.connect() as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        return name

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        """A connection that no fault between machines reaches."""
        return psycopg.connect(
            host=str(self._sockets), port=self.port, user=USER, dbname=database, autocommit=True, connect_timeout=10
        )

    def kill(self) -> None:
        """`kill -9`, to all of it."""
        self.kill_tree()

    def end(self) -> None:
        """As an administrator ends it who waits for no client. First it writes all that it has."""
        assert self.stop(signal.SIGINT, within_s=120) == 0

    def close(self) -> None:
        """Leave nothing behind."""
        if self.is_running:
            self.kill()

    def _answers(self) -> bool:
        if not self.is_running:
            # What was killed may hold its shared memory for a moment.
            self.launch()
        with suppress(psycopg.OperationalError), self.connect():
            return True
        return False


@contextmanager
def postgres(machine: Machine = HERE) -> Iterator[PostgresProcess]:
    """A running server in a folder that only this user can look into.

    Where that can't be, the test is skipped with the reason; with `CI=true` it fails.
    """
    with tempfile.TemporaryDirectory(prefix="postgres-", ignore_cleanup_errors=True) as folder:
        server = PostgresProcess(Path(folder), machine=machine)
        try:
            server.start()
            yield server
        finally:
            server.close()


def _programs() -> Path | None:
    """The folder with PostgreSQL's programs, the newest when there are several."""
    packaged = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda folder: float(folder.parent.name), reverse=True
    )
    on_path = shutil.which("initdb")
    for folder in (*packaged, *([Path(on_path).parent] if on_path else [])):
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    return None


def _as_ordinary_user(place: Path) -> tuple[str, ...]:
    """What goes before a command so that it does not run as root, who gives the folder away for that."""
    if os.geteuid() != 0:
        return ()
    known = {entry.pw_name: entry for entry in pwd.getpwall()}
    user = next((known[name] for name in ORDINARY_USERS if name in known), None)
    if user is None:
        missing(NO_ORDINARY_USER)
    os.chown(place, user.pw_uid, user.pw_gid)
    return ("setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
