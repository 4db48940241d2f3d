"""The server is asked to end while it is busy."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Iterator

import pytest

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import Ending, Gate, Say, ScriptedRequest, Step, Wait
from tests.journeys import figures
from tests.journeys.place import FAR_S, Place, contents
from tests.server import ServerProcess

SERVICE_RESTART = 1012
# What somebody waits for after Ctrl-C without wondering; measured is far less than a second.
ENDS_WITHIN_S = 5.0
SHOW_TEXTS = """
from chat.models import Message
print(*Message.objects.filter(conversation="{conversation}").values_list("content", flat=True))
"""


@pytest.fixture(scope="module")
def server(upstream: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of its own, because it is ended."""
    running = ServerProcess(tmp_path_factory.mktemp("ended"), upstream=upstream.base_url)
    running.start()
    yield running
    running.close()


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
async def test_a_server_asked_to_end_drains_and_the_next_one_finishes_its_work(
    place: Place, by: signal.Signals
) -> None:
    rest = Gate()

    def script(request: ScriptedRequest) -> tuple[Step, ...]:
        if request.last_user_text == "long" and request.number == 0:
            return (Say(text="The first half"), Wait(gate=rest))
        return (Say(text=f"re: {request.last_user_text}"),)

    place.answers(script)
    async with place.socket() as here, place.socket() as there:
        await here.say("long")
        await here.until_known(await here.say("waiting"))
        while "The first half" not in here.texts.values():
            await here.until_text()
        asked_at_s = time.monotonic()
        exit_code, *close_codes = await asyncio.gather(
            asyncio.to_thread(place.server.stop, by, within_s=FAR_S), here.closed(), there.closed()
        )
        took_s = time.monotonic() - asked_at_s
    figures.show_times(f"ended by {by.name} in a stream", [took_s])
    assert exit_code == 0
    assert close_codes == [SERVICE_RESTART, SERVICE_RESTART]
    assert took_s < ENDS_WITHIN_S
    assert place.upstream.exchanges[0].ending is Ending.CLOSED_BY_CLIENT

    place.server.start()
    async with place.socket() as wire:
        while wire.state["phase"] != "idle" or contents(wire.state):
            await wire.receive()
        assert wire.wrong_offsets == []
    assert place.questions == ["long", "long", "waiting"]
    assert place.transcript() == [
        ("user", "complete", "long"),
        ("assistant", "complete", "re: long"),
        ("user", "complete", "waiting"),
        ("assistant", "complete", "re: waiting"),
    ]


async def test_the_text_so_far_is_kept_by_a_server_that_ends(place: Place) -> None:
    place.answers((Say(text="The first half"), Wait(gate=Gate())))
    async with place.socket() as wire:
        await wire.say("Hello?")
        while "The first half" not in wire.texts.values():
            await wire.until_text()
        assert await asyncio.to_thread(place.server.stop) == 0
    kept = place.server.manage("shell", "-v", "0", "-c", SHOW_TEXTS.format(conversation=place.conversation))
    place.server.start()
    assert "The first half" in kept.stdout


async def test_a_server_that_has_nothing_to_do_ends_at_once(place: Place) -> None:
    async with place.socket() as wire:
        exit_code, close_code = await asyncio.gather(
            asyncio.to_thread(place.server.stop, signal.SIGINT, within_s=FAR_S), wire.closed()
        )
    place.server.start()
    assert (exit_code, close_code) == (0, SERVICE_RESTART)
