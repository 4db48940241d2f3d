"""For those who watch over a site of several processes: what is missing, what waits, and who does what."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import CallTool, Gate, Refuse, Say, ScriptedRequest, Step, Wait
from chat.render.state_parts import NO_PERFORMERS
from chat.web.health import NO_WORKER
from tests.fleet.fleet import WorkerProcess
from tests.fleet.postgres import PostgresProcess, postgres
from tests.fleet.redis import RedisProcess, redis
from tests.journeys.place import Place
from tests.journeys.tooling import approve, proposed
from tests.patient import tools as patient
from tests.processes import Spawned, wait_until
from tests.server import PASSWORD, Person, ServerProcess, free_port

# Far more than a part that hangs may hold up the answer; it only ends a test that would hang with it.
FAR_S = 30.0
SECRETS = {
    name: f"{name}-hippopotamus"
    for name in (
        *("question", "answer", "title", "failing", "refused", "argument", "edited"),
        *("reason", "fault", "file", "content"),
    )
}
KEY = "sk-rhinoceros"

pytestmark = pytest.mark.several_processes


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """One web process, and a worker that is not started. metrics_port: where the worker shows its figures."""

    web: ServerProcess
    worker: WorkerProcess
    database: PostgresProcess
    database_name: str
    layer: RedisProcess
    metrics_port: int

    def ready(self) -> tuple[int, str]:
        """What the web process says of itself."""
        return Person(self.web.base).get("/readyz")

    def execute(self, statement: str) -> None:
        """What no code of the site would do to the database."""
        with self.database.connect(self.database_name) as connection:
            connection.execute(statement.encode())

    def figures(self, base: str = "") -> dict[str, float]:
        """What a process shows to programs on this machine."""
        with urllib.request.urlopen(f"{base or self.web.base}/metrics", timeout=FAR_S) as answer:
            lines = re.findall(r"^(agentsite_\S+) (\S+)$", answer.read().decode(), flags=re.MULTILINE)
        return {name: float(value) for name, value in lines}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("watched")


@pytest.fixture(scope="module")
def site(upstream: ScriptedServer, folder: Path) -> Iterator[Site]:
    with postgres() as database, redis() as layer:
        metrics_port, name = free_port(), database.new_database()
        web = ServerProcess(
            folder,
            upstream=upstream.base_url,
            command=None,
            DATABASE_URL=database.url(name),
            REDIS_URL=layer.url(),
            AGENT_LOG_FORMAT="json",
            AGENT_ATTEMPTS_MAX="1",
            OPENAI_API_KEY=KEY,
            **patient.environ(folder),
        )
        worker = WorkerProcess(folder, environ={**web.environ, "AGENT_METRICS_PORT": str(metrics_port)})
        try:
            web.start()
            yield Site(
                web=web,
                worker=worker,
                database=database,
                database_name=name,
                layer=layer,
                metrics_port=metrics_port,
            )
        finally:
            worker.close()
            web.close()


@pytest.fixture(scope="module")
def server(site: Site) -> ServerProcess:
    return site.web


@pytest.fixture
def working(site: Site) -> Site:
    """With its worker."""
    if not site.worker.is_running:
        site.worker.start()
    return site


@contextmanager
def held(part: Spawned) -> Iterator[None]:
    part.pause()
    try:
        yield
    finally:
        part.resume()


async def test_without_a_worker_it_is_said_that_there_is_none_and_what_waits_is_seen(place: Place, site: Site) -> None:
    if site.worker.is_running:
        assert site.worker.stop() == 0
    assert site.ready() == (200, f"{NO_WORKER}\n")
    place.answers((Say(text="At last."),))
    async with place.socket() as wire, place.person.socket(f"/ws/c/{place.conversation}/") as page:
        await wire.say("Is anybody there?")
        await wire.until_event("user_message")
        async with asyncio.timeout(FAR_S):
            while NO_PERFORMERS not in str(await page.connection.recv()):
                pass
        assert NO_PERFORMERS in place.person.get(f"/c/{place.conversation}/")[1]
        figures = site.figures()
        assert figures['agentsite_site_conversations{phase="generating"}'] == 1
        assert figures['agentsite_site_jobs{status="todo"}'] == 1
        assert figures["agentsite_site_job_lag_seconds"] > 0
        assert 'agentsite_site_processes{kind="worker"}' not in figures
        jobs = place.person.get("/admin/procrastinate/procrastinatejob/?status=todo")[1]
        assert f'Ask the model in <a href="/admin/chat/conversation/{place.conversation}/change/">' in jobs
        site.worker.start()
        await wire.until_event("llm_response_completed")
        assert NO_PERFORMERS not in place.person.get(f"/c/{place.conversation}/")[1]
    assert site.ready() == (200, "ok\n")
    assert place.conversation not in place.person.get("/admin/procrastinate/procrastinatejob/?status=todo")[1]
    assert re.search(r'field-kind">worker<.*badge good', place.person.get("/admin/chat/process/")[1])


@pytest.mark.parametrize(("part", "words"), [("database", "database: "), ("layer", "channel layer: ")])
def test_a_part_that_hangs_is_named_instead_of_waited_for(working: Site, part: str, words: str) -> None:
    with held(getattr(working, part)):
        wait_until(lambda: working.ready()[0] == 503, within_s=FAR_S, what=f"{part} to be missed")
        status, text = working.ready()
        assert (status, [line.partition(": ")[0] + ": " for line in text.splitlines()]) == (503, [words])
        assert Person(working.web.base).get("/healthz") == (200, "ok\n")
        # What the process itself counts is shown all the same.
        assert working.figures()["agentsite_site_read"] == (part != "database")
        assert "agentsite_sockets" in working.figures()
    wait_until(lambda: working.ready() == (200, "ok\n"), within_s=FAR_S, what="all to be well again")


async def test_the_process_that_performs_a_run_counts_it(place: Place, working: Site) -> None:
    worker = f"http://127.0.0.1:{working.metrics_port}"
    before, gate = working.figures(worker), Gate()
    place.answers((Say(text="Some"), Wait(gate=gate)))
    async with place.socket() as wire:
        await wire.say("Go on.")
        await wire.until_text()
        assert working.figures(worker)["agentsite_orders"] == 1
        assert working.figures()["agentsite_sockets"] == 1
        stops = working.figures()["agentsite_stop_seconds_count"]
        await wire.send(type="stop")
        await wire.until_event("llm_response_interrupted")
    interrupted = 'agentsite_answers_total{fault="",state="interrupted"}'
    assert working.figures(worker)[interrupted] == before.get(interrupted, 0) + 1
    # Whoever pressed it sees how long it took, wherever it ended.
    assert working.figures()["agentsite_stop_seconds_count"] == stops + 1
    gate.open()


async def test_no_log_holds_anything_that_was_said_and_each_line_says_what_it_is_about(
    place: Place, working: Site
) -> None:
    question, answer, refused = SECRETS["question"], SECRETS["answer"], SECRETS["refused"]

    def script(request: ScriptedRequest) -> tuple[Step, ...]:
        if request.tool_results:
            return (Say(text=answer),)
        match request.last_user_text:
            case text if text == question:
                return (CallTool(name="note_if_allowed", arguments=json.dumps({"label": SECRETS["argument"]})),)
            case text if text == refused:
                return (Say(text=refused),)
        error = {"error": {"message": f"{SECRETS['fault']} {KEY}"}}
        return (Refuse(status=500, body=json.dumps(error).encode()),)

    place.answers(script)
    place.person.upload(place.conversation, f"{SECRETS['file']}.txt", SECRETS["content"].encode())
    place.person.post(f"{place.path}rename/", title=SECRETS["title"])
    place.person.get(f"/admin/chat/conversation/?q={question}")
    async with place.socket() as wire:
        await wire.say(question)
        (call,) = await proposed(wire)
        await approve(wire, call, arguments={"label": SECRETS["edited"]})
        await wire.until_event("llm_response_completed")
        await wire.say(question)
        (call,) = await proposed(wire)
        await wire.send(type="reject", call_id=call["call_id"], reason=SECRETS["reason"])
        await wire.until_event("llm_response_completed")
        await wire.say(SECRETS["failing"])
        await wire.until_event("llm_response_failed")
        await wire.connection.send(f'{{"type": "{question}"')
        await wire.until_error()
        # The database refuses a row with a fault that quotes all of it.
        working.execute(
            f"ALTER TABLE chat_message ADD CONSTRAINT refusing CHECK (role = 'user' OR content <> '{refused}')"
        )
        await wire.say(refused)
        wait_until(lambda: "refusing" in working.worker.log_text, within_s=FAR_S, what="the database to refuse")
        working.execute("ALTER TABLE chat_message DROP CONSTRAINT refusing")
        await wire.until_event("llm_response_completed")
    logs = working.web.log_text + working.worker.log_text
    for secret in (*SECRETS.values(), KEY, PASSWORD):
        assert secret not in logs
    lines = [json.loads(line) for line in logs.splitlines() if line.startswith("{")]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    (line,) = [line for line in lines if "refusing" in line.get("traceback", "")][:1]
    assert (line["conversation"], line["order"]) == (place.conversation, "generation 1")
    assert line["run"] in line["message"]
