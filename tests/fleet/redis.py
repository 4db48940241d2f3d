"""A Redis of its own for tests, which keeps nothing."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.fleet.machine import HERE, Machine
from tests.needs import missing
from tests.processes import Spawned, wait_until
from tests.server import free_port

WHAT_TO_INSTALL = "The program redis-server is missing; install the package redis-server"
PING, PONG = b"*1\r\n$4\r\nPING\r\n", b"+PONG\r\n"


class RedisProcess(Spawned):
    """A server, not started. What it holds is gone when it ends."""

    def __init__(self, folder: Path, *, machine: Machine = HERE) -> None:
        program = shutil.which("redis-server")
        if program is None:
            missing(WHAT_TO_INSTALL)
        self.port = free_port()
        self.address = machine.address
        # Its socket is also reached from outside the machine.
        self._socket = folder / "redis.sock"
        words = ["--port", str(self.port), "--bind", machine.address, "--protected-mode", "no", "--save", ""]
        words += ["--appendonly", "no", "--dir", str(folder), "--unixsocket", str(self._socket)]
        super().__init__([*machine.within, program, *words], folder=folder, environ=os.environ, log=folder / "log")

    def url(self, *, address: str = "", port: int = 0) -> str:
        """Where it is; at another address, through a link."""
        return f"redis://{address or self.address}:{port or self.port}/0"

    def start(self) -> None:
        """Come up, empty."""
        self.launch()
        wait_until(self._answers, within_s=30, what=f"Redis to answer; see {self.log}")

    def _answers(self) -> bool:
        with suppress(OSError), socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(5)
            connection.connect(str(self._socket))
            connection.sendall(PING)
            return connection.recv(len(PONG)) == PONG
        return False


@contextmanager
def redis(machine: Machine = HERE) -> Iterator[RedisProcess]:
    """A running server. Where that can't be, the test is skipped with the reason; with `CI=true` it fails."""
    with tempfile.TemporaryDirectory(prefix="redis-", ignore_cleanup_errors=True) as folder:
        server = RedisProcess(Path(folder), machine=machine)
        try:
            server.start()
            yield server
        finally:
            server.close()
