"""Steps of the engine, without sockets and models: `python -m tests.bench.steps SECONDS` in an environment with a
database. Prints JSON. And the scenario that runs it on both databases.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.bench import Bench, Found, scenario
from tests.bench.report import Figure
from tests.server import ROOT

if TYPE_CHECKING:
    from chat.core.events import Event
    from chat.engine import Engine

CONVERSATIONS = 50


@scenario("steps")
async def steps(bench: Bench) -> Found:
    """Steps of the engine each second, of 50 conversations at once, on SQLite and on PostgreSQL."""
    figures: list[Figure] = []
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        urls = {"SQLite": f"sqlite:///{Path(folder) / 'db.sqlite3'}"}
        server = _postgresql(stack)
        if server is None:
            bench.disturbed.append("steps: PostgreSQL is missing; install the package postgresql")
        else:
            urls["PostgreSQL"] = server
        for name, url in urls.items():
            found = await _measured(bench, url)
            figures += [
                Figure(scenario="steps", name=f"steps on {name}", value=found["per_second"], unit="/s"),
                Figure(scenario="steps", name=f"CPU of a step on {name}", value=found["cpu_ms"], unit="ms"),
            ]
    return figures


def _postgresql(stack: ExitStack) -> str | None:
    from tests.fleet import postgres

    if postgres._programs() is None:
        return None
    server = stack.enter_context(postgres.postgres())
    return server.url(server.new_database())


async def _measured(bench: Bench, url: str) -> dict[str, float]:
    environ = {**bench.environ, "DATABASE_URL": url, "DJANGO_SETTINGS_MODULE": "agentsite.settings"}
    for words in (["manage.py", "migrate", "-v", "0"], ["-m", "tests.bench.steps", str(bench.seconds)]):
        program = await asyncio.create_subprocess_exec(
            sys.executable, *words, cwd=ROOT, env=environ, stdout=subprocess.PIPE
        )
        if words[0] == "-m":
            os.sched_setaffinity(program.pid, {bench.core})
        said, _ = await program.communicate()
        assert program.returncode == 0
    found: dict[str, float] = json.loads(said)
    return found


async def _turn_after_turn(engine: Engine, user_id: int, ends_s: float) -> int:
    """How many events happened to one conversation."""
    from chat.clock import now_ms
    from chat.core.effects import StartGeneration
    from chat.core.events import GenerationCompleted, GenerationStarted, MessageSubmitted
    from chat.core.ids import MessageId
    from chat.core.messages import Delivery, Telemetry
    from chat.store.commits import Committed

    conversation_id = await engine.start(user_id=user_id)
    count = 0

    async def take(event: Event) -> Committed:
        nonlocal count
        result = await engine.apply(conversation_id, event)
        assert isinstance(result, Committed)
        count += 1
        return result

    while time.monotonic() < ends_s:
        submitted = MessageSubmitted(
            message_id=MessageId(uuid.uuid4()),
            content="What about this?",
            delivery=Delivery.QUEUE,
            queue_limit=1,
            at_ms=now_ms(),
        )
        asked = await take(submitted)
        order = next(effect for effect in asked.effects if isinstance(effect, StartGeneration))
        run_id, number = order.run_id, order.generation_no
        await take(GenerationStarted(run_id=run_id, generation_no=number, attempt=1, at_ms=now_ms()))
        answer = "An answer. " * 20
        await take(
            GenerationCompleted(
                run_id=run_id, generation_no=number, text=answer, reasoning="", telemetry=Telemetry(), at_ms=now_ms()
            )
        )
    return count


async def _measure(seconds: float) -> dict[str, float]:
    from django.contrib.auth import get_user_model

    from chat.engine import Engine
    from chat.store.threads import in_thread

    user = await in_thread(get_user_model().objects.create, username=f"reader-{uuid.uuid4()}")
    engine = Engine(process_id=uuid.uuid4(), announce=lambda announcement: None, dispatch=lambda state, effects: None)
    began_s, cpu_s = time.monotonic(), time.process_time()
    counts = await asyncio.gather(*(_turn_after_turn(engine, user.pk, began_s + seconds) for _ in range(CONVERSATIONS)))
    took_s = time.monotonic() - began_s
    return {"per_second": sum(counts) / took_s, "cpu_ms": (time.process_time() - cpu_s) / sum(counts) * 1000}


if __name__ == "__main__":
    import django

    django.setup()
    print(json.dumps(asyncio.run(_measure(float(sys.argv[1])))))  # noqa: T201 - the result
