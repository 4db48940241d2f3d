from __future__ import annotations

import asyncio
import gzip
import socket
import time
from email.utils import formatdate
from functools import partial

import pytest

from chat.core.prompt import PromptMessage
from chat.llm.openai_adapter import OpenAIModel
from chat.llm.port import Chunk, Ended, ModelFault, Text, Usage
from chat.llm.scripted_steps import (
    AnswerWhole,
    Begin,
    CountTokens,
    Cut,
    Ending,
    EndWithoutDone,
    FailStream,
    Finish,
    Flood,
    Gate,
    Hang,
    KeepAlive,
    Raw,
    Refuse,
    Say,
    Step,
    Think,
    Wait,
)
from tests.costs import least_ratio_of
from tests.llm.asking import KEY, PROMPT, World, ask_with_the_sdk, collect, end_of, reasoning_of, text_of

BOM = b"\xef\xbb\xbf"


async def test_an_answer_streams_with_reasoning_usage_and_the_servers_finish_reason(world: World) -> None:
    chunks = await world.answer(
        Think(text="Let me see."),
        Say(text="Hello, world!"),
        Finish(reason="length"),
        CountTokens(prompt_tokens=11, completion_tokens=5),
    )
    assert text_of(chunks) == "Hello, world!"
    assert reasoning_of(chunks) == "Let me see."
    assert end_of(chunks) == Ended(
        finish_reason="length", usage=Usage(prompt_tokens=11, completion_tokens=5), model="scripted"
    )


async def test_the_request_is_what_servers_expect(world: World) -> None:
    model = world.model()
    world.steps = (Say(text="ok"),)
    prompt = (
        PromptMessage(role="system", content="Be kind."),
        PromptMessage(role="user", content='Grüße "世界" \n\0'),
        PromptMessage(role="assistant", content=""),
    )
    await collect(model, [], prompt)
    request = world.request()
    assert request.body == {
        "model": "test-model",
        "messages": [{"role": m.role, "content": m.content} for m in prompt],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    assert request.headers["authorization"] == f"Bearer {KEY}"
    assert request.headers["content-type"] == "application/json"


async def test_a_lone_surrogate_in_the_history_does_not_break_the_request(world: World) -> None:
    world.steps = (Say(text="ok"),)
    await collect(world.model(), [], (PromptMessage(role="user", content="a\ud800b"),))
    assert world.request().last_user_text == "a?b"


async def test_a_server_without_keys_gets_none(world: World) -> None:
    await world.answer(Say(text="ok"), model=world.model(api_key=""))
    assert "authorization" not in world.request().headers


# Tokens that the server writes at once, each an event of its own in an HTTP chunk of its own.
AT_ONCE = 16


async def test_tokens_of_one_network_read_come_as_one_tuple(world: World) -> None:
    world.steps = (Flood(text="a", count=AT_ONCE, tokens_per_write=AT_ONCE), Hang())
    async with world.model().ask(PROMPT) as answer:
        assert await anext(answer) == (Text(text="a"),) * AT_ONCE


async def test_what_arrives_while_the_consumer_works_comes_as_one_tuple(world: World) -> None:
    gate = Gate()
    world.steps = (Say(text="one "), Wait(gate=gate), Say(text="two three four"))
    async with world.model().ask(PROMPT) as answer:
        assert text_of(await anext(answer)) == "one "
        gate.open()
        await (await world.exchange(0)).ended()
        await asyncio.sleep(0.3)
        rest = await anext(answer)
        assert text_of(rest) == "two three four"
        assert isinstance(rest[-1], Ended)


async def test_a_slow_consumer_slows_the_server_and_loses_nothing(world: World) -> None:
    count, text = 60_000, "0123456789" * 40
    world.steps = (Flood(text=text, count=count),)
    async with world.model().ask(PROMPT) as answer:
        chunks = list(await anext(answer))
        # The server can't finish: more waits than the adapter, the server's buffer and the kernel's, which grow, hold.
        with pytest.raises(TimeoutError):
            await asyncio.wait_for((await world.exchange(0)).ended(), 0.5)
        async for batch in answer:
            chunks.extend(batch)
    assert text_of(chunks) == text * count


async def test_time_in_which_nobody_reads_is_not_the_servers(world: World) -> None:
    world.steps = (Flood(text="0123456789", count=60_000),)
    async with world.model(between_tokens_s=1).ask(PROMPT) as answer:
        await anext(answer)
        await asyncio.sleep(1.5)
        rest = [chunk async for batch in answer for chunk in batch]
    assert isinstance(rest[-1], Ended)


@pytest.mark.parametrize(
    "steps",
    [
        (Say(text="all of it"), EndWithoutDone()),
        (AnswerWhole(), Say(text="all of it")),
        (KeepAlive(), Begin(), KeepAlive(), Say(text="all of it")),
        (Raw(data=b'data: {"choices":[{"delta":{"content":"all of it"}}]}'), EndWithoutDone()),
        (
            Raw(data=BOM + b'data: {"choices":[{"message":{"content":"all of it"}}]}\r\n\r\n'),
            EndWithoutDone(),
        ),
        (Begin(content_type="text/plain"), Say(text="all of it")),
    ],
    ids=["no done", "whole", "comments", "no last line end", "message and bom", "odd content type"],
)
async def test_what_real_servers_send_is_understood(world: World, steps: tuple[Step, ...]) -> None:
    assert text_of(await world.answer(*steps)) == "all of it"


async def test_a_stream_that_just_ends_after_text_has_no_finish_reason(world: World) -> None:
    assert end_of(await world.answer(Say(text="x"), EndWithoutDone())).finish_reason == ""


async def test_an_answer_in_one_piece_keeps_reasoning_usage_and_finish_reason(world: World) -> None:
    chunks = await world.answer(AnswerWhole(), Think(text="hm"), Say(text="yes"), Finish(reason="length"))
    assert (reasoning_of(chunks), text_of(chunks)) == ("hm", "yes")
    assert end_of(chunks).finish_reason == "length"
    assert end_of(chunks).usage is not None


async def test_a_stream_without_an_answer_is_broken(world: World) -> None:
    assert (await world.failure(Begin(), EndWithoutDone())).fault is ModelFault.BROKEN_STREAM


async def test_a_compressed_stream_is_read(world: World) -> None:
    body = gzip.compress(b'data: {"choices":[{"delta":{"content":"hi"}}]}\n\ndata: [DONE]\n\n')
    begin = Begin(headers=(("content-encoding", "gzip"),))
    chunks = await world.answer(begin, Raw(data=body), EndWithoutDone())
    assert text_of(chunks) == "hi"


@pytest.mark.parametrize("reset", [True, False], ids=["reset", "closed"])
async def test_a_cut_connection_is_a_broken_stream_and_keeps_the_text(world: World, reset: bool) -> None:
    gate = Gate()
    world.steps = (Say(text="half"), Wait(gate=gate), Cut(reset=reset))
    async with world.model().ask(PROMPT) as answer:
        assert text_of(await anext(answer)) == "half"
        gate.open()
        with pytest.raises(Exception, match="broke off") as raised:
            await anext(answer)
    assert getattr(raised.value, "fault", None) is ModelFault.BROKEN_STREAM


async def test_a_cut_after_the_finish_reason_is_a_complete_answer(world: World) -> None:
    chunks = await world.answer(Say(text="all"), Finish(reason="stop"), Cut(reset=False))
    assert text_of(chunks) == "all"
    assert end_of(chunks).finish_reason == "stop"


async def test_a_connection_that_closes_before_the_answer_is_an_unavailable_server(world: World) -> None:
    error = await world.failure(Cut())
    assert error.fault is ModelFault.UNAVAILABLE
    assert "127.0.0.1" in error.words


async def test_a_server_that_is_not_there_is_unavailable(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    error = await world.failure(model=world.model(base_url=f"http://me:secret@127.0.0.1:{port}/v1"))
    assert error.fault is ModelFault.UNAVAILABLE
    assert f"http://127.0.0.1:{port}" in error.words
    assert "secret" not in error.words


async def test_a_base_url_without_scheme_is_said_in_words(world: World) -> None:
    error = await world.failure(model=world.model(base_url="localhost:1234/v1"))
    assert error.fault is ModelFault.NOT_FOUND
    assert "http://" in error.words


@pytest.mark.parametrize(
    ("refusal", "fault"),
    [
        (
            Refuse(status=401, code="invalid_api_key", message=f"Incorrect API key provided: {KEY}."),
            ModelFault.AUTH,
        ),
        (Refuse(status=403), ModelFault.AUTH),
        (Refuse(status=429, kind="insufficient_quota", code="insufficient_quota"), ModelFault.QUOTA),
        (Refuse(status=402), ModelFault.QUOTA),
        (Refuse(status=429, kind="requests", code="rate_limit_exceeded"), ModelFault.RATE_LIMIT),
        (Refuse(status=429, body=b"slow down"), ModelFault.RATE_LIMIT),
        (Refuse(status=400, code="context_length_exceeded"), ModelFault.CONTEXT_TOO_LONG),
        (Refuse(status=400, message="the prompt is too long: 9000 > 8192"), ModelFault.CONTEXT_TOO_LONG),
        (Refuse(status=413, body=b""), ModelFault.CONTEXT_TOO_LONG),
        (Refuse(status=404, kind="invalid_request_error", code="model_not_found"), ModelFault.NOT_FOUND),
        (Refuse(status=404, body=b'{"detail":"Not Found"}'), ModelFault.NOT_FOUND),
        (Refuse(status=400, kind="invalid_request_error"), ModelFault.BAD_REQUEST),
        (Refuse(status=422, body=b'{"detail":[{"loc":["body"]}]}'), ModelFault.BAD_REQUEST),
        (Refuse(status=408), ModelFault.TIMEOUT),
        (Refuse(status=504), ModelFault.TIMEOUT),
        (Refuse(status=409), ModelFault.UNAVAILABLE),
        (Refuse(status=500, kind="server_error"), ModelFault.UNAVAILABLE),
        (Refuse(status=502, body=b"<html>Bad gateway</html>"), ModelFault.UNAVAILABLE),
        (Refuse(status=503, body=b"\xff\xfe"), ModelFault.UNAVAILABLE),
        (Refuse(status=529, kind="overloaded_error"), ModelFault.UNAVAILABLE),
        (Refuse(status=300), ModelFault.UNKNOWN),
    ],
)
async def test_a_refusal_is_sorted_and_said_in_words(world: World, refusal: Refuse, fault: ModelFault) -> None:
    error = await world.failure(refusal)
    assert error.fault is fault
    assert 20 < len(error.words) < 450


async def test_the_server_is_asked_once(world: World) -> None:
    await world.failure(Refuse(status=503))
    assert len(world.server.exchanges) == 1


@pytest.mark.parametrize(
    ("header", "low_s", "high_s"),
    [
        (("retry-after", "7"), 7.0, 7.0),
        (("retry-after-ms", "1500"), 1.5, 1.5),
        (("retry-after", formatdate(time.time() + 36_000, usegmt=True)), 30_000.0, 36_000.0),
    ],
    ids=["seconds", "milliseconds", "date"],
)
async def test_the_delay_that_the_server_asks_for_is_kept(
    world: World, header: tuple[str, str], low_s: float, high_s: float
) -> None:
    error = await world.failure(Refuse(status=429, headers=(header,)))
    assert error.retry_after_s is not None
    assert low_s <= error.retry_after_s <= high_s


async def test_an_error_in_mid_stream_keeps_the_text_before_it(world: World) -> None:
    chunks: list[Chunk] = []
    error = await world.failure(Say(text="so far"), FailStream(message="boom"), chunks=chunks)
    assert error.fault is ModelFault.UNAVAILABLE
    assert "boom" in error.words
    assert text_of(chunks) == "so far"


async def test_an_error_instead_of_an_answer_in_one_piece_is_sorted(world: World) -> None:
    body = Raw(data=b'{"error":{"message":"no","code":"model_not_found"}}')
    error = await world.failure(Begin(content_type="application/json"), body, EndWithoutDone())
    assert error.fault is ModelFault.NOT_FOUND


async def test_broken_json_in_the_stream_is_said_in_words(world: World) -> None:
    error = await world.failure(Raw(data=b"data: {oops\n\n"))
    assert error.fault is ModelFault.BROKEN_STREAM
    assert "not valid JSON" in error.words


async def test_a_web_page_is_no_model_server(world: World) -> None:
    page = Raw(data=b"<html>Welcome</html>")
    error = await world.failure(Begin(content_type="text/html; charset=utf-8"), page, EndWithoutDone())
    assert error.fault is ModelFault.NOT_FOUND
    assert "base URL" in error.words


async def test_a_complete_answer_leaves_its_connection_for_the_next_one(world: World) -> None:
    model = world.model(connections_max=1)
    for _ in range(5):
        assert text_of(await world.answer(Say(text="again and again"), model=model)) == "again and again"
    ports = {exchange.request.client_port for exchange in world.server.exchanges}
    assert len(ports) == 1


async def test_three_hundred_answers_stream_at_once(world: World) -> None:
    model = world.model()
    text = "one two three four five"
    world.steps = (Say(text=text, delay_s=0.02),)
    answers: list[list[Chunk]] = [[] for _ in range(300)]
    await asyncio.gather(*(collect(model, chunks) for chunks in answers))
    assert [text_of(chunks) for chunks in answers] == [text] * 300
    assert {exchange.ending for exchange in world.server.exchanges} == {Ending.COMPLETED}


async def test_a_long_history_costs_a_fraction_of_what_the_sdk_takes(world: World) -> None:
    world.steps = (Say(text="ok"),)
    prompt = tuple(PromptMessage(role="user", content="word " * 170) for _ in range(1_000))
    model = world.model()
    await collect(model, [], prompt)
    sdk = partial(ask_with_the_sdk, world, prompt)
    assert await least_ratio_of(lambda: collect(model, [], prompt), sdk, enough=0.5) < 0.5


async def test_the_demo_of_a_machine_behind_a_proxy_is_reached_without_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    assert text_of(await world.answer(Say(text="here"))) == "here"


async def test_a_closed_model_can_be_closed_again(world: World) -> None:
    model = world.model()
    await model.close()
    await model.close()


def test_a_model_can_be_made_outside_of_a_loop() -> None:
    model = OpenAIModel(
        api_key=KEY,
        base_url=None,
        model="m",
        connect_s=1,
        first_token_s=1,
        between_tokens_s=1,
        whole_s=1,
    )
    asyncio.run(model.close())
