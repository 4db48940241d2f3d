"""The same under another server."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import Iterator

import pytest

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import Ending, Gate, Say, Wait
from tests.journeys import figures
from tests.journeys.place import FAR_S, Place
from tests.journeys.sending import SendingJourney
from tests.server import PASSWORD, Person, ServerProcess

SERVICE_RESTART = 1012
NOT_LOGGED_IN, WRONG_ORIGIN = 4401, 4403
COMMAND = [
    sys.executable,
    *("-m", "uvicorn", "agentsite.asgi:application", "--port", "{port}"),
    *("--ws-per-message-deflate", "false"),
]


@pytest.fixture(scope="module")
def server(upstream: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The site under uvicorn, which neither migrates nor makes accounts."""
    folder = tmp_path_factory.mktemp("uvicorn")
    running = ServerProcess(folder, command=COMMAND, upstream=upstream.base_url, DJANGO_SUPERUSER_PASSWORD=PASSWORD)
    for words in (
        ("migrate",),
        ("createsuperuser", "--noinput", "--username", "admin", "--email", "admin@example.com"),
    ):
        done = running.manage(*words)
        assert done.returncode == 0, done.stderr
    running.start()
    yield running
    running.close()


class TestSendingUnderUvicorn(SendingJourney):
    """Under uvicorn."""


async def test_sockets_are_closed_as_under_daphne(place: Place) -> None:
    async with Person(place.server.base).socket("/ws/") as wire:
        assert await wire.closed() == NOT_LOGGED_IN


async def test_an_origin_that_can_not_be_read_is_a_wrong_one(place: Place) -> None:
    async with Person(place.server.base).socket("/ws/", origin="http://[") as wire:
        assert await wire.closed() == WRONG_ORIGIN


async def test_uvicorn_asked_to_end_drains_and_the_next_one_finishes_its_work(place: Place) -> None:
    place.answers((Say(text="The first half"), Wait(gate=Gate())))
    async with place.socket() as wire:
        await wire.say("Hello?")
        while "The first half" not in wire.texts.values():
            await wire.until_text()
        asked_at_s = time.monotonic()
        exit_code, close_code = await asyncio.gather(
            asyncio.to_thread(place.server.stop, signal.SIGTERM, within_s=FAR_S), wire.closed()
        )
        figures.show_times("uvicorn ended by SIGTERM in a stream", [time.monotonic() - asked_at_s])
    # uvicorn itself ends by the signal once it has drained.
    assert exit_code in (0, -signal.SIGTERM)
    assert close_code == SERVICE_RESTART
    assert place.upstream.exchanges[0].ending is Ending.CLOSED_BY_CLIENT

    place.answers((Say(text="All of it."),))
    # Nobody visits: the site starts with the server and takes over what was left.
    place.server.start(path="/healthz")
    await place.exchange(1)
    async with place.socket() as wire:
        if wire.state["phase"] != "idle":
            await wire.until_idle()
    assert place.transcript() == [("user", "complete", "Hello?"), ("assistant", "complete", "All of it.")]
    log = place.server.log.read_text()
    assert "Application startup complete." in log
    assert "Application shutdown complete." in log
    assert "Traceback" not in log
