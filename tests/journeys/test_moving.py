"""From one process to many: everything that SQLite holds moves to PostgreSQL, or nothing does."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import Say
from tests.fleet.postgres import postgres
from tests.journeys.place import Place
from tests.journeys.serving import serving
from tests.server import Person, ServerProcess


@pytest.fixture(scope="module")
def server(upstream: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The site on SQLite. Tests end it before they move its data."""
    running = ServerProcess(tmp_path_factory.mktemp("small"), upstream=upstream.base_url)
    running.start()
    try:
        yield running
    finally:
        running.close()


@pytest.fixture
def target(server: ServerProcess, tmp_path: Path) -> Iterator[ServerProcess]:
    """The same site on an empty PostgreSQL, migrated and not started."""
    with postgres() as database:
        moved = ServerProcess(tmp_path)
        moved.environ = {**server.environ, "DATABASE_URL": database.url()}
        assert moved.manage("migrate").returncode == 0
        yield moved
        moved.close()


def source(server: ServerProcess) -> str:
    return server.environ["DATABASE_URL"]


async def talk(place: Place, *, title: str) -> None:
    place.answers((Say(text="An answer."),))
    async with place.socket() as wire:
        await wire.say("Hello?")
        await wire.until_event("llm_response_completed")
    place.person.post(f"{place.path}rename/", title=title)


async def test_a_site_moves_with_its_people_conversations_and_logs(
    place: Place, server: ServerProcess, target: ServerProcess, upstream: ScriptedServer
) -> None:
    await talk(place, title="Kept all the way")
    Person(server.base).sign_up("ada")
    transcript, conversation = place.transcript(), place.conversation
    assert server.stop() == 0
    moved = target.manage("move_database", source(server))
    assert moved.returncode == 0, moved.stderr
    assert "chat_event: " in moved.stdout
    assert moved.stdout.rstrip().endswith("0 differences")
    with serving(target):
        person = Person(target.base).log_in()
        there = Place(server=target, upstream=upstream, person=person, conversation=conversation)
        assert there.transcript() == transcript
        assert "Kept all the way" in person.get(there.path)[1]
        # What comes now has numbers of its own.
        await talk(there, title="Goes on")
        assert len(there.transcript()) == len(transcript) + 2
        Person(target.base).sign_up("grace")
    assert target.manage("check_replay").stdout.rstrip().endswith("0 differences")
    again = target.manage("move_database", source(server))
    assert (again.returncode, "The target is not empty" in again.stderr) == (1, True)
    server.start()


async def test_what_can_not_be_moved_is_named_and_nothing_is(
    place: Place, server: ServerProcess, target: ServerProcess
) -> None:
    await talk(place, title="Damaged")
    assert server.stop() == 0
    with sqlite3.connect(source(server).removeprefix("sqlite:///")) as database:
        database.execute("UPDATE chat_message SET content = 'a' || char(0) WHERE role = 'user'")
    refused = target.manage("move_database", source(server))
    assert refused.returncode == 1
    assert "chat_message" in refused.stderr
    assert "content has a NUL character" in refused.stderr
    assert "Nothing was changed." in refused.stderr
    counted = target.manage("shell", "-c", "from chat.models import Event; print(Event.objects.count())")
    assert counted.stdout.split()[-1] == "0"
    server.start()


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("sqlite:////not/there.sqlite3", "There is no file /not/there.sqlite3."),
        ("the same", "Source and target are the same database."),
    ],
)
def test_a_source_that_is_none_is_refused(server: ServerProcess, words: str, fault: str) -> None:
    refused = server.manage("move_database", source(server) if words == "the same" else words)
    assert refused.returncode == 1
    assert fault in refused.stderr
