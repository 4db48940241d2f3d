"""What chats cost a site of several processes: `python -m tests.bench.capacity`. Needs PostgreSQL and Redis.

One web process and one worker, as they are deployed; each chat has one reader. A row that streams nothing but a few
tokens and one that streams many are measured alike: their difference is what a token costs, and what is left is what a
turn costs. Counted are CPU by /proc, rows and log by PostgreSQL, bytes by Redis itself. An idle site is measured first
and taken off.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import socket
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from tests.bench import chats as talk
from tests.bench.clocks import cpu_s
from tests.bench.served import Seat
from tests.bench.speech import Json
from tests.bench.upstream import Upstream
from tests.fleet.fleet import Fleet
from tests.fleet.fleet import Seat as Machine
from tests.fleet.links import network
from tests.fleet.postgres import PostgresProcess, postgres
from tests.fleet.redis import RedisProcess, redis
from tests.processes import below
from tests.server import Person, free_port

FEW, MANY = 20, 420
IDLE_S = 10.0
FAR_S = 10.0
# PostgreSQL tells what a connection did when it has been idle for a second.
SETTLED_S = 2.0
SUMS = """
SELECT xact_commit, tup_inserted, tup_updated, pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint,
    pg_database_size(datname), (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database())
FROM pg_stat_database WHERE datname = current_database()
"""


@dataclass(frozen=True, kw_only=True, slots=True)
class Sums:
    """What was used up to a moment. CPU in seconds, the rest in pieces or bytes."""

    at_s: float
    web_s: float
    worker_s: float
    postgres_s: float
    redis_s: float
    redis_out: float
    redis_in: float
    commits: float
    inserted: float
    updated: float
    wal: float
    disk: float

    def less(self, other: Sums, times: float = 1.0) -> Sums:
        """The difference; other counts so many times."""
        names = (field.name for field in fields(Sums))
        return Sums(**{name: getattr(self, name) - times * getattr(other, name) for name in names})

    def each(self, count: float) -> Sums:
        """The share of one of so many."""
        return Sums(**{field.name: getattr(self, field.name) / count for field in fields(Sums)})


@dataclass(frozen=True, kw_only=True, slots=True)
class Ground:
    """What is measured."""

    fleet: Fleet
    upstream: Upstream
    database: PostgresProcess
    name: str
    layer: RedisProcess

    def look(self) -> Sums:
        """Everything so far."""
        told = _info(self.layer.port)
        with self.database.connect(self.name) as connection:
            row = connection.execute(SUMS).fetchone()
        assert row is not None
        commits, inserted, updated, wal, disk, _ = row
        return Sums(
            at_s=time.monotonic(),
            web_s=cpu_s(self.fleet.webs[0].pid),
            worker_s=cpu_s(self.fleet.workers[0].pid),
            postgres_s=sum(cpu_s(each.pid) for each in below(self.database.pid)),
            redis_s=cpu_s(self.layer.pid),
            redis_out=told["total_net_output_bytes"],
            redis_in=told["total_net_input_bytes"],
            commits=commits,
            inserted=inserted,
            updated=updated,
            wal=wal,
            disk=disk,
        )

    @property
    def connections(self) -> int:
        """To the database, now, less the one that asks."""
        with self.database.connect(self.name) as connection:
            row = connection.execute(SUMS).fetchone()
        assert row is not None
        return int(row[-1]) - 1

    async def turns(self, seats: Sequence[Seat], tokens: int) -> Sums:
        """What one turn of so many tokens in each seat took."""
        before = await asyncio.to_thread(self.look)
        opened = await talk.open_all(seats, self.upstream)
        with talk.seated(opened):
            await talk.begin(opened, tokens=tokens, rate=50, within_s=1)
            await asyncio.gather(*(chat.ended() for chat in opened))
        await asyncio.sleep(SETTLED_S)
        return (await asyncio.to_thread(self.look)).less(before)


def _info(port: int) -> dict[str, float]:
    with socket.create_connection(("127.0.0.1", port), timeout=FAR_S) as connection:
        connection.sendall(b"INFO\r\n")
        text = b""
        while b"# Keyspace" not in text:
            text += connection.recv(65536)
    return {
        name: float(value) for name, value in re.findall(r"^(total_net_\w+_bytes):(\d+)", text.decode(), re.MULTILINE)
    }


async def measure(ground: Ground, chats: int) -> None:
    """Measure and print."""
    await ground.upstream.start()
    person = Person(ground.fleet.base).log_in()
    seats = [
        Seat(
            port=ground.fleet.port,
            path=f"/ws/c/{conversation}/?format=json",
            speech=Json(),
            cookie=person.cookie,
        )
        for conversation in [person.new_conversation() for _ in range(chats)]
    ]
    await ground.turns(seats, FEW)
    before = ground.look()
    await asyncio.sleep(IDLE_S)
    used = ground.look().less(before)
    idle = used.each(used.at_s)
    few, many = [
        raw.less(idle, raw.at_s).each(chats) for raw in [await ground.turns(seats, tokens) for tokens in (FEW, MANY)]
    ]
    token = many.less(few).each(MANY - FEW)
    turn = few.less(token, FEW)
    print(table(idle, turn, token))  # noqa: T201 - the result
    print(  # noqa: T201
        f"\n{chats} chats; web {ground.fleet.webs[0].memory_mb:.0f} MiB, {ground.connections} connections to PostgreSQL"
    )
    await ground.upstream.close()


def table(idle: Sums, turn: Sums, token: Sums) -> str:
    """The three for people: CPU in microseconds."""
    lines = ["| | idle, a second | a turn | a token |", "|:--|--:|--:|--:|"]
    for field in fields(Sums):
        name = field.name
        if name == "at_s":
            continue
        scale, words = (1e6, f"CPU {name[:-2]}, µs") if name.endswith("_s") else (1.0, name)
        shown = (f"{getattr(sums, name) * scale:,.2f}" for sums in (idle, turn, token))
        lines.append(f"| {words} | {' | '.join(shown)} |")
    return "\n".join(lines)


def main() -> None:
    """Start all of it, measure, leave nothing behind."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench.capacity", description=__doc__)
    parser.add_argument("--chats", type=int, default=20)
    options = parser.parse_args()
    upstream = Upstream(free_port())
    with tempfile.TemporaryDirectory() as folder, network() as net, postgres() as database, redis() as layer:
        name = database.new_database()
        machine = Machine(database_url=database.url(name), redis_url=layer.url(), upstream=upstream.url)
        fleet = Fleet(Path(folder), net, lambda _: machine, webs=1, workers=1)
        try:
            fleet.start(within_s=120)
            ground = Ground(fleet=fleet, upstream=upstream, database=database, name=name, layer=layer)
            asyncio.run(measure(ground, options.chats))
        finally:
            fleet.close()


if __name__ == "__main__":
    main()
