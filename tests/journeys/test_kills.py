"""The plug is pulled at random moments: in a stream, between two, in a start, in the middle of a commit.

`KILLS` in the environment says how often, `KILL_SEED` replays a run; the seed is shown with the figures.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import Say
from tests.journeys import figures
from tests.journeys.place import FAR_S, Place
from tests.server import ServerProcess, Wire

KILLS = int(os.environ.get("KILLS") or 50)
SEED = int(os.environ.get("KILL_SEED") or random.randrange(10**9))
ANSWER = " one two three four five six seven eight"
TOKEN_DELAY_S = 0.02
# An answer takes about 0.2 s: a kill finds anything from the first message on its way to all answered.
LONGEST_TALK_S = 0.6
# A start takes about 2 s; a kill in it finds anything from the first import to runs that are taken over.
START_S = (0.5, 3.0)


@pytest.fixture(scope="module")
def server(upstream: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server of its own, because it does not live long."""
    running = ServerProcess(tmp_path_factory.mktemp("killed"), upstream=upstream.base_url)
    running.start()
    yield running
    running.close()


class Client:
    """Sends messages, and sends again with the same id what was not acknowledged."""

    def __init__(self, place: Place, chance: random.Random) -> None:
        self.sent: dict[str, str] = {}
        self.acknowledged: set[str] = set()
        self.repeated = 0
        self._place = place
        self._chance = chance

    async def recover(self) -> None:
        """Wait until the server has done all that it had accepted, by itself."""
        async with self._place.socket() as wire:
            await self._send_again(wire)
            while wire.state["phase"] != "idle" or wire.state["queue"] or self._open:
                await wire.receive(within_s=FAR_S)
                self._note(wire)
            assert wire.state["held"] is False
            assert not [row for row in wire.messages.values() if row["state"] == "streaming"]
            assert wire.wrong_offsets == []

    async def talk_until_killed(self) -> None:
        """Send messages; the server dies meanwhile."""
        async with self._place.socket() as wire:
            await self._send_again(wire)
            killer = asyncio.create_task(self._kill_soon())
            try:
                for _ in range(self._chance.randrange(1, 5)):
                    content = f"question {len(self.sent)}"
                    self.sent[await wire.say(content)] = content
                    await asyncio.sleep(self._chance.choice((0, 0, 0.05)))
                while True:
                    await wire.receive(within_s=FAR_S)
            except ConnectionClosed:
                await killer
            self._note(wire)
            assert wire.wrong_offsets == []

    @property
    def _open(self) -> list[str]:
        return [message_id for message_id in self.sent if message_id not in self.acknowledged]

    async def _kill_soon(self) -> None:
        await asyncio.sleep(self._chance.uniform(0, LONGEST_TALK_S))
        self._place.server.kill()

    async def _send_again(self, wire: Wire) -> None:
        self._note(wire)
        for message_id in self._open:
            self.repeated += 1
            await wire.say(self.sent[message_id], id=message_id)

    def _note(self, wire: Wire) -> None:
        for frame in wire.frames:
            for row in (*frame.get("messages", ()), *frame.get("queue", ())):
                self.acknowledged.add(row["id"])


@pytest.mark.timeout(900)
async def test_a_server_killed_at_random_moments_answers_each_accepted_message_once(
    place: Place, tmp_path: Path
) -> None:
    chance = random.Random(SEED)
    figures.show(f"kill -9: KILLS={KILLS} KILL_SEED={SEED}")
    place.answers(lambda request: (Say(text=f"re: {request.last_user_text}{ANSWER}", delay_s=TOKEN_DELAY_S),))
    client = Client(place, chance)
    kills = in_start = in_recovery = 0
    while kills < KILLS:
        if kills and chance.random() < 0.3:
            in_recovery += 1
        else:
            await client.recover()
        await client.talk_until_killed()
        kills += 1
        if chance.random() < 0.2:
            place.server.launch()
            await asyncio.sleep(chance.uniform(*START_S))
            place.server.kill()
            in_start += 1
            kills += 1
        place.server.start()
    await client.recover()

    transcript = place.transcript()
    assert transcript == [
        row
        for content in client.sent.values()
        for row in (("user", "complete", content), ("assistant", "complete", f"re: {content}{ANSWER}"))
    ]
    exported = [row["id"] for row in place.export()["messages"] if row["role"] == "user"]
    assert exported == list(client.sent)
    checked = place.server.manage("check_replay")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "Traceback" not in place.server.log.read_text()
    figures.show(
        f"  {kills} kills, {in_start} in a start, {in_recovery} in a recovery; {len(client.sent)} messages, "
        f"{client.repeated} sent again, {len(place.questions)} questions to the model; "
        f"{checked.stdout.strip()}"
    )
