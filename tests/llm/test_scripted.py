from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import AsyncIterator

import httpx2
import openai
import pytest
from openai.types.chat import ChatCompletionChunk

from chat.llm.scripted import ScriptedServer, start_in_thread
from chat.llm.scripted_steps import (
    AnswerWhole,
    Begin,
    CallTool,
    Cut,
    Ending,
    EndWithoutDone,
    Finish,
    Flood,
    Gate,
    Hang,
    KeepAlive,
    Pause,
    Refuse,
    Say,
    ScriptedRequest,
    Step,
    Think,
    ToolResult,
    Wait,
    tokens,
)

QUESTION = {"model": "m", "messages": [{"role": "user", "content": "Hello?"}], "stream": True}


class Client:
    """An HTTP client that knows nothing of the adapter."""

    def __init__(self, server: ScriptedServer) -> None:
        self.server = server
        self.http = httpx2.AsyncClient(base_url=server.base_url, trust_env=False, timeout=20)

    async def ask(self, *steps: Step, **body: object) -> httpx2.Response:
        self.server.script = lambda request: steps
        return await self.http.post("/chat/completions", json={**QUESTION, **body})


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    async with ScriptedServer(lambda request: ()) as server:
        client = Client(server)
        async with client.http:
            yield client
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize("text", ["", "a", "  two words \n", "Donaudampfschifffahrt 世界\n\n```py\nx = 1\n```"])
def test_the_tokens_of_a_text_are_the_text(text: str) -> None:
    assert "".join(tokens(text)) == text


async def test_the_sdk_itself_understands_the_stream(client: Client) -> None:
    client.server.script = lambda request: (Think(text="hm"), Say(text="Hello there!"))
    sdk = openai.AsyncOpenAI(api_key="none", base_url=client.server.base_url, max_retries=0)
    async with sdk:
        stream = await sdk.chat.completions.create(
            model="m",
            messages=[{"role": "user", "content": "Hi"}],
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = [chunk async for chunk in stream]
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == "Hello there!"
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == 3


async def test_the_calls_in_a_stream_are_what_the_sdk_expects(client: Client) -> None:
    long = CallTool(name="f", arguments='{"code": "print(1)"}', piece_characters=5)
    response = await client.ask(Say(text="So:"), long, CallTool(name="g", call_id="own"))
    events = [line.removeprefix("data: ") for line in response.text.split("\n\n") if "{" in line]
    choices = [ChatCompletionChunk.model_validate_json(event).choices[0] for event in events]
    assert choices[-1].finish_reason == "tool_calls"
    pieces = [piece for choice in choices for piece in choice.delta.tool_calls or ()]
    heads = [(piece.id, piece.function.name) for piece in pieces if piece.id and piece.function]
    assert heads == [("call_0_0", "f"), ("own", "g")]
    for index, whole in ((0, '{"code": "print(1)"}'), (1, "{}")):
        functions = [piece.function for piece in pieces if piece.index == index]
        assert "".join(function.arguments or "" for function in functions if function) == whole


async def test_a_call_keeps_its_pace_and_may_have_any_finish_reason(client: Client) -> None:
    call = CallTool(name="f", arguments="x" * 10, piece_characters=2, delay_s=0.02)
    response = await client.ask(call, Finish(reason="stop"))
    exchange = client.server.exchanges[0]
    assert exchange.ended_at_s is not None
    assert exchange.ended_at_s - exchange.request.arrived_at_s >= 0.1
    assert '"stop"' in response.text
    assert '"finish_reason":"tool_calls"' not in response.text


async def test_calls_of_an_answer_in_one_piece_stand_in_its_message(client: Client) -> None:
    response = await client.ask(CallTool(name="f", call_id="a"), stream=False)
    choice = response.json()["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"] == [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    ]


def test_a_script_sees_the_tools_and_the_results_since_the_last_question() -> None:
    def calling(call_id: str) -> dict[str, object]:
        return {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": call_id, "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        }

    def result(call_id: str, content: str) -> dict[str, object]:
        return {"role": "tool", "tool_call_id": call_id, "content": content}

    request = ScriptedRequest(
        number=0,
        body={
            "tools": [{"type": "function", "function": {"name": "f"}}, "junk"],
            "messages": [
                *({"role": "user", "content": "one"}, calling("a"), result("a", "old")),
                *({"role": "user", "content": "two"}, calling("b"), result("b", "new"), result("c", "other")),
            ],
        },
        headers={},
        client_port=1,
        arrived_at_s=0.0,
    )
    assert request.tools == ("f",)
    assert request.tool_results == (
        ToolResult(call_id="b", name="f", content="new"),
        ToolResult(call_id="c", name="", content="other"),
    )
    assert request.last_user_text == "two"
    assert request.messages[1] == ("assistant", "")


async def test_the_models_are_listed(client: Client) -> None:
    response = await client.http.get("/models")
    assert [entry["id"] for entry in response.json()["data"]] == ["scripted"]


async def test_usage_comes_only_when_it_is_asked_for(client: Client) -> None:
    assert '"prompt_tokens"' not in (await client.ask(Say(text="x"))).text
    asked = await client.ask(Say(text="x"), stream_options={"include_usage": True})
    assert '"prompt_tokens":1' in asked.text


@pytest.mark.parametrize(("steps", "stream"), [((AnswerWhole(),), True), ((), False)])
async def test_an_answer_in_one_piece_is_a_chat_completion(
    client: Client, steps: tuple[Step, ...], stream: bool
) -> None:
    response = await client.ask(*steps, Think(text="hm"), Say(text="a b"), Flood(text="c", count=3), stream=stream)
    message = response.json()["choices"][0]["message"]
    assert message == {"role": "assistant", "content": "a bccc", "reasoning_content": "hm"}


async def test_a_refusal_has_its_status_body_and_headers(client: Client) -> None:
    response = await client.ask(Refuse(status=429, code="slow", headers=(("retry-after", "2"),)))
    assert response.status_code == 429
    assert response.headers["retry-after"] == "2"
    assert response.json()["error"]["code"] == "slow"
    assert client.server.exchanges[0].ending is Ending.COMPLETED


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/nowhere", b"", 404),
        ("POST", "/chat/completions", b"{", 400),
        ("POST", "/chat/completions", b"[]", 400),
    ],
)
async def test_what_is_no_question_is_refused(client: Client, method: str, path: str, body: bytes, status: int) -> None:
    response = await client.http.request(method, path, content=body)
    assert response.status_code == status
    assert "message" in response.json()["error"]
    assert client.server.exchanges == []


async def test_what_is_no_http_closes_the_connection(client: Client) -> None:
    reader, writer = await open_connection(client.server)
    writer.write(b"\0\0\0\0 what?\r\n\r\n")
    assert await reader.read() == b""
    writer.close()
    await writer.wait_closed()


async def test_every_request_is_recorded_with_its_times(client: Client) -> None:
    before_s = time.monotonic()
    await client.ask(Pause(seconds=0.02), Say(text="x"))
    exchange = client.server.exchanges[0]
    assert exchange.request.number == 0
    assert exchange.request.messages == (("user", "Hello?"),)
    assert exchange.request.last_user_text == "Hello?"
    assert exchange.request.headers["content-type"] == "application/json"
    assert exchange.first_byte_at_s is not None
    assert exchange.ended_at_s is not None
    assert before_s <= exchange.request.arrived_at_s <= exchange.first_byte_at_s - 0.02 <= exchange.ended_at_s
    assert exchange.ending is Ending.COMPLETED


async def test_tokens_keep_their_pace_by_the_clock(client: Client) -> None:
    await client.ask(Say(text="a b c d e f g h i j", delay_s=0.02))
    exchange = client.server.exchanges[0]
    assert exchange.ended_at_s is not None
    assert exchange.ended_at_s - exchange.request.arrived_at_s >= 0.2


async def test_a_gate_holds_the_answer_until_it_is_opened(client: Client) -> None:
    for gate, open_it in ((own := Gate(), own.open), (event := asyncio.Event(), event.set)):
        number = len(client.server.exchanges)
        asking = asyncio.create_task(client.ask(Wait(gate=gate), Say(text="x")))
        exchange = await asyncio.to_thread(client.server.wait_for_exchange, number, timeout_s=20)
        assert exchange.first_byte_at_s is None
        open_it()
        assert (await asking).status_code == 200


class Reached:
    """A gate that never opens, and says that the script stands before it."""

    def __init__(self) -> None:
        self.here = asyncio.Event()

    async def wait(self) -> None:
        self.here.set()
        await asyncio.Event().wait()


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("steps", [(), (Begin(), KeepAlive()), (Say(text="x"),)], ids=["silent", "begun", "saying"])
async def test_a_client_that_leaves_is_noticed_at_once(client: Client, steps: tuple[Step, ...], reset: bool) -> None:
    reached = Reached()
    client.server.script = lambda request: (*steps, Wait(gate=reached))
    _, writer = await open_connection(client.server)
    writer.write(question())
    await reached.here.wait()
    if reset:
        writer.transport.abort()
    else:
        writer.close()
    exchange = client.server.exchanges[0]
    assert await exchange.ended() is Ending.CLOSED_BY_CLIENT


async def test_a_client_that_leaves_between_two_tokens_is_noticed_at_once(client: Client) -> None:
    client.server.script = lambda request: (Say(text="a "), Begin(), Say(text="b", delay_s=60))
    reader, writer = await open_connection(client.server)
    writer.write(question())
    await reader.readuntil(b'"content"')
    writer.close()
    await asyncio.wait_for(client.server.exchanges[0].ended(), 5)


async def test_a_client_that_leaves_in_a_flood_ends_it(client: Client) -> None:
    client.server.script = lambda request: (Flood(count=100_000_000),)
    reader, writer = await open_connection(client.server)
    writer.write(question())
    await reader.readuntil(b'"content"')
    writer.transport.abort()
    assert await client.server.exchanges[0].ended() is Ending.CLOSED_BY_CLIENT


@pytest.mark.parametrize("reset", [False, True])
async def test_a_cut_is_noted_as_the_scripts(client: Client, reset: bool) -> None:
    with pytest.raises(httpx2.TransportError):
        await client.ask(Say(text="x"), Cut(reset=reset))
    assert client.server.exchanges[0].ending is Ending.CUT_BY_SCRIPT


async def test_an_end_without_done_ends_the_body_properly(client: Client) -> None:
    text = (await client.ask(Say(text="x"), EndWithoutDone())).text
    assert '"content":"x"' in text
    assert "[DONE]" not in text
    assert client.server.exchanges[0].ending is Ending.COMPLETED


async def test_questions_sent_ahead_are_answered_in_order(client: Client) -> None:
    client.server.script = lambda request: (Say(text=f"answer {request.number};"),)
    reader, writer = await open_connection(client.server)
    writer.write(question() + question())
    text = b""
    while text.count(b"[DONE]") < 2:
        text += await reader.read(1_000)
    assert text.index(b"0;") < text.index(b"[DONE]") < text.index(b"1;")
    writer.close()
    await writer.wait_closed()


async def test_closing_the_server_ends_what_hangs() -> None:
    async with ScriptedServer(lambda request: (Hang(),)) as server:
        _, writer = await open_connection(server)
        writer.write(question())
        exchange = await asyncio.to_thread(server.wait_for_exchange, 0, timeout_s=20)
    assert exchange.ending is Ending.SERVER_CLOSED
    writer.close()


async def test_a_server_that_does_not_listen_has_no_address() -> None:
    server = ScriptedServer(lambda request: ())
    with pytest.raises(RuntimeError):
        _ = server.base_url
    await server.close()


def test_a_server_in_a_thread_serves_code_without_a_loop() -> None:
    gate = Gate()
    with start_in_thread(lambda request: (Wait(gate=gate), Say(text="from a thread")), model="x") as server:
        gate.open()
        request = urllib.request.Request(f"{server.base_url}/chat/completions", data=json.dumps(QUESTION).encode())
        with urllib.request.urlopen(request) as response:
            assert "thread" in response.read().decode()
        assert server.wait_for_exchange(0, timeout_s=5).wait_until_ended(timeout_s=5) is Ending.COMPLETED
        with pytest.raises(TimeoutError):
            server.wait_for_exchange(1, timeout_s=0.01)


async def open_connection(server: ScriptedServer) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    url = httpx2.URL(server.base_url)
    return await asyncio.open_connection(url.host, url.port)


def question() -> bytes:
    body = json.dumps(QUESTION).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
