"""The order of what a socket is told, where another process is ahead of what has been heard here."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import msgspec
import pytest

from chat.conf import Conf
from chat.store import reads
from chat.web.out_json import JsonOut
from chat.web.reader import Reader
from tests.core.talk import Talk, message_id
from tests.test_bus import a_bus, announced, reader
from tests.web.viewing import view_of


class Client:
    """One that goes by `seq`: of what it has heard already it takes nothing again, unless that is the whole."""

    def __init__(self) -> None:
        self.seq = 0
        self.shown: dict[str, Any] = {}

    def take(self, frames: list[str]) -> None:
        for frame in frames:
            update = msgspec.json.decode(frame)
            if update["full"] or update["seq"] > self.seq:
                self.seq = update["seq"]
                self.shown |= {message["id"]: message for message in update["messages"]}


@pytest.mark.parametrize("ahead", [0, 1])
async def test_a_message_accepted_before_hides_nothing_that_is_still_to_come(
    ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus, talk, client = a_bus(), Talk(), Client()
    subscription = await reader(bus, talk)
    way = Reader(subscription, JsonOut(), Conf())
    talk.send("a")
    bus.announce(announced(talk, seq=1))
    client.take(await way.take())
    asked, answer = message_id("a"), talk.answer.message_id
    talk.complete("All of it.")
    monkeypatch.setattr(reads, "view", lambda *words, **limits: view_of(talk, seq=2))
    repeated = replace(announced(talk, seq=1 + ahead), messages=(talk.ledger.messages[asked],))
    subscription.repeat(repeated)
    client.take(await way.take())
    bus.announce(announced(talk, seq=2))
    client.take(await way.take())
    assert client.shown[str(asked)]["content"] == talk.ledger.messages[asked].content
    assert (client.shown[str(answer)]["state"], client.shown[str(answer)]["content"]) == ("complete", "All of it.")
