"""What somebody can do with messages that wait, and how messages reach an agent that is busy."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from chat.llm.scripted_steps import Ending, Gate, Say, ScriptedRequest, Step, Wait
from tests.journeys.place import Place, contents
from tests.server import Wire


@asynccontextmanager
async def busy(place: Place, gate: Gate) -> AsyncIterator[Wire]:
    """A socket on a conversation whose answer to "busy" streams until the gate opens."""

    def script(request: ScriptedRequest) -> Sequence[Step]:
        if request.last_user_text == "busy":
            return (Say(text="I am"), Wait(gate=gate), Say(text=" done."))
        return (Say(text=f"re: {request.last_user_text}"),)

    place.answers(script)
    async with place.socket() as wire:
        await wire.say("busy")
        await wire.until_text()
        yield wire
        gate.open()


async def until_all_is_done(wire: Wire) -> None:
    """Until nothing runs and nothing waits."""
    await wire.until(lambda frame: frame.get("phase") == "idle" and not frame["queue"])


async def test_a_message_that_interrupts_stops_the_run_and_goes_next(place: Place) -> None:
    async with busy(place, Gate()) as wire:
        await wire.until_known(await wire.say("waiting"))
        await wire.say("now!", delivery="interrupt")
        await until_all_is_done(wire)
        assert wire.state["held"] is False
    assert place.questions == ["busy", "now!", "waiting"]
    assert place.upstream.exchanges[0].ending is Ending.CLOSED_BY_CLIENT
    assert ("assistant", "interrupted", "I am") in place.transcript()


async def test_a_message_that_steers_goes_before_those_that_wait(place: Place) -> None:
    gate = Gate()
    async with busy(place, gate) as wire:
        await wire.say("waiting")
        await wire.say("steer 1", delivery="steer")
        frame = await wire.until_known(await wire.say("steer 2", delivery="steer"))
        assert contents(frame) == ["steer 1", "steer 2", "waiting"]
        assert [item["delivery"] for item in frame["queue"]] == ["steer", "steer", "queue"]
        gate.open()
        await until_all_is_done(wire)
    assert place.questions == ["busy", "steer 1", "steer 2", "waiting"]
    assert place.upstream.exchanges[0].ending is Ending.COMPLETED


async def test_waiting_messages_can_be_edited_moved_withdrawn_and_held(place: Place) -> None:
    gate = Gate()
    async with busy(place, gate) as wire:
        first, second, third = [await wire.say(text) for text in ("first", "second", "third")]
        await wire.until_known(third)
        await wire.send(type="queue_edit", id=second, content="second, edited")
        assert contents(await wire.until_event("queue_item_edited")) == ["first", "second, edited", "third"]
        await wire.send(type="queue_move", id=third, position=0)
        assert contents(await wire.until_event("queue_item_moved")) == ["third", "first", "second, edited"]
        await wire.send(type="queue_move", id=third, position=99)
        assert contents(await wire.until_event("queue_item_moved")) == ["first", "second, edited", "third"]
        await wire.send(type="queue_remove", id=first)
        assert contents(await wire.until_event("queue_item_removed")) == ["second, edited", "third"]
        await wire.send(type="queue_hold", id=second, held=True)
        await wire.until_event("queue_item_held")
        gate.open()
        await wire.until_idle()
        # The first in the queue is open for editing: nobody overtakes it, and it does not go.
        assert contents(wire.state) == ["second, edited", "third"]
        await wire.send(type="queue_edit", id=second, content="second, edited again")
        await until_all_is_done(wire)
    assert place.questions == ["busy", "second, edited again", "third"]


async def test_a_cleared_queue_is_gone_for_good(place: Place) -> None:
    gate = Gate()
    async with busy(place, gate) as wire:
        withdrawn = await wire.say("first")
        await wire.until_known(await wire.say("second"))
        await wire.send(type="queue_clear")
        assert contents(await wire.until_event("queue_cleared")) == []
        await wire.say("first", id=withdrawn)
        gate.open()
        await until_all_is_done(wire)
        await wire.say("new")
        # Not by the name of an event: the answer to the repeated message can be the whole, with the newest one's.
        await wire.until(lambda frame: any(row["content"] == "re: new" for row in frame.get("messages", ())))
    assert place.questions == ["busy", "new"]


async def test_what_is_not_possible_is_refused_in_words_and_changes_nothing(place: Place) -> None:
    place.answers((Say(text="ok"),))
    nobody = str(uuid.uuid4())
    async with place.socket() as wire:
        await wire.say("Hello?")
        await wire.until_event("llm_response_completed")
        seq = wire.state["seq"]
        wishes = {
            "nothing_to_stop": {"type": "stop"},
            "nothing_to_retry": {"type": "retry"},
            "nothing_queued": {"type": "queue_clear"},
            "not_held": {"type": "queue_resume"},
        }
        for code, wish in wishes.items():
            await wire.send(**wish)
            error = await wire.until_error()
            assert error["code"] == code
            assert error["message"]
        for unknown in (
            {"type": "queue_edit", "id": nobody, "content": "x"},
            {"type": "queue_remove", "id": nobody},
            {"type": "queue_move", "id": nobody, "position": 0},
        ):
            await wire.send(**unknown)
            error = await wire.until_error()
            assert (error["code"], error["ref"]) == ("not_queued", nobody)
    assert place.export()["seq"] == seq


async def test_a_full_queue_refuses_more_and_keeps_what_it_has(place: Place) -> None:
    gate = Gate()
    async with busy(place, gate) as wire:
        for number in range(50):
            await wire.say(f"{number}")
        too_many = await wire.say("one more")
        error = await wire.until_error()
        assert (error["code"], error["ref"]) == ("queue_full", too_many)
        await wire.send(type="queue_clear")
        gate.open()
        await until_all_is_done(wire)


async def test_one_id_sent_fifty_times_from_two_sockets_is_one_message(place: Place) -> None:
    gate = Gate()
    message_id = str(uuid.uuid4())
    async with busy(place, gate) as here, place.socket() as there:
        await asyncio.gather(*(wire.say("once", id=message_id) for _ in range(25) for wire in (here, there)))
        for wire in (here, there):
            await wire.until_known(message_id)
        # Each of the fifty is acknowledged: the one that was stored as news to both, the others one by one.
        while sum(_knows(wire, message_id) for wire in (here, there)) < 51:
            await asyncio.gather(*(_drain(wire) for wire in (here, there)))
        assert contents(here.state) == ["once"]
        gate.open()
        await until_all_is_done(here)
        await here.say("once", id=message_id)
        frame = await here.until_known(message_id)
        assert frame["full"] is False
        assert frame["phase"] == "idle"
        assert not any(frame["type"] == "error" for frame in [*here.frames, *there.frames])
    assert place.questions == ["busy", "once"]
    assert [text for role, _, text in place.transcript() if role == "user"] == ["busy", "once"]


def _knows(wire: Wire, message_id: str) -> int:
    return sum(
        any(item["id"] == message_id for item in frame["queue"])
        for frame in wire.frames
        if frame["type"] == "state_update"
    )


async def _drain(wire: Wire) -> None:
    try:
        await wire.receive(within_s=0.2)
    except TimeoutError:
        return


async def test_equal_messages_with_ids_of_their_own_are_never_merged(place: Place) -> None:
    gate = Gate()
    async with busy(place, gate) as wire:
        for _ in range(3):
            await wire.say("same")
        await wire.until(lambda frame: len(frame.get("queue", ())) == 3)
        gate.open()
        await until_all_is_done(wire)
    assert place.questions == ["busy", "same", "same", "same"]
    assert [text for role, _, text in place.transcript() if role == "user"] == ["busy", *["same"] * 3]
