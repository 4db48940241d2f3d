from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chat.llm.scripted import ScriptedServer, start_in_thread
from tests.journeys.place import Place
from tests.journeys.serving import serving
from tests.server import Person, ServerProcess


@pytest.fixture(scope="session")
def upstream() -> Iterator[ScriptedServer]:
    """The model server. Its script is set by each test."""
    with start_in_thread(lambda request: ()) as server:
        yield server


@pytest.fixture(scope="session")
def server(upstream: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The site as `make run` starts it. Modules with other needs bring their own."""
    folder: Path = tmp_path_factory.mktemp("server")
    with serving(ServerProcess(folder, upstream=upstream.base_url)) as running:
        yield running


@pytest.fixture(scope="module")
def person(server: ServerProcess) -> Person:
    """Somebody who is logged in."""
    return Person(server.base).log_in()


@pytest.fixture
def place(server: ServerProcess, upstream: ScriptedServer, person: Person) -> Iterator[Place]:
    """A fresh conversation, and a model server that was asked nothing yet."""
    upstream.exchanges.clear()
    upstream.script = lambda request: ()
    conversation = person.new_conversation()
    yield Place(server=server, upstream=upstream, person=person, conversation=conversation)
    person.post(f"/c/{conversation}/delete/")
