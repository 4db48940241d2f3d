from __future__ import annotations

import asyncio
import socket

import pytest

from chat.llm.port import Chunk, ModelFault
from chat.llm.scripted_steps import (
    Begin,
    Ending,
    Finish,
    Flood,
    Hang,
    KeepAlive,
    Pause,
    Raw,
    Say,
    Step,
    Wait,
)
from chat.llm.transport import PIECE_BYTES
from tests.llm.asking import PROMPT, World, collect, end_of, text_of


async def test_no_first_token_in_time_is_said_with_the_limit(world: World) -> None:
    error = await world.failure(Hang(), model=world.model(first_token_s=0.05))
    assert error.fault is ModelFault.TIMEOUT
    assert "did not begin to answer within 0.05 s" in error.words


async def test_signs_of_life_are_not_a_first_token(world: World) -> None:
    alive = Raw(data=b'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\n\n')
    steps = (Begin(), *(step for _ in range(200) for step in (KeepAlive(), alive, Pause(seconds=0.01))))
    # Had they counted, the stream's end after two seconds would be what is said.
    error = await world.failure(*steps, model=world.model(first_token_s=0.2))
    assert "begin to answer" in error.words


async def test_silence_between_tokens_is_said_with_the_limit(world: World) -> None:
    chunks: list[Chunk] = []
    steps = (Say(text="so far"), *(step for _ in range(200) for step in (KeepAlive(), Pause(seconds=0.01))))
    error = await world.failure(*steps, model=world.model(between_tokens_s=0.2), chunks=chunks)
    assert error.fault is ModelFault.TIMEOUT
    assert "said nothing more for 0.2 s" in error.words
    assert text_of(chunks) == "so far"


async def test_each_token_gives_the_server_new_time(world: World) -> None:
    model = world.model(first_token_s=1, between_tokens_s=1)
    assert text_of(await world.answer(Say(text="a b c d e f", delay_s=0.25), model=model)) == "a b c d e f"


async def test_an_answer_that_never_ends_is_said_with_the_limit(world: World) -> None:
    error = await world.failure(Say(text="x " * 1_000, delay_s=0.01), model=world.model(whole_s=0.2))
    assert error.fault is ModelFault.TIMEOUT
    assert "did not finish its answer within 0.2 s" in error.words


async def test_a_server_that_forgets_to_end_after_its_finish_reason_has_answered(world: World) -> None:
    model = world.model(between_tokens_s=0.1)
    chunks = await world.answer(Say(text="all"), Finish(reason="stop"), Hang(), model=model)
    assert text_of(chunks) == "all"
    assert end_of(chunks).finish_reason == "stop"


async def test_a_full_pool_is_said_in_words(world: World) -> None:
    model = world.model(connections_max=1, connect_s=0.05)
    world.steps = (Say(text="x"), Hang())
    async with model.ask(PROMPT) as answer:
        await anext(answer)
        error = await world.failure(Hang(), model=model)
    assert error.fault is ModelFault.TIMEOUT
    assert "no free connection within 0.05 s" in error.words


async def test_a_connection_that_can_not_be_made_in_time_is_said_with_the_limit(world: World) -> None:
    # A listener whose queue is full answers no one.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        place = listener.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(place)
            model = world.model(base_url=f"http://127.0.0.1:{place[1]}/v1", connect_s=0.1)
            error = await world.failure(model=model)
        finally:
            for filler in fillers:
                filler.close()
    assert error.fault is ModelFault.TIMEOUT
    assert "could not be connected to within 0.1 s" in error.words


class Reached:
    """A gate that never opens, and says that the script stands before it."""

    def __init__(self) -> None:
        self.here = asyncio.Event()

    async def wait(self) -> None:
        self.here.set()
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    "steps",
    [(), (Begin(), KeepAlive()), (Say(text="a few words"),)],
    ids=["before headers", "before the first token", "in mid-stream"],
)
async def test_cancelling_closes_the_upstream_at_once(world: World, steps: tuple[Step, ...]) -> None:
    model = world.model()
    reached = Reached()
    world.steps = (*steps, Wait(gate=reached))
    task = asyncio.create_task(collect(model, []))
    await reached.here.wait()
    exchange = world.server.exchanges[0]
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    # The server would have waited for ever, or said more for minutes.
    assert await exchange.ended() is Ending.CLOSED_BY_CLIENT


@pytest.mark.parametrize(
    "steps", [(Say(text="a few words"), Hang()), (Flood(count=10_000_000),)], ids=["quiet", "flood"]
)
async def test_leaving_in_the_middle_closes_the_upstream_at_once(world: World, steps: tuple[Step, ...]) -> None:
    world.steps = steps
    async with world.model().ask(PROMPT) as answer:
        await anext(answer)
    exchange = world.server.exchanges[0]
    assert await exchange.ended() is Ending.CLOSED_BY_CLIENT


async def test_a_server_that_is_far_ahead_leaves_others_their_turn(world: World) -> None:
    world.steps = (Flood(count=5_000),)
    async with world.model().ask(PROMPT) as answer:
        sizes = [len(batch) async for batch in answer]
    # The end is a chunk, too.
    assert sum(sizes) == 5_001
    # Each takes more bytes than that.
    assert max(sizes) <= PIECE_BYTES / 50


async def test_leaving_before_anything_was_sent_sends_nothing(world: World) -> None:
    async with world.model().ask(PROMPT):
        pass
    assert world.server.exchanges == []


async def test_a_failed_answer_closes_the_upstream(world: World) -> None:
    await world.failure(Hang(), model=world.model(first_token_s=0.05))
    assert await world.server.exchanges[0].ended() is Ending.CLOSED_BY_CLIENT
