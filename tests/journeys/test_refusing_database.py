"""The database is there, and refuses one thing each time."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import Say
from tests.journeys.place import Place
from tests.server import ServerProcess

REFUSING = """
CREATE TRIGGER refusing BEFORE INSERT ON chat_event WHEN NEW.name = 'llm_response_completed'
BEGIN SELECT RAISE(ABORT, 'never'); END
"""


@pytest.fixture(scope="module")
def server(upstream: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of its own, whose database is changed."""
    with closing(ServerProcess(tmp_path_factory.mktemp("refusing"), upstream=upstream.base_url)) as running:
        running.start()
        yield running


async def test_an_answer_whose_end_is_refused_each_time_ends_in_words_and_can_be_tried_again(place: Place) -> None:
    place.answers((Say(text="An answer."),))
    with closing(sqlite3.connect(place.server.folder / "db.sqlite3", isolation_level=None)) as database:
        database.execute(REFUSING)
        async with place.socket() as wire:
            await wire.say("Hello?")
            ended = await wire.until_event("llm_response_failed")
            assert ended["phase"] == "idle"
            assert "can't be saved as it is, and is given up" in place.server.log_text
            database.execute("DROP TRIGGER refusing")
            await wire.send(type="retry")
            await wire.until_event("llm_response_completed")
    assert place.transcript()[-1] == ("assistant", "complete", "An answer.")
