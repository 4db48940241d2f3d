from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from chat.llm.scripted import ScriptedServer, start_in_thread
from tests.fleet.links import network
from tests.fleet.postgres import postgres
from tests.journeys.deployments import Deployment, Embedded, SeveralProcesses, deployed
from tests.journeys.place import Place
from tests.server import Person, ServerProcess


@pytest.fixture(scope="session")
def upstream() -> Iterator[ScriptedServer]:
    """The model server. Its script is set by each test."""
    with start_in_thread(lambda request: ()) as server:
        yield server


@pytest.fixture(scope="session", params=["embedded", "several-processes"])
def deployment(request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """How the site is deployed: whatever uses this runs in both ways."""
    if request.param == "embedded":
        yield Embedded()
        return
    with network() as net, postgres() as database:
        yield SeveralProcesses(net, database)


@pytest.fixture(scope="session")
def server(
    deployment: Deployment, upstream: ScriptedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """The site with its defaults. Modules with other needs bring their own."""
    folder: Path = tmp_path_factory.mktemp("server")
    with deployed(deployment, folder, upstream=upstream.base_url) as running:
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
