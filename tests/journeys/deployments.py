"""The two ways to deploy: one process that does everything, and several that share the work.

Journeys that ask for the fixture `deployment`, or for a `server` that comes of it, are made on both.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from tests.fleet.fleet import Fleet, Seat
from tests.fleet.links import Network
from tests.fleet.postgres import PostgresProcess
from tests.fleet.redis import redis
from tests.journeys.serving import serving
from tests.server import ServerProcess


class Deployment(Protocol):
    """A way to deploy."""

    def site(self, folder: Path, *, upstream: str, **settings: str) -> AbstractContextManager[ServerProcess]:
        """A site that is not started, and what it needs."""
        ...


class Embedded:
    """As `make run` starts it."""

    @contextmanager
    def site(self, folder: Path, *, upstream: str, **settings: str) -> Iterator[ServerProcess]:
        """On a database of its own."""
        yield ServerProcess(folder, upstream=upstream, command=None, **settings)


class SeveralProcesses:
    """Two web processes and two workers on PostgreSQL and Redis; sockets and requests take turns."""

    def __init__(self, net: Network, database: PostgresProcess) -> None:
        self._net = net
        self._database = database

    @contextmanager
    def site(self, folder: Path, *, upstream: str, **settings: str) -> Iterator[ServerProcess]:
        """In a database of its own, with a Redis of its own."""
        with redis() as layer:
            seat = Seat(
                database_url=self._database.url(self._database.new_database()),
                redis_url=layer.url(),
                upstream=upstream,
            )
            yield Fleet(folder, self._net, lambda name: seat, settings)


@contextmanager
def deployed(deployment: Deployment, folder: Path, *, upstream: str, **settings: str) -> Iterator[ServerProcess]:
    """A site that runs, and that is seen to end well."""
    with deployment.site(folder, upstream=upstream, **settings) as site, serving(site):
        yield site
