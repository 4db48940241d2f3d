"""The commands of the README make a site of several processes, as they stand there."""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import Say
from tests.fleet.postgres import postgres
from tests.fleet.redis import redis
from tests.journeys.place import Place
from tests.processes import Spawned, below, still_running, wait_until
from tests.server import PASSWORD, ROOT, Person, ServerProcess, free_port

COMMANDS = re.compile(r"<!-- several processes: .*?-->\s*```sh\n(.*?)```", re.DOTALL)
# Nothing waits for it; it only ends a test that would hang.
READY_WITHIN_S = 200.0
ENDED_WITHIN_S = 60.0

pytestmark = pytest.mark.timeout(300)


class Shell(Spawned):
    """The shell in which somebody types them. ports: where the web processes listen."""

    def __init__(self, folder: Path, *, database_url: str, redis_url: str, upstream: str) -> None:
        found = COMMANDS.search((ROOT / "README.md").read_text())
        assert found
        # Only where things are is another.
        commands = re.sub(r"DATABASE_URL=\S+", f"DATABASE_URL={database_url}", found[1])
        commands = re.sub(r"REDIS_URL=\S+", f"REDIS_URL={redis_url}", commands)
        self.ports: list[int] = []
        for port in re.findall(r"--port (\d+)", commands):
            self.ports.append(free_port())
            commands = commands.replace(f"--port {port}", f"--port {self.ports[-1]}")
        super().__init__(
            ["sh", "-ec", commands],
            folder=ROOT,
            environ={
                **{name: value for name, value in os.environ.items() if not name.startswith(("AGENT_", "OPENAI_"))},
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "OPENAI_BASE_URL": upstream,
                "ADMIN_PASSWORD": PASSWORD,
                "PYTHONUNBUFFERED": "1",
            },
            log=folder / "shell.log",
        )

    @property
    def bases(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.ports]

    def is_ready(self) -> bool:
        """Whether all serve and perform, each heard of by the others."""
        assert self.is_running, self.log_text
        for base in self.bases:
            try:
                if Person(base).get("/readyz") != (200, "ok\n"):
                    return False
                text = Person(base).get("/metrics")[1]
            except OSError:
                return False
            for kind, count in (("web", len(self.ports)), ("worker", 2)):
                if f'agentsite_site_processes{{kind="{kind}"}} {count}\n' not in text:
                    return False
        return True


@pytest.fixture
def shell(upstream: ScriptedServer, tmp_path: Path) -> Iterator[Shell]:
    with postgres() as database, redis() as layer:
        url = database.url(database.new_database())
        typed = Shell(tmp_path, database_url=url, redis_url=layer.url(), upstream=upstream.base_url)
        try:
            yield typed
        finally:
            typed.close()


async def test_the_commands_of_the_readme_make_a_site_of_two_web_processes_and_two_workers(
    shell: Shell, upstream: ScriptedServer, tmp_path: Path
) -> None:
    shell.launch()
    assert len(shell.ports) == 2
    wait_until(shell.is_ready, within_s=READY_WITHIN_S, what=f"two web processes and two workers; see {shell.log}")
    here, there = (Person(base).log_in() for base in shell.bases)
    place = Place(server=ServerProcess(tmp_path), upstream=upstream, person=here, conversation=here.new_conversation())
    place.answers((Say(text="From a worker."),))
    async with place.socket() as asking, place.socket(there) as looking_on:
        await asking.say("Who answers?")
        for wire in (asking, looking_on):
            await wire.until_event("llm_response_completed")
            assert "From a worker." in wire.texts.values()
    family = below(shell.pid)
    assert len(family) >= 4
    os.killpg(shell.pid, signal.SIGTERM)
    wait_until(lambda: not still_running(family), within_s=ENDED_WITHIN_S, what="all of it to end")
    assert "Traceback" not in shell.log_text
