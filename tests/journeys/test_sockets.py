"""Whoever listens, from whenever, through whatever losses, ends with the same text."""

from __future__ import annotations

import asyncio

from chat.llm.scripted_steps import Flood, Gate, Say, Step, Wait
from tests.journeys.place import FAR_S, Place
from tests.server import Frame, Wire

# Characters of one to four bytes, and one that is two in UTF-16: offsets count characters.
ANSWER = "Grüße, 世界! 🦜 word " * 40
TOKEN_DELAY_S = 0.01


class Leaky:
    """A client that loses every third frame, and asks again when an offset or a `seq` shows a gap.

    It knows nothing but the contract: a full update replaces all that it has, a text that begins further on
    than what it has is a gap.
    """

    def __init__(self, wire: Wire) -> None:
        self.wire = wire
        self.seq = 0
        self.phase = ""
        self.messages: dict[str, Frame] = {}
        self.syncs = 0
        self.lost = 0
        self._count = 0
        self._is_asking = False
        self._apply(wire.state)

    async def listen_until_idle(self, last: str) -> None:
        """Until this message was answered and nothing runs."""
        while not (self.phase == "idle" and last in self.messages):
            try:
                frame = await self.wire.receive(within_s=1)
            except TimeoutError:
                # Nothing shows that the very last frame was lost; a client that hears nothing asks.
                await self._ask()
                continue
            self._count += 1
            if self._count % 3 == 0:
                self.lost += 1
                self._is_asking = False
            elif not self._apply(frame):
                await self._ask()

    async def _ask(self) -> None:
        if not self._is_asking:
            self._is_asking = True
            self.syncs += 1
            await self.wire.send(type="sync", after=self.seq)

    def _apply(self, frame: Frame) -> bool:
        """False when there is a gap before this frame."""
        if frame["type"] == "llm_response_delta":
            message = self.messages.get(frame["message_id"])
            if message is None or frame["offset"] > len(message["content"]):
                return False
            message["content"] = message["content"][: frame["offset"]] + frame["text"]
            return True
        if frame["full"]:
            self._is_asking = False
            self.messages = {}
        elif frame["seq"] <= self.seq:
            return True
        elif frame["seq"] > self.seq + 1:
            return False
        self.seq = frame["seq"]
        self.phase = frame["phase"]
        self.messages |= {message["id"]: dict(message) for message in frame["messages"]}
        return True


async def test_sockets_that_join_late_reconnect_or_lose_frames_end_with_the_same_text(place: Place) -> None:
    place.answers((Say(text=ANSWER, delay_s=TOKEN_DELAY_S),))
    async with place.socket() as steady, place.socket() as tub:
        leaky = Leaky(tub)
        await steady.say("first")
        last = await steady.say("second")

        async def join_in_the_middle() -> Wire:
            await asyncio.sleep(1)
            async with place.socket() as wire:
                assert wire.state["messages"][-1]["content"]
                await wire.until_idle(within_s=FAR_S)
                return wire

        async def reconnect() -> list[Wire]:
            wires = []
            for _ in range(5):
                async with place.socket() as wire:
                    wires.append(wire)
                    await wire.until_text()
                    await asyncio.sleep(0.3)
                    await wire.until_text()
            async with place.socket() as wire:
                wires.append(wire)
                await wire.until_idle(within_s=FAR_S)
            return wires

        _, _, late, reconnected = await asyncio.gather(
            steady.until_idle(within_s=FAR_S),
            leaky.listen_until_idle(last),
            join_in_the_middle(),
            reconnect(),
        )
    exported = {row["id"]: row["content"] for row in place.export()["messages"]}
    answers = {row["id"]: row["content"] for row in place.export()["messages"] if row["role"] == "assistant"}
    assert list(answers.values()) == [ANSWER, ANSWER]
    for wire in (steady, late, *reconnected):
        assert wire.wrong_offsets == []
    for wire in (steady, late, reconnected[-1]):
        assert {key: wire.texts[key] for key in answers} == answers
    assert {key: row["content"] for key, row in leaky.messages.items()} == exported
    assert leaky.lost > 20
    assert leaky.syncs > 3


async def test_sync_answers_with_the_whole_conversation_and_the_text_so_far(place: Place) -> None:
    rest = Gate()
    steps: dict[str, tuple[Step, ...]] = {
        "first": (Say(text="One."),),
        "second": (Say(text="Two and"), Wait(gate=rest), Say(text=" a half.")),
    }
    place.answers(steps)
    async with place.socket() as wire:
        await wire.say("first")
        await wire.until_event("llm_response_completed")
        await wire.say("second")
        await wire.until_text()
        while not any(text == "Two and" for text in wire.texts.values()):
            await wire.until_text()
        for after in (0, 1, wire.state["seq"] - 1, wire.state["seq"], 2**53):
            await wire.send(type="sync", after=after)
            answer = await wire.receive()
            assert answer["full"] is True
            assert [row["content"] for row in answer["messages"]] == ["first", "One.", "second", "Two and"]
        rest.open()
        await wire.until_idle()
        assert wire.wrong_offsets == []
        assert [text for text in wire.texts.values() if "half" in text] == ["Two and a half."]


async def test_a_flood_reaches_every_socket_whole(place: Place) -> None:
    place.answers((Flood(text="0123456789", count=20_000), Say(text=" end")))
    async with place.socket() as one, place.socket() as other:
        await one.say("Flood!")
        await asyncio.gather(one.until_idle(within_s=FAR_S), other.until_idle(within_s=FAR_S))
        answer = one.state["messages"][-1]
        assert answer["content"] == "0123456789" * 20_000 + " end"
        for wire in (one, other):
            assert wire.texts[answer["id"]] == answer["content"]
            assert wire.wrong_offsets == []


async def test_the_first_frame_holds_at_most_the_last_fifty_messages(place: Place) -> None:
    place.answers((Say(text="ok"),))
    async with place.socket() as wire:
        for number in range(27):
            await wire.say(f"question {number}")
            await wire.until_idle()
    async with place.socket() as wire:
        assert len(wire.state["messages"]) == 50
        assert wire.state["messages"][-2]["content"] == "question 26"
        await wire.send(type="sync", after=3)
        assert len((await wire.receive())["messages"]) == 50


async def test_a_conversation_of_more_than_a_mebibyte_is_sent_whole(place: Place) -> None:
    place.answers((Say(text="ok"),))
    question = "x" * 32_000
    async with place.socket() as wire:
        for _ in range(25):
            await wire.say(question)
            await wire.until_idle()
            await wire.say("世" * 10_000)
            await wire.until_idle()
    async with place.socket() as wire:
        assert sum(len(row["content"].encode()) for row in wire.state["messages"]) > 700_000
        place.answers((Flood(text=question, count=40),))
        await wire.say("More!")
        await wire.until_idle()
        assert wire.state["messages"][-1]["content"] == question * 40
    async with place.socket() as wire:
        assert wire.state["messages"][-1]["content"] == question * 40


async def test_closing_every_socket_changes_nothing(place: Place) -> None:
    rest = Gate()
    place.answers((Say(text="Nobody"), Wait(gate=rest), Say(text=" listens.")))
    async with place.socket() as wire:
        await wire.say("Hello?")
        await wire.until_text()
        seq = wire.state["seq"]
    async with place.socket() as wire:
        assert wire.state["seq"] == seq
    rest.open()
    async with place.socket() as wire:
        if wire.state["phase"] != "idle":
            await wire.until_idle()
    assert place.transcript() == [
        ("user", "complete", "Hello?"),
        ("assistant", "complete", "Nobody listens."),
    ]
