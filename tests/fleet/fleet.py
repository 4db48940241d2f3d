"""A site of several web processes and workers, which looks like one server to whoever visits it.

Visitors come in by an address behind which the web processes take turns, as behind a load balancer. Must not know what
the site does.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from tests.fleet.links import Network
from tests.fleet.machine import HERE, Machine
from tests.processes import Spawned, wait_until
from tests.server import ROOT, ServerProcess

# What a worker says once it takes orders.
IS_READY = " runs at once\n"
# Nobody waits for it; it only ends a test that would hang, on a machine on which much else goes on.
STARTED_WITHIN_S = 120


class WorkerProcess(Spawned):
    """`manage.py worker`. Can be killed, held and started again."""

    def __init__(self, folder: Path, *, environ: dict[str, str], within: tuple[str, ...] = ()) -> None:
        super().__init__(
            [*within, sys.executable, "manage.py", "worker"], folder=ROOT, environ=environ, log=folder / "worker.log"
        )
        self._said_before = 0

    def launch(self) -> None:
        """Begin to come up; returns at once."""
        self._said_before = len(self.log_text)
        super().launch()

    def start(self, *, within_s: float = STARTED_WITHIN_S) -> None:
        """Come up; returns when it takes orders."""
        self.launch()
        wait_until(self.is_ready, within_s=within_s, what=f"a worker to be ready; see {self.log}")

    def is_ready(self) -> bool:
        """Whether it takes orders. Fails when it has ended by itself."""
        said = self.log_text[self._said_before :]
        assert self.is_running, f"the worker ended by itself:\n{said}"
        return IS_READY in said


class WebProcess(ServerProcess):
    """`manage.py serve` as one of several."""

    def __init__(self, folder: Path, *, environ: dict[str, str], machine: Machine = HERE) -> None:
        words = [sys.executable, "manage.py", "serve", "--host", machine.outside, "--port", "{port}"]
        super().__init__(folder, command=[*machine.within, *words])
        self.environ = environ
        self.address = (machine.outside, self.port)
        self.base = f"http://{machine.outside}:{self.port}"

    def start(self, *, within_s: float = STARTED_WITHIN_S, path: str = "/readyz") -> None:
        """Come up; returns when it answers at this path."""
        super().start(within_s=within_s, path=path)


@dataclass(frozen=True, kw_only=True, slots=True)
class Seat:
    """Where a process runs, and where it finds its services and the model server from there."""

    database_url: str
    redis_url: str
    upstream: str
    machine: Machine = HERE

    def settings(self) -> dict[str, str]:
        """What the environment says of it."""
        return {"DATABASE_URL": self.database_url, "REDIS_URL": self.redis_url, "OPENAI_BASE_URL": self.upstream}


class Fleet(ServerProcess):
    """Web processes and workers, none of them started.

    seat_of: where each sits, by its name: `web-0`, `worker-0`, and so on; `manage` for commands.
    settings: further environment variables of all of them.
    """

    def __init__(
        self,
        folder: Path,
        net: Network,
        seat_of: Callable[[str], Seat],
        settings: Mapping[str, str] = MappingProxyType({}),
        *,
        webs: int = 2,
        workers: int = 2,
    ) -> None:
        seat = seat_of("manage")
        super().__init__(folder, upstream=seat.upstream, command=None, **{**settings, **seat.settings()})
        self.webs: list[WebProcess] = []
        self.workers: list[WorkerProcess] = []
        for name in (*(f"web-{number}" for number in range(webs)), *(f"worker-{number}" for number in range(workers))):
            seat, own = seat_of(name), folder / name
            own.mkdir()
            environ = self.environ | seat.settings()
            if name.startswith("web"):
                self.webs.append(WebProcess(own, environ=environ, machine=seat.machine))
            else:
                self.workers.append(WorkerProcess(own, environ=environ, within=seat.machine.within))
        self.balancer = net.link(*(web.address for web in self.webs))
        self.port = self.balancer.port
        self.base = f"http://127.0.0.1:{self.port}"

    @property
    def processes(self) -> Sequence[WebProcess | WorkerProcess]:
        """All of them, web processes first."""
        return (*self.webs, *self.workers)

    def launch(self) -> None:
        """Begin to come up; the first web process makes the tables before the others come."""
        self.webs[0].start(path="/healthz")
        for process in self.processes[1:]:
            process.launch()

    def start(self, *, within_s: float = STARTED_WITHIN_S, path: str = "/readyz") -> None:
        """Come up; returns when all answer and take orders."""
        self.launch()
        for web in self.webs:
            wait_until(lambda web=web: web.answers(path), within_s=within_s, what=f"a web process; see {web.log}")  # type: ignore[misc]
        for worker in self.workers:
            wait_until(worker.is_ready, within_s=within_s, what=f"a worker; see {worker.log}")

    def stop(self, with_signal: int = signal.SIGTERM, *, within_s: float = 60) -> int:
        """Ask all of them to end; the first exit code that is not 0."""
        with ThreadPoolExecutor() as pool:
            codes = list(pool.map(lambda process: process.stop(with_signal, within_s=within_s), self.processes))
        return next((code for code in codes if code), 0)

    def kill(self) -> None:
        """`kill -9` to all of them."""
        for process in self.processes:
            process.kill()

    def close(self) -> None:
        """Leave nothing behind."""
        for process in self.processes:
            process.close()

    @property
    def log_text(self) -> str:
        """What all of them have said so far."""
        return "".join(process.log_text for process in self.processes)

    @property
    def memory_mb(self) -> float:
        """What the web processes hold in memory now, in MiB."""
        return sum(web.memory_mb for web in self.webs)
