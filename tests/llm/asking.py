"""A scripted server and the real adapter, joined by real HTTP on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

import pytest
from openai import AsyncOpenAI
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionMessageToolCallUnionParam

from chat.core.prompt import PromptMessage
from chat.llm.openai_adapter import CONNECTIONS_MAX, Dialect, OpenAIModel
from chat.llm.port import Chunk, Ended, ModelError, Notice, Reasoning, Text, ToolCall, ToolSpec
from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import Exchange, ScriptedRequest, Step

KEY = "sk-test-0123456789abcdef"
PROMPT = (PromptMessage(role="user", content="Hello?"),)

# No test waits for it; it only ends a test that would hang.
FAR_S = 20.0


class World:
    """One server and one model that asks it; both are closed, and no task is left, when the test ends."""

    def __init__(self) -> None:
        self.server = ScriptedServer(lambda request: self.steps)
        self.steps: Sequence[Step] = ()
        self.models: list[OpenAIModel] = []

    def model(
        self,
        *,
        api_key: str = KEY,
        base_url: str | None = None,
        connect_s: float = FAR_S,
        first_token_s: float = FAR_S,
        between_tokens_s: float = FAR_S,
        whole_s: float = FAR_S,
        connections_max: int = CONNECTIONS_MAX,
        dialect: Dialect = "native",
    ) -> OpenAIModel:
        model = OpenAIModel(
            api_key=api_key,
            base_url=base_url or self.server.base_url,
            model="test-model",
            connect_s=connect_s,
            first_token_s=first_token_s,
            between_tokens_s=between_tokens_s,
            whole_s=whole_s,
            connections_max=connections_max,
            dialect=dialect,
        )
        self.models.append(model)
        return model

    async def answer(
        self, *steps: Step, model: OpenAIModel | None = None, tools: Sequence[ToolSpec] = ()
    ) -> list[Chunk]:
        """The chunks of one answer that follows these steps."""
        self.steps = steps
        chunks: list[Chunk] = []
        await collect(model or self.model(), chunks, tools=tools)
        return chunks

    async def failure(
        self,
        *steps: Step,
        model: OpenAIModel | None = None,
        chunks: list[Chunk] | None = None,
        tools: Sequence[ToolSpec] = (),
    ) -> ModelError:
        """The error that these steps lead to. chunks: receives what came before it."""
        self.steps = steps
        with pytest.raises(ModelError) as raised:
            await collect(model or self.model(), [] if chunks is None else chunks, tools=tools)
        assert KEY not in raised.value.words
        return raised.value

    async def exchange(self, number: int) -> Exchange:
        """The server's record of a request, once it has arrived."""
        return await asyncio.to_thread(self.server.wait_for_exchange, number, timeout_s=FAR_S)

    def request(self) -> ScriptedRequest:
        """The last request."""
        return self.server.exchanges[-1].request


async def collect(
    model: OpenAIModel,
    chunks: list[Chunk],
    messages: Sequence[PromptMessage] = PROMPT,
    *,
    tools: Sequence[ToolSpec] = (),
) -> None:
    async with model.ask(messages, tools=tools) as answer:
        async for batch in answer:
            assert batch
            chunks.extend(batch)


async def ask_with_the_sdk(world: World, messages: Sequence[PromptMessage]) -> None:
    """The same question as the SDK asks it by itself, without tools."""
    async with AsyncOpenAI(api_key=KEY, base_url=world.server.base_url) as client:
        stream = await client.chat.completions.create(
            model="test-model", messages=[_as_the_sdk_wants(message) for message in messages], stream=True
        )
        async with stream:
            async for _ in stream:
                pass


def _as_the_sdk_wants(message: PromptMessage) -> ChatCompletionMessageParam:
    if message.role == "tool":
        return {"role": "tool", "content": message.content, "tool_call_id": message.call_id}
    if message.role == "assistant":
        calls: list[ChatCompletionMessageToolCallUnionParam] = [
            {"id": call.call_id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.calls
        ]
        return {"role": "assistant", "content": message.content, "tool_calls": calls}
    return {"role": "user", "content": message.content}


def text_of(chunks: Iterable[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, Text))


def reasoning_of(chunks: Iterable[Chunk]) -> str:
    return "".join(chunk.text for chunk in chunks if isinstance(chunk, Reasoning))


def end_of(chunks: Sequence[Chunk]) -> Ended:
    """The end of an answer, which comes once and last."""
    ends = [chunk for chunk in chunks if isinstance(chunk, Ended)]
    assert ends == [chunks[-1]]
    return ends[0]


def calls_of(chunks: Iterable[Chunk]) -> list[tuple[str, str]]:
    """Name and arguments of each call."""
    return [(chunk.name, chunk.arguments) for chunk in chunks if isinstance(chunk, ToolCall)]


def notices_of(chunks: Iterable[Chunk]) -> list[str]:
    return [chunk.words for chunk in chunks if isinstance(chunk, Notice)]


def merged(chunks: Iterable[Chunk]) -> list[Chunk]:
    """The same chunks, with texts that follow each other as one."""
    whole: list[Chunk] = []
    for chunk in chunks:
        last = whole[-1] if whole else None
        if isinstance(chunk, Text) and isinstance(last, Text):
            whole[-1] = Text(text=last.text + chunk.text)
        else:
            whole.append(chunk)
    return whole
