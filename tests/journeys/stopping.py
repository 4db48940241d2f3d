"""The journey of somebody who presses Stop, at every moment at which that is possible.

The model server's own record says when its connection was closed.
"""

from __future__ import annotations

import asyncio
import time
from statistics import median

import pytest

from chat.core.prompt import STOPPED_NOTE
from chat.llm.scripted_steps import Ending, Exchange, Gate, Hang, Refuse, Say, Step, Wait
from tests.journeys import figures
from tests.journeys.place import FAR_S, Place, contents
from tests.server import Wire

ROUNDS = 7
# What a person does not notice as waiting; measured are about 10 ms.
STOPPED_WITHIN_S = 0.1
# Where others take the machine, a stop may take as long as so many questions (about 3 ms each when nobody does).
SLOW_DAY = 20
STREAM_WITHOUT_END = (Say(text="word " * 5_000, delay_s=0.02),)
NEVER_A_WORD: tuple[Step, ...] = (Hang(),)


class StoppingJourney:
    """Subclassed by each way to serve."""

    async def test_stop_before_the_first_token(self, place: Place) -> None:
        place.answers(NEVER_A_WORD)
        took_s: list[float] = []
        async with place.socket() as wire:
            for number in range(ROUNDS):
                await wire.say("Hello?")
                exchange = await place.exchange(number)
                took_s.append(await stop(wire, exchange))
        await self._show(place, "before the first token", took_s)
        assert place.transcript() == [("user", "complete", "Hello?"), ("assistant", "interrupted", "")] * ROUNDS

    async def test_stop_in_mid_stream_keeps_the_text_and_the_next_prompt_has_it(self, place: Place) -> None:
        place.answers(STREAM_WITHOUT_END)
        took_s: list[float] = []
        async with place.socket() as wire:
            for number in range(ROUNDS):
                await wire.say("Hello?")
                await wire.until_text()
                await wire.until_text()
                took_s.append(await stop(wire, await place.exchange(number)))
            place.answers((Say(text="Fine."),))
            await wire.say("Go on.")
            await wire.until_idle()
            assert wire.wrong_offsets == []
            kept = [text for role, _, text in place.transcript() if role == "assistant"][:-1]
            streamed = [wire.texts[row["id"]] for row in wire.messages.values() if row["state"] == "interrupted"]
        await self._show(place, "in mid-stream", took_s)
        assert all(kept)
        assert kept == streamed
        said = [text for role, text in place.prompt().messages if role == "assistant"]
        assert said == [f"{text}\n\n{STOPPED_NOTE}" for text in kept]

    async def test_stop_pressed_twice_stops_once(self, place: Place) -> None:
        place.answers(STREAM_WITHOUT_END)
        took_s: list[float] = []
        async with place.socket() as wire:
            for number in range(ROUNDS):
                await wire.say("Hello?")
                await wire.until_text()
                exchange = await place.exchange(number)
                sent_at_s = time.monotonic()
                await wire.send(type="stop")
                await wire.send(type="stop")
                seen = len(wire.frames)
                await wire.until_idle()
                took_s.append(await took(exchange, sent_at_s))
                if not any(frame["type"] == "error" for frame in wire.frames[seen:]):
                    await wire.until_error()
                error = next(frame for frame in wire.frames[seen:] if frame["type"] == "error")
                assert error["code"] == "nothing_to_stop"
                assert wire.state["phase"] == "idle"
            stops = [frame for frame in wire.frames if frame.get("event_type") == "stop_requested"]
        await self._show(place, "twice", took_s)
        assert len(stops) == ROUNDS

    async def test_stop_at_the_very_end_leaves_a_whole_answer_or_a_stopped_one(self, place: Place) -> None:
        took_s: list[float] = []
        async with place.socket() as wire:
            for number in range(2 * ROUNDS):
                last_word = Gate()
                place.answers((Say(text="The whole answer"), Wait(gate=last_word)))
                await wire.say("Hello?")
                await wire.until_text()
                exchange = await place.exchange(number)
                while wire.texts[wire.state["messages"][-1]["id"]] != "The whole answer":
                    await wire.until_text()
                sent_at_s = time.monotonic()
                if number % 2:
                    last_word.open()
                    # The stop arrives around the moment at which the answer is over.
                    await asyncio.sleep(number / 2000)
                await wire.send(type="stop")
                last_word.open()
                await wire.until_idle()
                took_s.append(time.monotonic() - sent_at_s)
                assert await exchange.ended() in (Ending.CLOSED_BY_CLIENT, Ending.COMPLETED)
            await wire.send(type="sync", after=0)
            await wire.until(lambda frame: frame.get("full") is True)
            assert (wire.state["phase"], wire.state["held"], wire.state["queue"]) == ("idle", False, [])
        await self._show(place, "at the very end", took_s)
        answers = [row for row in place.transcript() if row[0] == "assistant"]
        assert len(answers) == 2 * ROUNDS
        assert {state for _, state, _ in answers} <= {"complete", "interrupted"}
        assert {text for _, _, text in answers} == {"The whole answer"}

    async def test_stop_during_back_off_asks_the_model_no_more(self, place: Place) -> None:
        place.answers((Refuse(status=429, headers=(("retry-after", "30"),)),))
        took_s: list[float] = []
        async with place.socket() as wire:
            for _ in range(ROUNDS):
                await wire.say("Hello?")
                await wire.until_event("llm_response_delayed")
                sent_at_s = time.monotonic()
                await wire.send(type="stop")
                await wire.until_idle()
                took_s.append(time.monotonic() - sent_at_s)
        await self._show(place, "during back-off", took_s)
        assert len(place.upstream.exchanges) == ROUNDS
        assert [state for role, state, _ in place.transcript() if role == "assistant"] == ["interrupted"] * ROUNDS

    async def test_stop_after_a_reload(self, place: Place) -> None:
        place.answers(STREAM_WITHOUT_END)
        took_s: list[float] = []
        for number in range(ROUNDS):
            async with place.socket() as before:
                await before.say("Hello?")
                await before.until_text()
            async with place.socket() as after:
                assert after.state["phase"] == "generating"
                assert after.state["messages"][-1]["content"]
                took_s.append(await stop(after, await place.exchange(number)))
        await self._show(place, "after a reload", took_s)

    async def test_stop_from_another_tab_is_seen_in_both(self, place: Place) -> None:
        place.answers(STREAM_WITHOUT_END)
        took_s: list[float] = []
        async with place.socket() as here, place.socket() as there:
            for number in range(ROUNDS):
                await here.say("Hello?")
                await there.until_text()
                took_s.append(await stop(there, await place.exchange(number)))
                await here.until_idle()
                assert here.state["messages"] == there.state["messages"]
                assert here.state["seq"] == there.state["seq"]
        await self._show(place, "from another tab", took_s)

    async def test_after_a_stop_the_queue_is_held_until_resume(self, place: Place) -> None:
        place.answers({"long": STREAM_WITHOUT_END, "second": (Say(text="2"),), "third": (Say(text="3"),)})
        async with place.socket() as wire:
            await wire.say("long")
            await wire.say("second")
            await wire.until_known(await wire.say("third"))
            await stop(wire, await place.exchange(0))
            assert wire.state["held"] is True
            assert contents(wire.state) == ["second", "third"]
            with pytest.raises(TimeoutError):
                await wire.receive(within_s=0.5)
            assert place.questions == ["long"]
            await wire.send(type="queue_resume")
            await wire.until(lambda frame: frame.get("phase") == "idle" and not frame["queue"])
            assert wire.state["held"] is False
        assert place.questions == ["long", "second", "third"]

    async def test_after_a_stop_a_new_message_goes_first_and_the_held_ones_stay(self, place: Place) -> None:
        place.answers({"long": STREAM_WITHOUT_END, "waiting": (Say(text="1"),), "new": (Say(text="2"),)})
        async with place.socket() as wire:
            await wire.say("long")
            await wire.until_known(await wire.say("waiting"))
            await stop(wire, await place.exchange(0))
            await wire.say("new")
            await wire.until_event("llm_response_completed")
            assert (wire.state["phase"], wire.state["held"]) == ("idle", True)
            assert contents(wire.state) == ["waiting"]
        assert place.questions == ["long", "new"]

    async def test_retry_answers_the_stopped_message_again(self, place: Place) -> None:
        place.answers(STREAM_WITHOUT_END)
        async with place.socket() as wire:
            await wire.say("Hello?")
            await wire.until_text()
            await stop(wire, await place.exchange(0))
            place.answers((Say(text="Better."),))
            await wire.send(type="retry")
            await wire.until_event("llm_response_completed")
            await wire.send(type="retry")
            assert (await wire.until_error())["code"] == "nothing_to_retry"
        assert place.questions == ["Hello?", "Hello?"]
        assert [role for role, _ in place.prompt().messages] == ["system", "user"]
        assert [(role, state) for role, state, _ in place.transcript()] == [
            ("user", "complete"),
            ("assistant", "interrupted"),
            ("assistant", "complete"),
        ]

    async def _show(self, place: Place, when: str, took_s: list[float]) -> None:
        middle_s = figures.show_times(f"{type(self).__name__}: {when}, idle and upstream closed", took_s)
        assert middle_s < max(STOPPED_WITHIN_S, SLOW_DAY * await round_trip(place))


async def round_trip(place: Place) -> float:
    """Seconds that this machine takes just now to ask for a conversation and get it."""
    took_s: list[float] = []
    async with place.socket() as wire:
        for _ in range(ROUNDS):
            sent_at_s = time.monotonic()
            await wire.send(type="sync", after=0)
            await wire.receive()
            took_s.append(time.monotonic() - sent_at_s)
    return median(took_s)


async def stop(wire: Wire, exchange: Exchange) -> float:
    """Press Stop. Seconds until the phase was idle and the model server's connection closed."""
    sent_at_s = time.monotonic()
    await wire.send(type="stop")
    await wire.until_idle()
    return await took(exchange, sent_at_s)


async def took(exchange: Exchange, sent_at_s: float) -> float:
    """Seconds from the stop until both had happened; now the phase is idle."""
    idle_s = time.monotonic() - sent_at_s
    async with asyncio.timeout(FAR_S):
        assert await exchange.ended() is Ending.CLOSED_BY_CLIENT
    assert exchange.ended_at_s is not None
    return max(idle_s, exchange.ended_at_s - sent_at_s)
