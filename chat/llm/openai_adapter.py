"""Asks a server of the OpenAI dialect.

Knows the `openai` SDK and how a question is put. Must not know conversations, retries or settings: it asks once. How
the answer is read, and what may go wrong with it, is in `openai_answer`.

The SDK gives auth, URLs, the request and the errors. Two things it does not do here: it does not get the
messages as objects (it would walk the whole history in Python for each request; it gets the body as
bytes, from `request_body`), and it does not decode the stream (`sse` does, ten times cheaper).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import lru_cache
from typing import Final, Literal

import httpx2
import openai

from chat.core.prompt import PromptMessage
from chat.llm.call_filter import CallFilter
from chat.llm.call_ids import CallIds
from chat.llm.openai_answer import Answer, TimeLimits
from chat.llm.port import Chunk, ToolSpec
from chat.llm.request_body import request_body
from chat.llm.sse import AnswerDecoder
from chat.llm.text_calls import CallParser
from chat.llm.text_dialect import as_text
from chat.llm.transport import Client, Transport

# How a model is told of tools and says its calls: in fields of their own, or in the text.
Dialect = Literal["native", "text"]

# Past the limit, answers wait for a free connection without a sign; the SDK's own 1,000 is one busy server.
CONNECTIONS_MAX: Final = 2_000

# Idle connections are kept this long for the next turn: a person reads and types for about as long.
KEEP_ALIVE_S: Final = 30.0

# Answers are told of the same few tools.
_names = lru_cache(maxsize=64)(frozenset[str])


class OpenAIModel:
    """`port.Model` for a server of the OpenAI dialect. Belongs to one event loop."""

    def __init__(
        self,
        *,
        api_key: str,
        base_url: str | None,
        model: str,
        connect_s: float,
        first_token_s: float,
        between_tokens_s: float,
        whole_s: float,
        connections_max: int = CONNECTIONS_MAX,
        dialect: Dialect = "native",
    ) -> None:
        """api_key: printable ASCII; empty where none is wanted. base_url: None for the SDK's default. Times in seconds.

        dialect: `text` for a model that can't call tools natively. Calls are understood in both forms in any case.
        """
        self._limits = TimeLimits(
            connect_s=connect_s,
            first_token_s=first_token_s,
            between_tokens_s=between_tokens_s,
            whole_s=whole_s,
        )
        self._model = model
        self._dialect = dialect
        self._key = api_key.strip()
        # The other time-outs are ours: the SDK's would start anew with each keep-alive.
        timeout = httpx2.Timeout(None, connect=connect_s)
        self._client = openai.AsyncOpenAI(
            # The SDK would look for another key in the environment if it got none.
            api_key=self._key or "none",
            base_url=base_url,
            max_retries=0,
            timeout=timeout,
            default_headers={"Accept-Encoding": "identity"},
            http_client=Client(
                transport=Transport(
                    connections_max=connections_max,
                    keep_alive_s=KEEP_ALIVE_S,
                    # A proxy of the environment can't reach this machine's own servers, the demo's among them.
                    trust_env=httpx2.URL(base_url or "").host not in ("127.0.0.1", "localhost", "::1"),
                    is_encrypted=httpx2.URL(base_url or "").scheme != "http",
                ),
                timeout=timeout,
                follow_redirects=True,
            ),
        )

        # A path would be put behind it and parsed anew for each request.
        base = self._client.base_url
        self._url = str(base.copy_with(raw_path=base.raw_path + b"chat/completions"))

    def ask(
        self,
        messages: Sequence[PromptMessage],
        *,
        tools: Sequence[ToolSpec] = (),
        model: str = "",
        whole_s: float | None = None,
    ) -> AbstractAsyncContextManager[AsyncIterator[tuple[Chunk, ...]]]:
        """Ask for one answer. The first step of iterating sends the request; every ModelError is raised so."""
        ids = CallIds(call.call_id for message in messages for call in message.calls)
        return Answer(
            client=self._client,
            url=self._url,
            request=self._body(model or self._model, messages, tools),
            key=self._key,
            limits=self._limits if whole_s is None else replace(self._limits, whole_s=whole_s),
            decoder=AnswerDecoder(secret=self._key, tool_names=_names(tuple(tool.name for tool in tools))),
            calls=CallFilter(CallParser(tools, ids) if tools else None, ids),
        )

    async def close(self) -> None:
        """Give back every connection. Nothing can be asked after that."""
        await self._client.close()

    def _body(self, model: str, messages: Sequence[PromptMessage], tools: Sequence[ToolSpec]) -> bytes:
        if self._dialect == "text":
            return request_body(model, as_text(messages, tools), ())
        return request_body(model, messages, tools)
