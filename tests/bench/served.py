"""The servers under test: the site under both servers, and the limits beside it.

Each is started when it is first wanted, on a core of its own, and lives until the end of the run.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench import clocks
from tests.bench.report import OURS
from tests.bench.speech import Html, Json, Plain, Speech
from tests.processes import Spawned, wait_until
from tests.server import ROOT, ServerProcess, free_port

UVICORN = [
    *(sys.executable, "-m", "uvicorn", "agentsite.asgi:application", "--port", "{port}"),
    *("--ws-per-message-deflate", "false", "--log-level", "warning"),
]
FILL_TIMEOUT_S = 600
STARTS_WITHIN_S = 60
# Far above what one machine can carry, so that no limit of the site is what is measured.
NO_LIMITS = {
    "AGENT_SOCKETS_MAX_PER_USER": "10000",
    "AGENT_SOCKETS_MAX_PER_ADDRESS": "20000",
    "AGENT_MESSAGES_MAX_PER_HOUR": "1000000",
    "AGENT_RUNS_MAX_PER_USER": "10000",
    # Kernels are processes of their own.
    "AGENT_SANDBOX_WARM_KERNELS": "0",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Seat:
    """Where one reader sits: an address at a server, and how to speak there."""

    port: int
    path: str
    speech: Speech
    cookie: str = ""
    conversation: str = ""


class Limit:
    """A program that only passes tokens on: how good anything could be."""

    def __init__(
        self, app: str, folder: Path, command: Callable[[int], Sequence[str]], upstream: str, **environ: str
    ) -> None:
        self.app = app
        self.port = free_port()
        environ = {**os.environ, "OPENAI_BASE_URL": upstream, "PYTHONUNBUFFERED": "1", **environ}
        self._process = Spawned(
            command(self.port), folder=ROOT, environ=environ, log=folder / f"{app.replace(' ', '-')}.log"
        )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def start(self, core: int) -> None:
        """Come up."""
        self._process.launch()
        wait_until(self._listens, within_s=30, what=f"{self.app}; see {self._process.log}")
        clocks.pin(self.pid, {core})

    def _listens(self) -> bool:
        assert self._process.is_running, self._process.log_text
        import socket

        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    async def seats(self, count: int, frames: str = "") -> list[Seat]:
        """So many of them."""
        return [Seat(port=self.port, path="/ws", speech=Plain())] * count

    def close(self) -> None:
        """Leave nothing behind."""
        self._process.close()


class SiteUnderTest:
    """The site as it is deployed on one machine: SQLite, embedded, all defaults."""

    def __init__(
        self, app: str, folder: Path, upstream: str, *, command: list[str] | None = None, **settings: str
    ) -> None:
        self.app = app
        folder.mkdir()
        self.server = ServerProcess(folder, upstream=upstream, command=command, **NO_LIMITS, **settings)
        self.port = self.server.port
        self._must_migrate = command is not None

    @property
    def pid(self) -> int:
        """Its process id."""
        return self.server.pid

    def start(self, core: int) -> None:
        """Come up."""
        if self._must_migrate:
            done = self.server.manage("migrate", "-v", "0")
            assert done.returncode == 0, done.stderr
        self.server.start(within_s=STARTS_WITHIN_S)
        clocks.pin(self.pid, {core})

    async def fill(self, *words: str) -> object:
        """Put something into its database; see `tests.bench.fill`."""
        return await asyncio.to_thread(self._fill, words)

    def _fill(self, words: Sequence[str]) -> object:
        done = subprocess.run(
            [sys.executable, "-m", "tests.bench.fill", *words],
            cwd=ROOT,
            env=self.server.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=FILL_TIMEOUT_S,
        )
        assert done.returncode == 0, done.stderr
        filled: object = json.loads(done.stdout)
        return filled

    async def seats(self, count: int, frames: str = "html") -> list[Seat]:
        """New people, each with a new conversation."""
        people = await self.fill("people", str(count))
        assert isinstance(people, list)
        return [self.seat(person["cookie"], person["conversation"], frames) for person in people]

    def seat(self, cookie: str, conversation: str, frames: str = "html") -> Seat:
        """A place in a conversation."""
        path = f"/ws/c/{conversation}/" + ("?format=json" if frames == "json" else "")
        speech = Json() if frames == "json" else Html()
        return Seat(port=self.port, path=path, speech=speech, cookie=cookie, conversation=conversation)

    def close(self) -> None:
        """Leave nothing behind."""
        self.server.close()


def relay(folder: Path, upstream: str) -> Limit:
    """Bytes in, bytes out, without any framework."""
    return Limit(
        "bare relay", folder, lambda port: [sys.executable, "-m", "tests.bench.limits.relay", str(port)], upstream
    )


def channels(folder: Path, upstream: str) -> Limit:
    """The least that Channels and daphne can do."""
    words = [sys.executable, "-m", "daphne", "-b", "127.0.0.1", "-v", "0"]
    application = "tests.bench.limits.minimal:application"
    return Limit("Channels + daphne", folder, lambda port: [*words, "-p", str(port), application], upstream)


def daphne(folder: Path, upstream: str) -> SiteUnderTest:
    """The site as `make run` serves it."""
    return SiteUnderTest(OURS, folder / "daphne", upstream)


def uvicorn(folder: Path, upstream: str) -> SiteUnderTest:
    """The site under the other server."""
    return SiteUnderTest(f"{OURS}, uvicorn", folder / "uvicorn", upstream, command=UVICORN)
