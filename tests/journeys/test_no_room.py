"""The database has no room: nobody is left without an answer, nothing is lost, and it goes on when there is room."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import closing

import pytest

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import Gate, Say, Wait
from tests.journeys.place import Place
from tests.processes import wait_until
from tests.server import Person, ServerProcess


@pytest.fixture(scope="module")
def server(upstream: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of its own, whose disk is full now and then."""
    with closing(ServerProcess(tmp_path_factory.mktemp("full"), upstream=upstream.base_url)) as running:
        running.start()
        yield running


def ready(server: ServerProcess) -> tuple[int, str]:
    return Person(server.base).get("/readyz")


async def test_a_message_that_can_not_be_saved_is_answered_and_is_taken_once_there_is_room(place: Place) -> None:
    place.answers((Say(text="ok"),))
    async with place.socket() as wire:
        with place.server.without_room():
            message_id = await wire.say("Is anybody there?")
            refused = await wire.until_error()
            assert (refused["code"], refused["ref"]) == ("not_saved", message_id)
            assert "could not be saved" in refused["message"]
            await wire.send(type="stop")
            assert (await wire.until_error())["code"] == "nothing_to_stop"
            await asyncio.to_thread(
                wait_until,
                lambda: ready(place.server)[0] == 503,
                within_s=20,
                what="the site to say that it can't work",
            )
            assert "database: it takes nothing" in ready(place.server)[1]
        await wire.say("Is anybody there?", id=message_id)
        await wire.until_event("llm_response_completed")
    await asyncio.to_thread(wait_until, lambda: ready(place.server)[0] == 200, within_s=20, what="all to be well")
    assert place.transcript() == [("user", "complete", "Is anybody there?"), ("assistant", "complete", "ok")]


async def test_a_file_that_can_not_be_saved_is_refused_in_words_and_taken_once_there_is_room(place: Place) -> None:
    with place.server.without_room():
        status, words = await asyncio.to_thread(place.person.upload, place.conversation, "a.csv", b"a,b\n")
        assert (status, words.partition(":")[0]) == (503, "a.csv could not be saved")
    status, _ = await asyncio.to_thread(place.person.upload, place.conversation, "a.csv", b"a,b\n")
    assert status == 201


async def test_an_answer_goes_on_without_room_and_is_whole_once_there_is_some(place: Place) -> None:
    rest = Gate()
    place.answers((Say(text="First half, "), Wait(gate=rest), Say(text="second half.")))
    async with place.socket() as wire:
        await wire.say("Hello?")
        while "First half, " not in wire.texts.values():
            await wire.until_text()
        with place.server.without_room():
            rest.open()
            while "First half, second half." not in wire.texts.values():
                await wire.until_text()
            await asyncio.to_thread(
                wait_until, lambda: "could not be saved" in place.server.log_text, within_s=20, what="a word in the log"
            )
        await wire.until_event("llm_response_completed")
    assert place.transcript()[-1] == ("assistant", "complete", "First half, second half.")
    assert "Traceback" not in place.server.log_text
    assert "give the database room" in place.server.log_text
