"""What somebody types in a shell, and what a monitor asks."""

from __future__ import annotations

import ast
import asyncio
import re
import signal
import socket
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from daphne.cli import CommandLineInterface
from django.contrib.auth import get_user_model
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, connection
from pytest_django import Settings

from chat.llm.scripted_steps import Say
from chat.management.base import SiteCommand
from chat.management.commands import serve, worker
from tests.journeys import figures
from tests.journeys.place import Place
from tests.journeys.serving import serving
from tests.server import PASSWORD, Person, ServerProcess


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[ServerProcess]:
    """A server that was never started, with the demo model."""
    server = ServerProcess(tmp_path)
    yield server
    server.close()


async def test_check_replay_counts_and_finds_what_the_log_does_not_say(tmp_path: Path, place: Place) -> None:
    with serving(ServerProcess(tmp_path, upstream=place.upstream.base_url)) as server:
        person = Person(server.base).log_in()
        own = Place(server=server, upstream=place.upstream, person=person, conversation=person.new_conversation())
        own.answers((Say(text="Yes."),))
        async with own.socket() as wire:
            await wire.say("Hello?")
            await wire.until_event("llm_response_completed")
            events = wire.state["seq"]
        clean = server.manage("check_replay")
        assert clean.returncode == 0
        assert re.fullmatch(r"\d+ conversations, \d+ events, 0 differences\n", clean.stdout)
        one = server.manage("check_replay", "--conversation", own.conversation)
        assert (one.returncode, one.stdout) == (0, f"1 conversations, {events} events, 0 differences\n")
        with closing(sqlite3.connect(tmp_path / "db.sqlite3")) as database, database:
            database.execute("UPDATE chat_message SET content = 'No.' WHERE content = 'Yes.'")
        wrong = server.manage("check_replay")
        assert wrong.returncode == 1
        assert wrong.stdout.startswith(f"{own.conversation}: message ")
        assert wrong.stdout.endswith(" 1 differences\n")


def test_check_replay_says_that_there_is_no_such_conversation(server: ServerProcess) -> None:
    unknown = server.manage("check_replay", "--conversation", "00000000-0000-4000-8000-000000000000")
    assert unknown.returncode == 1
    assert "There is no conversation" in unknown.stderr


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AGENT_QUEUE_MAX_MESSAGES", "many"),
        ("AGENT_QUEUE_MAX_MESSAGES", "0"),
        ("AGENT_TOKEN_GAP_TIMEOUT_S", "-1"),
        ("AGENT_SIGNUP_OPEN", "perhaps"),
        ("DEBUG", "maybe"),
        ("OPENAI_BASE_URL", "localhost:11434"),
        ("DATABASE_URL", "mysql://root@localhost/db"),
        ("REDIS_URL", "http://localhost"),
        ("SECRET_KEY", "short"),
        ("CSRF_TRUSTED_ORIGINS", "chat.example.com"),
        ("AGENT_TOOL_POLICIES", "execute_pyton=never"),
    ],
)
def test_a_wrong_setting_stops_the_start_with_one_line(tmp_path: Path, name: str, value: str) -> None:
    server = ServerProcess(tmp_path)
    server.environ[name] = value
    start = server.manage("serve", "--port", str(server.port))
    assert start.returncode == 1
    assert start.stdout == ""
    (line,) = start.stderr.splitlines()
    assert line.startswith(f"Wrong setting: {name}: ")
    assert f"a valid example: {name}=" in line


def test_a_port_that_is_taken_stops_the_start_with_words(fresh: ServerProcess) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", fresh.port))
        taken.listen()
        fresh.launch()
        assert fresh.wait(within_s=30) != 0
    assert f"{fresh.port}" in fresh.log.read_text()
    assert "Traceback" not in fresh.log.read_text()
    assert "listens" not in fresh.log.read_text()


def test_a_worker_whose_port_for_figures_is_taken_says_so_in_one_line(fresh: ServerProcess) -> None:
    fresh.environ |= {"DATABASE_URL": "postgres://h/n", "REDIS_URL": "redis://h", "AGENT_METRICS_PORT": str(fresh.port)}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", fresh.port))
        taken.listen()
        refused = fresh.manage("worker")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert refused.stderr.startswith(f"CommandError: AGENT_METRICS_PORT: {fresh.port} can't be listened on: ")


def test_a_server_says_where_it_listens_once_it_does(fresh: ServerProcess) -> None:
    fresh.start()
    assert f"Agentsite listens on {fresh.base}\n" in fresh.log.read_text()


@pytest.mark.parametrize("port", ["web", "0", "65536", "-1", "80 "])
def test_what_is_no_port_is_refused_with_a_valid_example(fresh: ServerProcess, port: str) -> None:
    fresh.environ["PORT"] = port
    refused = fresh.manage("serve")
    assert refused.returncode == 2
    assert refused.stderr.endswith(
        f"{port!r} is no port; a valid example: --port 8000, or PORT=8000 in the environment\n"
    )


@pytest.mark.parametrize(
    "words",
    [("check_replay",), ("erase_user", "somebody"), ("export_log", "00000000-0000-4000-8000-000000000000"), ("purge",)],
    ids=lambda x: x[0],
)
def test_a_command_on_a_database_without_tables_says_in_one_line_what_to_do(
    fresh: ServerProcess, words: tuple[str, ...]
) -> None:
    refused = fresh.manage(*words)
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "no such table" in refused.stderr
    assert "python manage.py migrate" in refused.stderr


def test_of_what_the_database_says_a_command_repeats_the_first_line() -> None:
    class Failing(SiteCommand):
        def handle(self, *args: Any, **options: Any) -> None:
            raise ProgrammingError('relation "x" does not exist\nLINE 1: SELECT x\n               ^')

    with pytest.raises(CommandError, match=r'asked: relation "x" does not exist\. Look at DATABASE_URL'):
        call_command(Failing(), skip_checks=True)


def test_a_database_that_is_not_there_stops_the_start_with_its_setting(fresh: ServerProcess) -> None:
    fresh.environ["DATABASE_URL"] = f"sqlite:///{fresh.folder}"
    refused = fresh.manage("serve")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "DATABASE_URL" in refused.stderr


@pytest.mark.parametrize("command", [serve.Command(), worker.Command()])
def test_a_folder_that_can_not_be_written_to_stops_the_start_in_one_line(
    command: SiteCommand, tmp_path: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    settings.MEDIA_ROOT = tmp_path / "file" / "artifacts"
    settings.AGENTSITE = replace(settings.AGENTSITE, agent_effects="workers")
    monkeypatch.setattr(CommandLineInterface, "run", lambda *words: None)
    monkeypatch.setattr(worker.Command, "_work", lambda *words: asyncio.sleep(0))
    with pytest.raises(CommandError, match=r"file/artifacts can't be written to: Not a directory\. Give whoever"):
        call_command(command, skip_checks=True)


@pytest.mark.django_db(transaction=True)
def test_a_database_that_can_only_be_read_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    get_user_model().objects.create_superuser("somebody")
    monkeypatch.setattr(CommandLineInterface, "run", lambda *words: None)
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA query_only = ON")
        try:
            with pytest.raises(
                CommandError, match=r"asked: attempt to write a readonly database\. Look at DATABASE_URL"
            ):
                call_command(serve.Command(), skip_checks=True)
        finally:
            cursor.execute("PRAGMA query_only = OFF")


def test_the_second_start_keeps_accounts_and_conversations(fresh: ServerProcess) -> None:
    took_s = []
    conversation = ""
    for _ in range(2):
        began_at_s = time.monotonic()
        fresh.start()
        took_s.append(time.monotonic() - began_at_s)
        person = Person(fresh.base).log_in("admin", PASSWORD)
        conversation = conversation or person.new_conversation()
        assert person.get(f"/c/{conversation}/")[0] == 200
        assert fresh.stop(signal.SIGINT) == 0
    figures.show(f"first start {took_s[0]:.1f} s, second start {took_s[1]:.1f} s")


def test_a_command_waits_for_neither_the_model_s_sdk_nor_the_engine_of_jobs(fresh: ServerProcess) -> None:
    look = "import sys; print({'openai', 'procrastinate', 'chat.admin.calls', 'chat.wiring'} & set(sys.modules))"
    loaded = fresh.manage("shell", "--no-imports", "-c", f"from agentsite import asgi, urls; {look}")
    assert (loaded.returncode, ast.literal_eval(loaded.stdout)) == (0, {"chat.admin.calls", "chat.wiring"})


def test_the_first_start_prints_a_password_once(fresh: ServerProcess) -> None:
    fresh.environ["ADMIN_PASSWORD"] = ""
    for _ in range(2):
        fresh.start()
        assert fresh.stop() == 0
    lines = [line for line in fresh.log.read_text().splitlines() if "password" in line]
    assert len(lines) == 1
    assert "admin" in lines[0]


def test_a_healthy_server_says_so(server: ServerProcess) -> None:
    nobody = Person(server.base)
    assert nobody.get("/healthz") == (200, "ok\n")
    assert nobody.get("/readyz") == (200, "ok\n")


def test_a_server_without_its_tables_lives_but_is_not_ready_and_says_why(tmp_path: Path) -> None:
    server = ServerProcess(
        tmp_path,
        command=[sys.executable, "-m", "daphne", "-p", "{port}", "agentsite.asgi:application"],
    )
    try:
        server.start(path="/healthz")
        nobody = Person(server.base)
        status, text = nobody.get("/readyz")
        assert status == 503
        assert text.startswith("database: ")
        assert "migrate" in text
        assert nobody.get("/healthz")[0] == 200
        assert server.manage("migrate").returncode == 0
        assert nobody.get("/readyz") == (200, "ok\n")
    finally:
        server.close()
