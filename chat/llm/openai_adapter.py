"""Asks a server of the OpenAI dialect.

Knows the `openai` SDK, HTTP, and the limits of time. Must not know conversations, retries or settings: it
asks once and says in words what went wrong.

The SDK gives auth, URLs, the request and the errors. Two things it does not do here: it does not get the
messages as objects (it would walk the whole history in Python for each request; it gets the body as
bytes, from `request_body`), and it does not decode the stream (`sse` does, ten times cheaper).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Final, Literal

import httpx2
import openai

from chat.bell import Bell
from chat.core.prompt import PromptMessage
from chat.llm.call_filter import CallFilter
from chat.llm.call_ids import CallIds
from chat.llm.faults import retry_after_s, server_error
from chat.llm.port import Chunk, ModelError, ModelFault, ToolSpec
from chat.llm.request_body import request_body
from chat.llm.sse import AnswerDecoder
from chat.llm.text_calls import CallParser
from chat.llm.text_dialect import as_text
from chat.llm.transport import PIECE_BYTES, Body, Client, Transport
from chat.tempo import OF_THIS_PROCESS

# How a model is told of tools and says its calls: in fields of their own, or in the text.
Dialect = Literal["native", "text"]

# Past the limit, answers wait for a free connection without a sign; the SDK's own 1,000 is one busy server.
CONNECTIONS_MAX: Final = 2_000

# Idle connections are kept this long for the next turn: a person reads and types for about as long.
KEEP_ALIVE_S: Final = 30.0

# Once the server has said why it finished, only the usage is missing; it is not worth a longer wait.
LAST_WORDS_S: Final = 3.0

# After `[DONE]` the connection can be used again if the body ends within this time; else it is closed.
REUSE_S: Final = 0.05

# So many chunks may wait for a slow consumer before the network has to wait too.
MAX_WAITING_CHUNKS: Final = 10_000

# An answer in one piece that is larger than this is none.
MAX_BODY_BYTES: Final = 32 * 1024 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeLimits:
    """Seconds. Each that passes is a ModelError that names it.

    connect_s: for a free connection, and for making one.
    first_token_s: from asking to the first text, reasoning or piece of a call. Headers, empty chunks and comment
        lines do not count as one: they say that the server lives, not that it answers.
    between_tokens_s: from one of these to the next; the same things do not count.
    whole_s: from asking to the end.
    """

    connect_s: float
    first_token_s: float
    between_tokens_s: float
    whole_s: float


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
        """api_key: empty where none is wanted. base_url: None for the SDK's default. Times in seconds.

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
        """Ask for one answer. Entering starts the request; every ModelError is raised while iterating."""
        ids = CallIds(call.call_id for message in messages for call in message.calls)
        return _Answer(
            client=self._client,
            url=self._url,
            body=self._body(model or self._model, messages, tools),
            key=self._key,
            limits=self._limits if whole_s is None else replace(self._limits, whole_s=whole_s),
            decoder=AnswerDecoder(secret=self._key, tool_names=[tool.name for tool in tools]),
            calls=CallFilter(CallParser(tools, ids) if tools else None, ids),
        )

    async def close(self) -> None:
        """Give back every connection. Nothing can be asked after that."""
        await self._client.close()

    def _body(self, model: str, messages: Sequence[PromptMessage], tools: Sequence[ToolSpec]) -> bytes:
        if self._dialect == "text":
            return request_body(model, as_text(messages, tools), ())
        return request_body(model, messages, tools)


class _Answer:
    """One answer: a task that reads, a mailbox, and one timer.

    The reader goes on while the consumer works, so that whatever arrived meanwhile comes as one tuple. It is
    the only one that touches the connection, and its cancellation closes it: that is how every way out ends.
    The timer looks at a deadline that the reader moves ahead, so that a chunk costs no timer of its own.
    """

    def __init__(
        self,
        *,
        client: openai.AsyncOpenAI,
        url: str,
        body: bytes,
        key: str,
        limits: TimeLimits,
        decoder: AnswerDecoder,
        calls: CallFilter,
    ) -> None:
        self._client = client
        self._url = url
        self._body = body
        self._key = key
        self._limits = limits
        self._decoder = decoder
        self._calls = calls
        self._chunks: list[Chunk] = []
        self._failure: Exception | None = None
        self._arrived = Bell()  # there is something in the mailbox, a failure, or the end
        self._room = Bell()  # the consumer took what there was

    async def __aenter__(self) -> AsyncIterator[tuple[Chunk, ...]]:
        self._loop = asyncio.get_running_loop()
        now_s = self._loop.time()
        self._whole_deadline_s = now_s + self._limits.whole_s
        self._deadline_s = min(now_s + self._limits.first_token_s, self._whole_deadline_s)
        self._timer = self._loop.call_at(self._deadline_s, self._look_at_clock)
        self._reader = asyncio.create_task(self._read(), name="read model answer")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        try:
            if self._decoder.is_over:
                await asyncio.wait({self._reader}, timeout=REUSE_S)
        finally:
            self._reader.cancel()
            await asyncio.wait({self._reader})

    def __aiter__(self) -> AsyncIterator[tuple[Chunk, ...]]:
        return self

    async def __anext__(self) -> tuple[Chunk, ...]:
        await self._arrived.wait()
        if self._chunks:
            chunks = tuple(self._chunks)
            self._chunks.clear()
            self._room.set()
            if self._failure is None and not self._decoder.is_over:
                self._arrived.clear()
            return chunks
        if self._failure is not None:
            raise self._failure
        raise StopAsyncIteration

    async def _read(self) -> None:
        try:
            content_type, body = await self._respond()
            try:
                await self._take(content_type, body)
            finally:
                await body.aclose()
        except httpx2.TransportError:
            if not self._decoder.is_over:
                self._end_of_cut()
        except Exception as error:
            self._fail(error)

    async def _respond(self) -> tuple[str, Body]:
        """Send the request. Returns the media type of the answer, and its body."""
        if not self._key.isascii() or not self._key.isprintable():
            raise ModelError(
                fault=ModelFault.AUTH,
                words="The API key holds characters that no key has. Check OPENAI_API_KEY.",
            )
        # The SDK takes this header for itself: it returns the response before its body is read.
        headers: dict[str, str | openai.Omit] = {"X-Stainless-Raw-Response": "stream"}
        if not self._key:
            headers["Authorization"] = openai.Omit()
        content, self._body = self._body, b""
        try:
            response = await self._client.post(
                self._url,
                cast_to=httpx2.Response,
                content=content,
                options={"headers": headers},
            )
        except openai.APIStatusError as error:
            raise self._refusal(error) from None
        except openai.APIConnectionError as error:
            raise self._unreachable(error) from None
        except httpx2.TransportError as error:
            # While the SDK read the body of an error.
            raise ModelError(
                fault=ModelFault.UNAVAILABLE,
                words="The model server broke off while it said what went wrong.",
            ) from error

        content_type = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        return content_type, Body.of(response)

    async def _take(self, content_type: str, body: Body) -> None:
        if content_type == "text/html":
            raise ModelError(
                fault=ModelFault.NOT_FOUND,
                words="There is a web page where the model server should be. Check the base URL.",
            )
        if content_type.endswith("json"):
            await self._take_whole(body)
        else:
            await self._take_stream(body)
        self._arrived.set()

    async def _take_whole(self, body: Body) -> None:
        whole = bytearray()
        while piece := await body.read():
            whole += piece
            if len(whole) > MAX_BODY_BYTES:
                words = f"The model server sent more than {MAX_BODY_BYTES:,} bytes in one piece."
                raise ModelError(fault=ModelFault.BROKEN_STREAM, words=words)
        self._decode(partial(self._decoder.whole, bytes(whole)))

    async def _take_stream(self, body: Body) -> None:
        taken_bytes = 0
        while piece := await body.read():
            length = len(piece)
            chunks_before, before = len(self._chunks), (self._decoder.said, self._decoder.finish_reason)
            self._decode(partial(self._decoder.feed, piece))
            # Nothing of it is held while there is a pause.
            del piece
            if len(self._chunks) > chunks_before:
                self._arrived.set()
                if len(self._chunks) > MAX_WAITING_CHUNKS:
                    await self._wait_for_room()
                self._move_deadline()
            elif (self._decoder.said, self._decoder.finish_reason) != before:
                self._move_deadline()
            taken_bytes += length
            if length >= PIECE_BYTES:
                # There is more already; others have their turn first.
                await asyncio.sleep(0)
            elif not self._decoder.is_over:
                # What comes meanwhile comes as one. Of a server that is far ahead there is always enough.
                if taken_bytes < PIECE_BYTES and (pause_s := OF_THIS_PROCESS.pause_s()):
                    body.rest(pause_s)
                taken_bytes = 0
        self._decode(self._decoder.end)

    def _decode(self, decode: Callable[[list[Chunk]], None]) -> None:
        """Let the decoder fill a list; what is in it goes on also when it fails."""
        fresh: list[Chunk] = []
        try:
            decode(fresh)
        finally:
            self._calls.take(fresh, self._chunks)

    async def _wait_for_room(self) -> None:
        # The server can't be late while it is us who do not read.
        self._deadline_s = self._whole_deadline_s
        self._room.clear()
        await self._room.wait()

    def _move_deadline(self) -> None:
        quiet_s = self._limits.between_tokens_s
        if self._decoder.finish_reason:
            quiet_s = min(quiet_s, LAST_WORDS_S)
        self._deadline_s = min(self._loop.time() + quiet_s, self._whole_deadline_s)
        if self._deadline_s < self._timer.when():
            self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline_s, self._look_at_clock)

    def _look_at_clock(self) -> None:
        if self._decoder.is_over or self._failure is not None:
            return
        now_s = self._loop.time()
        if now_s < self._deadline_s:
            self._timer = self._loop.call_at(self._deadline_s, self._look_at_clock)
            return
        self._reader.cancel()
        if self._decoder.finish_reason:
            self._end_of_cut()
        elif now_s >= self._whole_deadline_s:
            self._fail(_timeout(f"did not finish its answer within {self._limits.whole_s:g} s"))
        elif self._decoder.said:
            self._fail(_timeout(f"said nothing more for {self._limits.between_tokens_s:g} s"))
        else:
            self._fail(_timeout(f"did not begin to answer within {self._limits.first_token_s:g} s"))

    def _end_of_cut(self) -> None:
        """There is no connection any more. With a finish reason the text is complete all the same."""
        if self._decoder.finish_reason:
            self._decode(self._decoder.complete)
            self._arrived.set()
        else:
            self._fail(
                ModelError(
                    fault=ModelFault.BROKEN_STREAM,
                    words="The connection to the model server broke off in the middle of the answer.",
                )
            )

    def _fail(self, error: Exception) -> None:
        self._calls.abandon(self._chunks)
        self._failure = error
        self._arrived.set()

    def _refusal(self, error: openai.APIStatusError) -> ModelError:
        headers = error.response.headers
        delay_s = retry_after_s(headers.get("retry-after-ms"), headers.get("retry-after"), now_s=time.time())
        return server_error(error.body, status=error.status_code, retry_after_s=delay_s, secret=self._key)

    def _unreachable(self, error: openai.APIConnectionError) -> ModelError:
        url = error.request.url
        # Without the user's part of the URL: there may be a password in it.
        place = f"{url.scheme}://{url.netloc.decode('ascii', 'replace')}"
        limit = f"{self._limits.connect_s:g} s"
        match error.__cause__:
            case httpx2.PoolTimeout():
                return _timeout(f"had no free connection within {limit}: all that are allowed are in use")
            case httpx2.ConnectTimeout():
                return _timeout(f"at {place} could not be connected to within {limit}")
            case httpx2.UnsupportedProtocol():
                words = "The base URL of the model server must begin with http:// or https://."
                return ModelError(fault=ModelFault.NOT_FOUND, words=words)
            case httpx2.RemoteProtocolError() | httpx2.ReadError():
                words = f"The model server at {place} closed the connection without an answer."
            case _:
                words = f"The model server at {place} can't be reached."
        return ModelError(fault=ModelFault.UNAVAILABLE, words=words)


def _timeout(what: str) -> ModelError:
    return ModelError(fault=ModelFault.TIMEOUT, words=f"The model server {what}.")
