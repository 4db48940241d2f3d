from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser

from chat.llm.scripted import ScriptedServer, start_in_thread
from chat.llm.scripted_steps import Gate
from tests.browser import chromium
from tests.browser.visitor import Tab, Visitor
from tests.browser.writing import busy_until
from tests.server import ServerProcess

# Few, so that a test can fill the queue.
QUEUE_MAX_MESSAGES = 5


# The browser's loop runs on the thread of the tests as long as it is open: it must be gone before tests of
# another folder want a loop of their own. So nothing here lives longer than this package.
@pytest.fixture(scope="package")
def chrome() -> Iterator[Browser]:
    """The machine's browser."""
    path = chromium.executable()
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail(chromium.WHAT_TO_INSTALL)
        pytest.skip(chromium.WHAT_TO_INSTALL)
    with chromium.launched(path) as running:
        yield running


@pytest.fixture(scope="package")
def model() -> Iterator[ScriptedServer]:
    """The model server behind `server`."""
    with start_in_thread(lambda request: ()) as running:
        yield running


@pytest.fixture(scope="package")
def server(model: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The site, with answers that tests script."""
    yield from serving(
        ServerProcess(
            tmp_path_factory.mktemp("server"),
            upstream=model.base_url,
            AGENT_QUEUE_MAX_MESSAGES=str(QUEUE_MAX_MESSAGES),
            AGENT_BACKOFF_FIRST_S="0.2",
            AGENT_ATTEMPTS_MAX="2",
        )
    )


@pytest.fixture(scope="package")
def demo_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The site as a newcomer starts it, with the built-in demo model."""
    yield from serving(ServerProcess(tmp_path_factory.mktemp("demo")))


def serving(server: ServerProcess) -> Iterator[ServerProcess]:
    """Start it, and leave nothing behind."""
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def upstream(model: ScriptedServer) -> ScriptedServer:
    """A model server that was asked nothing yet."""
    for exchange in model.exchanges:
        exchange.wait_until_ended(timeout_s=10)
    model.exchanges.clear()
    model.script = lambda request: ()
    return model


Arrive = Callable[..., Visitor]


@pytest.fixture
def arrive(chrome: Browser) -> Iterator[Arrive]:
    """Makes visitors: `arrive(server)`, with options of the browser's context. Looks for faults at the end."""
    with ExitStack() as leaving:

        def make(server: ServerProcess, **options: Any) -> Visitor:
            visitor = Visitor(chrome, server.base, **options)
            leaving.callback(visitor.close)
            return visitor

        yield make


@pytest.fixture
def visitor(arrive: Arrive, server: ServerProcess, upstream: ScriptedServer) -> Visitor:
    """Somebody new, on a site whose answers the test scripts with `upstream`."""
    return arrive(server)


@pytest.fixture
def gate(upstream: ScriptedServer) -> Gate:
    """Ends the answer to "busy"."""
    gate = Gate()
    upstream.script = busy_until(gate)
    return gate


@pytest.fixture
def busy(visitor: Visitor, gate: Gate) -> Tab:
    """A tab on a conversation in which an answer streams."""
    tab = visitor.open()
    tab.say("busy")
    tab.until("() => document.querySelector('[data-role=assistant] .content')?.textContent.includes('I am')")
    return tab


@pytest.fixture
def away(visitor: Visitor, busy: Tab, server: ServerProcess) -> Tab:
    """A tab with one message in its queue, without a connection."""
    visitor.may_lose_server = True
    busy.say("waiting")
    busy.expect_queue("waiting")
    server.kill()
    busy.expect_connection("offline")
    return busy
