"""Performs the steps of a script.

Knows what each step sends and how long it waits. Must not know sockets or who asked: it is given an outlet.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, assert_never

import h11

from chat.llm.scripted_steps import (
    AnswerWhole,
    Begin,
    BreakOff,
    CallTool,
    Continue,
    CountTokens,
    Cut,
    Ending,
    EndWithoutDone,
    Exchange,
    FailStream,
    Finish,
    Flood,
    Hang,
    KeepAlive,
    Pause,
    Raw,
    Refuse,
    Say,
    Step,
    Think,
    Wait,
    Wire,
    error_object,
    event,
    tokens,
)


class Outlet(Protocol):
    """Where an answer is sent. Raises ConnectionError when nobody is there."""

    async def send(self, *events: h11.Response | h11.Data | h11.EndOfMessage) -> None:
        """Write in one piece; wait while the client takes nothing more."""

    async def send_whole(self, status: int, body: bytes, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """A JSON response with a body of known length."""

    def drop(self, *, reset: bool) -> None:
        """Close without ending the body."""


class ScriptedAnswer:
    """One answer while it is given. Notes in the exchange when it begins and how it ends."""

    def __init__(self, outlet: Outlet, exchange: Exchange, *, model: str) -> None:
        body = exchange.request.body
        options = body.get("stream_options")
        self._outlet = outlet
        self._exchange = exchange
        self._wire = Wire(number=exchange.request.number, model=model, created_s=int(time.time()))
        self._is_whole = body.get("stream") is not True
        self._wants_usage = isinstance(options, dict) and options.get("include_usage") is True
        self._text: list[str] = []
        self._reasoning: list[str] = []
        self._calls: list[CallTool] = []
        self._token_count = 0
        self._finish_reason: str | None = None
        self._usage: CountTokens | None = None

    async def run(self, steps: Sequence[Step]) -> None:
        """Do the steps, and end as a complete answer ends unless a step ended otherwise."""
        for step in steps:
            if isinstance(step, BreakOff):
                await self._break_off(step)
                return
            await self._do(step)
        await self._complete()

    async def _do(self, step: Continue) -> None:
        match step:
            case Say() | Think():
                await self._say(step)
            case CallTool():
                await self._call(step)
            case Flood():
                await self._flood(step)
            case Pause(seconds=seconds):
                await asyncio.sleep(seconds)
            case Wait(gate=gate):
                await gate.wait()
            case Hang():
                await asyncio.Event().wait()
            case Begin():
                await self._send_as(step)
            case KeepAlive():
                await self._send(b": keep-alive\n\n")
            case Raw(data=data):
                await self._send(data)
            case Finish(reason=reason):
                await self._finish(reason)
            case CountTokens():
                self._usage = step
            case AnswerWhole():
                self._is_whole = True
            case _:
                assert_never(step)

    async def _break_off(self, step: BreakOff) -> None:
        match step:
            case FailStream(message=message, kind=kind, code=code):
                await self._send(event(error_object(message, kind, code)))
                await self._end()
            case Refuse():
                await self._refuse(step)
            case EndWithoutDone():
                await self._send()
                await self._end()
            case Cut(reset=reset):
                self._exchange.end(Ending.CUT_BY_SCRIPT, time.monotonic())
                self._outlet.drop(reset=reset)
            case _:
                assert_never(step)

    async def _say(self, step: Say | Think) -> None:
        field, said = ("content", self._text) if isinstance(step, Say) else ("reasoning_content", self._reasoning)
        due_s = time.monotonic()
        for token in tokens(step.text):
            # By the clock, not after each other: a late token does not delay all that follow.
            due_s += step.delay_s
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            self._token_count += 1
            said.append(token)
            if not self._is_whole:
                await self._send(self._wire.delta({"role": "assistant", field: token}))

    async def _call(self, step: CallTool) -> None:
        index = len(self._calls)
        call = replace(step, call_id=step.call_id or f"call_{self._exchange.request.number}_{index}")
        self._calls.append(call)
        size = call.piece_characters
        pieces = [call.arguments[start : start + size] for start in range(0, len(call.arguments), size)]
        self._token_count += 1 + len(pieces)
        if not self._is_whole:
            await self._send(self._wire.call_delta(index, call_id=call.call_id, name=call.name, arguments=""))
        due_s = time.monotonic()
        for piece in pieces:
            due_s += call.delay_s
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            if not self._is_whole:
                await self._send(self._wire.call_delta(index, arguments=piece))

    async def _flood(self, step: Flood) -> None:
        piece = self._wire.delta({"role": "assistant", "content": step.text})
        for start in range(0, step.count, step.tokens_per_write):
            count = min(step.tokens_per_write, step.count - start)
            self._token_count += count
            self._text.append(step.text * count)
            if not self._is_whole:
                await self._send(*([piece] * count))
            # A client that takes everything at once must not keep the loop from the others.
            await asyncio.sleep(0)

    async def _finish(self, reason: str) -> None:
        self._finish_reason = reason
        if not self._is_whole:
            await self._send(self._wire.delta({}, reason))

    async def _refuse(self, step: Refuse) -> None:
        body = error_object(step.message, step.kind, step.code) if step.body is None else step.body
        self._note_first_byte()
        await self._outlet.send_whole(step.status, body, step.headers)
        self._exchange.end(Ending.COMPLETED, time.monotonic())

    async def _complete(self) -> None:
        count = self._usage or CountTokens(
            prompt_tokens=sum(len(tokens(text)) for _, text in self._exchange.request.messages),
            completion_tokens=self._token_count,
        )
        if self._is_whole:
            body = self._wire.whole(
                text="".join(self._text),
                reasoning="".join(self._reasoning),
                calls=self._calls,
                finish_reason=self._finish_reason or self._own_finish_reason,
                count=count,
            )
            self._note_first_byte()
            await self._outlet.send_whole(200, body)
            self._exchange.end(Ending.COMPLETED, time.monotonic())
            return
        if self._finish_reason is None:
            await self._finish(self._own_finish_reason)
        if self._wants_usage or self._usage is not None:
            await self._send(self._wire.usage(count))
        await self._send(event(b"[DONE]"))
        await self._end()

    @property
    def _own_finish_reason(self) -> str:
        return "tool_calls" if self._calls else "stop"

    async def _send(self, *pieces: bytes) -> None:
        await self._send_as(Begin(), *pieces)

    async def _end(self) -> None:
        await self._outlet.send(h11.EndOfMessage())
        self._exchange.end(Ending.COMPLETED, time.monotonic())

    async def _send_as(self, begin: Begin, *pieces: bytes) -> None:
        events: list[h11.Response | h11.Data] = [h11.Data(data=piece) for piece in pieces if piece]
        if self._exchange.first_byte_at_s is None:
            headers = [("content-type", begin.content_type), ("cache-control", "no-cache"), *begin.headers]
            events.insert(0, h11.Response(status_code=200, headers=headers))
            self._note_first_byte()
        await self._outlet.send(*events)

    def _note_first_byte(self) -> None:
        if self._exchange.first_byte_at_s is None:
            self._exchange.first_byte_at_s = time.monotonic()
