"""A whole site for faults: PostgreSQL, Redis, web processes and workers, each with links of its own to the services."""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import Ending
from tests.fleet.fleet import Fleet, Seat, WorkerProcess
from tests.fleet.links import Link, Loss, network
from tests.fleet.postgres import PostgresProcess, postgres
from tests.fleet.redis import RedisProcess, redis
from tests.processes import wait_until
from tests.server import Person

READY_WITHIN_S = 120.0
OWNER = """
SELECT owner FROM chat_run WHERE conversation_id = %s AND ended_at IS NULL
"""
CALL_OWNER = """
SELECT owner FROM chat_toolcall WHERE conversation_id = %s AND state = 'running'
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ground:
    """Everything that a fault can happen to. links: by the name of the process and of the service."""

    fleet: Fleet
    database: PostgresProcess
    database_name: str
    layer: RedisProcess
    upstream: ScriptedServer
    links: dict[tuple[str, str], Link]

    def person(self, *, web: int | None = None) -> Person:
        """Somebody who is logged in; at one web process alone, or at whichever has its turn."""
        return Person(self.fleet.base if web is None else self.fleet.webs[web].base).log_in()

    def rows(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        """What the database says, past all links."""
        with self.database.connect(self.database_name) as connection:
            return connection.execute(query.encode(), parameters).fetchall()

    def performer(self, conversation: str, query: str = OWNER) -> WorkerProcess:
        """The worker that performs what is open in a conversation, once one does."""
        found: list[WorkerProcess] = []

        def look() -> bool:
            owners = {str(owner) for (owner,) in self.rows(query, conversation)}
            found[:] = [worker for worker in self.fleet.workers if process_id(worker) in owners]
            return bool(found)

        wait_until(look, within_s=READY_WITHIN_S, what="a worker to take an order")
        return found[0]

    def questions(self) -> Counter[str]:
        """How often the model was asked each question."""
        return Counter(exchange.request.last_user_text for exchange in self.upstream.exchanges)

    def completions(self) -> Counter[str]:
        """How often the model answered each question to the end."""
        return Counter(
            exchange.request.last_user_text
            for exchange in self.upstream.exchanges
            if exchange.ending is Ending.COMPLETED
        )

    def mend(self) -> None:
        """Heal every link, and start whatever does not run."""
        for link in self.links.values():
            link.heal()
        if not self.database.is_running:
            self.database.start()
        if not self.layer.is_running:
            self.layer.start()
        for process in self.fleet.processes:
            if not process.is_running:
                process.start()
        for web in self.fleet.webs:
            wait_until(lambda web=web: web.answers("/readyz"), within_s=READY_WITHIN_S, what=f"{web.log}")  # type: ignore[misc]

    def check_replay(self) -> str:
        """What the command says; it must find nothing."""
        checked = self.fleet.manage("check_replay")
        assert checked.returncode == 0, checked.stdout + checked.stderr
        return checked.stdout.strip()


def process_id(worker: WorkerProcess) -> str:
    """By which the database knows a worker."""
    return str(uuid.UUID(re.findall(r"Worker ([0-9a-f-]{36}) ", worker.log_text)[-1]))


@contextmanager
def ground(
    folder: Path,
    upstream: ScriptedServer,
    settings: Mapping[str, str],
    *,
    webs: int = 2,
    workers: int = 2,
    loss: Loss | None = None,
) -> Iterator[Ground]:
    """A site that runs. loss: what the links to the Redis do to what it publishes."""
    with network() as net, postgres() as database, redis() as layer:
        name = database.new_database()
        links: dict[tuple[str, str], Link] = {}

        def seat_of(process: str) -> Seat:
            if process == "manage":
                return Seat(database_url=database.url(name), redis_url=layer.url(), upstream=upstream.base_url)
            to_database = links[process, "postgres"] = net.link((database.address, database.port))
            to_layer = links[process, "redis"] = net.link((layer.address, layer.port), loss=loss)
            return Seat(
                database_url=database.url(name, port=to_database.port),
                redis_url=layer.url(port=to_layer.port),
                upstream=upstream.base_url,
            )

        fleet = Fleet(folder, net, seat_of, settings, webs=webs, workers=workers)
        try:
            fleet.start()
            yield Ground(
                fleet=fleet, database=database, database_name=name, layer=layer, upstream=upstream, links=links
            )
        finally:
            fleet.close()
