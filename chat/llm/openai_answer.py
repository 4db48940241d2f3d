"""One answer of a server of the OpenAI dialect, from the request to its end.

Knows the `openai` SDK, HTTP, and the limits of time. Must not know who is asked for what, conversations or retries.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Final

import httpx2
import openai

from chat.llm.call_filter import CallFilter
from chat.llm.faults import retry_after_s, server_error
from chat.llm.port import Chunk, ModelError, ModelFault
from chat.llm.sse import AnswerDecoder
from chat.llm.transport import PIECE_BYTES, Body
from chat.tempo import OF_THIS_PROCESS

# Once the server has said why it finished, only the usage is missing; it is not worth a longer wait.
LAST_WORDS_S: Final = 3.0

# After `[DONE]` the connection can be used again if the body ends within this time; else it is closed.
REUSE_S: Final = 0.05

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


class Answer:
    """One answer, read by the task that enters it: what arrives while that works waits in the connection, and comes as
    one.

    The one timer looks at a deadline that each arrival moves ahead, so that a chunk costs no timer of its own.
    """

    def __init__(
        self,
        *,
        client: openai.AsyncOpenAI,
        url: str,
        request: bytes,
        key: str,
        limits: TimeLimits,
        decoder: AnswerDecoder,
        calls: CallFilter,
    ) -> None:
        """url: where to ask. request: the body. key: empty where none is wanted. decoder, calls: of this answer."""
        self._client = client
        self._url = url
        self._request = request
        self._key = key
        self._limits = limits
        self._decoder = decoder
        self._calls = calls
        self._body: Body | None = None
        self._is_in_one_piece = False
        # Bytes that were taken without a pause, and whether there were more already.
        self._taken_bytes = 0
        self._has_more = False
        # Raised when all that came before it was taken.
        self._failure: Exception | None = None
        # Whether its task waits for the server just now, and whether it was the clock that ended that.
        self._is_waiting = self._is_late = False

    async def __aenter__(self) -> AsyncIterator[tuple[Chunk, ...]]:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
        now_s = self._loop.time()
        self._whole_deadline_s = now_s + self._limits.whole_s
        self._deadline_s = min(now_s + self._limits.first_token_s, self._whole_deadline_s)
        self._timer: asyncio.TimerHandle | None = self._loop.call_at(self._deadline_s, self._look_at_clock)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._body is None:
            return
        try:
            if self._decoder.is_over:
                await self._body.finish(within_s=REUSE_S)
        finally:
            await self._body.aclose()

    def __aiter__(self) -> AsyncIterator[tuple[Chunk, ...]]:
        return self

    async def __anext__(self) -> tuple[Chunk, ...]:
        chunks: list[Chunk] = []
        while not chunks:
            if self._failure is not None:
                raise self._failure
            if self._decoder.is_over:
                raise StopAsyncIteration
            try:
                await self._wait(chunks)
            except httpx2.TransportError:
                self._end_of_cut(chunks)
            except Exception as error:
                self._fail(error, chunks)
        return tuple(chunks)

    async def _wait(self, chunks: list[Chunk]) -> None:
        """Append what comes next, but not longer than until the deadline."""
        if self._timer is None:
            self._move_deadline()
        self._is_waiting = True
        try:
            if self._body is None:
                self._body = await self._respond()
            if self._is_in_one_piece:
                await self._take_whole(self._body, chunks)
            else:
                await self._take_stream(self._body, chunks)
        except asyncio.CancelledError:
            # Whoever else wants an end of it comes first.
            if not self._is_late or self._task is None or self._task.uncancel() > 0:
                raise
            self._end_of_late(chunks)
        finally:
            self._is_waiting = False

    async def _respond(self) -> Body:
        """Send the request; returns when the head of the answer is there."""
        # The SDK takes this header for itself: it returns the response before its body is read.
        headers: dict[str, str | openai.Omit] = {"X-Stainless-Raw-Response": "stream"}
        if not self._key:
            headers["Authorization"] = openai.Omit()
        content, self._request = self._request, b""
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
        self._is_in_one_piece = content_type.endswith("json")
        body = Body.of(response)
        if content_type == "text/html":
            await body.aclose()
            raise ModelError(
                fault=ModelFault.NOT_FOUND,
                words="There is a web page where the model server should be. Check the base URL.",
            )
        return body

    async def _take_whole(self, body: Body, chunks: list[Chunk]) -> None:
        whole = bytearray()
        while piece := await body.read():
            whole += piece
            if len(whole) > MAX_BODY_BYTES:
                words = f"The model server sent more than {MAX_BODY_BYTES:,} bytes in one piece."
                raise ModelError(fault=ModelFault.BROKEN_STREAM, words=words)
        self._decode(partial(self._decoder.whole, bytes(whole)), chunks)

    async def _take_stream(self, body: Body, chunks: list[Chunk]) -> None:
        while not chunks and not self._decoder.is_over:
            if self._has_more:
                # Others have their turn first.
                await asyncio.sleep(0)
            piece = await body.read()
            if not piece:
                self._decode(self._decoder.end, chunks)
                return
            length = len(piece)
            before = self._decoder.said, self._decoder.finish_reason
            self._decode(partial(self._decoder.feed, piece), chunks)
            # Nothing of it is held while there is a pause.
            del piece
            if chunks or (self._decoder.said, self._decoder.finish_reason) != before:
                self._move_deadline()
            self._taken_bytes += length
            self._has_more = length >= PIECE_BYTES
            if not self._has_more:
                # What comes meanwhile comes as one. Of a server that is far ahead there is always enough.
                if self._taken_bytes < PIECE_BYTES and not self._decoder.is_over:
                    body.rest(OF_THIS_PROCESS.pause_s())
                self._taken_bytes = 0

    def _decode(self, decode: Callable[[list[Chunk]], None], chunks: list[Chunk]) -> None:
        """Let the decoder fill a list; what is in it goes on also when it fails."""
        fresh: list[Chunk] = []
        try:
            decode(fresh)
        finally:
            self._calls.take(fresh, chunks)

    def _move_deadline(self) -> None:
        quiet_s = self._limits.between_tokens_s
        if self._decoder.finish_reason:
            quiet_s = min(quiet_s, LAST_WORDS_S)
        self._deadline_s = min(self._loop.time() + quiet_s, self._whole_deadline_s)
        if self._timer is None or self._deadline_s < self._timer.when():
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(self._deadline_s, self._look_at_clock)

    def _look_at_clock(self) -> None:
        if self._loop.time() < self._deadline_s:
            self._timer = self._loop.call_at(self._deadline_s, self._look_at_clock)
        elif self._is_waiting and self._task is not None:
            self._is_late = True
            self._task.cancel()
        else:
            # The server can't be late while nobody reads. The timer goes on with whoever does.
            self._timer = None

    def _end_of_late(self, chunks: list[Chunk]) -> None:
        if self._decoder.finish_reason:
            self._end_of_cut(chunks)
        elif self._loop.time() >= self._whole_deadline_s:
            self._fail(_timeout(f"did not finish its answer within {self._limits.whole_s:g} s"), chunks)
        elif self._decoder.said:
            self._fail(_timeout(f"said nothing more for {self._limits.between_tokens_s:g} s"), chunks)
        else:
            self._fail(_timeout(f"did not begin to answer within {self._limits.first_token_s:g} s"), chunks)

    def _end_of_cut(self, chunks: list[Chunk]) -> None:
        """There is no connection any more. With a finish reason the text is complete all the same."""
        if self._decoder.finish_reason:
            self._decode(self._decoder.complete, chunks)
        else:
            error = ModelError(
                fault=ModelFault.BROKEN_STREAM,
                words="The connection to the model server broke off in the middle of the answer.",
            )
            self._fail(error, chunks)

    def _fail(self, error: Exception, chunks: list[Chunk]) -> None:
        self._calls.abandon(chunks)
        self._failure = error

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
