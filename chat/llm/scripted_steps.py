"""What a scripted server can be told to do, step by step.

Knows the steps and the form that text, usage and errors have on the wire. Must not know sockets or time;
it does nothing by itself.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol

import msgspec

# One token: a word with the blanks before it, in pieces of at most eight letters, as real tokens are.
_TOKEN: Final = re.compile(r"\s*\S{1,8}|\s+")


class Waitable(Protocol):
    """What a gate is: `Gate`, or an `asyncio.Event` of the server's loop."""

    async def wait(self) -> object: ...


class Gate:
    """Closed until somebody opens it, from any thread; then open for ever."""

    def __init__(self) -> None:
        self._opened: Future[None] = Future()

    def open(self) -> None:
        if not self._opened.done():
            self._opened.set_result(None)

    async def wait(self) -> None:
        # Shielded: who stops waiting must not cancel the gate for the others.
        await asyncio.shield(asyncio.wrap_future(self._opened))


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolResult:
    """The result of a call, as it stands in a prompt. name: of the tool; empty when no call has this id."""

    call_id: str
    name: str
    content: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ScriptedRequest:
    """One request for an answer.

    number: 0 for the server's first. body: the parsed JSON object. headers: lower-case names.
    client_port: tells connections apart. arrived_at_s: `time.monotonic()` when the last byte of the body
    was there.
    """

    number: int
    body: Mapping[str, object]
    headers: Mapping[str, str]
    client_port: int
    arrived_at_s: float

    @property
    def messages(self) -> tuple[tuple[str, str], ...]:
        """Role and text of each message of the prompt."""
        return tuple((_text(message, "role"), _text(message, "content")) for message in self._messages)

    @property
    def last_user_text(self) -> str:
        """Text of the last message of the role `user`; empty when there is none."""
        return next((text for role, text in reversed(self.messages) if role == "user"), "")

    @property
    def tools(self) -> tuple[str, ...]:
        """Names of the tools that may be called natively."""
        return tuple(_text(_inner(tool), "name") for tool in _objects(self.body.get("tools")))

    @property
    def tool_results(self) -> tuple[ToolResult, ...]:
        """The results that came since the last message of the role `user`, in order."""
        names: dict[str, str] = {}
        results: list[ToolResult] = []
        for message in self._messages:
            names |= {_text(call, "id"): _text(_inner(call), "name") for call in _objects(message.get("tool_calls"))}
            if message.get("role") == "user":
                results.clear()
            elif message.get("role") == "tool":
                call_id = _text(message, "tool_call_id")
                content = _text(message, "content")
                results.append(ToolResult(call_id=call_id, name=names.get(call_id, ""), content=content))
        return tuple(results)

    @property
    def _messages(self) -> list[Mapping[str, object]]:
        return _objects(self.body.get("messages"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Begin:
    """Send the headers now. Without this step they go out with the first thing that is sent."""

    content_type: str = "text/event-stream"
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Say:
    """Say text, token by token, each `delay_s` after the one before it."""

    text: str
    delay_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Think:
    """The same for reasoning."""

    text: str
    delay_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class CallTool:
    """Call a tool natively. Without a `Finish`, the answer then finishes with `tool_calls`.

    arguments: JSON text, sent in pieces of `piece_characters`, each `delay_s` after the one before it.
    call_id: empty for one that no other call of this server has.
    """

    name: str
    arguments: str = "{}"
    call_id: str = ""
    piece_characters: int = 8
    delay_s: float = 0.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Flood:
    """Say `text` as one token, `count` times, as fast as the client takes it, many in one write."""

    text: str = "word "
    count: int
    tokens_per_write: int = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Pause:
    """Do nothing for a time."""

    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Wait:
    """Do nothing until a gate opens."""

    gate: Waitable


@dataclass(frozen=True, kw_only=True, slots=True)
class Hang:
    """Do nothing for ever."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KeepAlive:
    """Send a comment line, as servers do that are busy before the first token."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Raw:
    """Send these bytes of the body as they are, in one write."""

    data: bytes


@dataclass(frozen=True, kw_only=True, slots=True)
class Finish:
    """Send a finish reason. Without this step a complete answer finishes with `stop`, or with `tool_calls`."""

    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CountTokens:
    """What the usage says. Without this step the tokens are counted."""

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class FailStream:
    """Send an error object inside the stream, and end."""

    message: str
    kind: str = "server_error"
    code: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Refuse:
    """Answer with an HTTP error. Must be the first thing that is sent.

    body: sent as it is; None for an error object of `message`, `kind` and `code`.
    """

    status: int
    message: str = "Refused by the script."
    kind: str | None = None
    code: str | None = None
    body: bytes | None = None
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerWhole:
    """Answer with one JSON object instead of a stream: what is said after this step is collected."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EndWithoutDone:
    """End the body properly, here: no finish reason, no usage, no `[DONE]`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Cut:
    """Drop the connection: with a reset, or with an ordinary close in the middle of the body."""

    reset: bool = True


# Steps after which there is more to do, and steps that end the answer.
Continue = (
    Begin | Say | Think | CallTool | Flood | Pause | Wait | Hang | KeepAlive | Raw | Finish | CountTokens | AnswerWhole
)
BreakOff = FailStream | Refuse | EndWithoutDone | Cut
Step = Continue | BreakOff

Script = Callable[[ScriptedRequest], Sequence[Step]]


class Ending(StrEnum):
    """How an exchange ended."""

    COMPLETED = "completed"
    CLOSED_BY_CLIENT = "closed_by_client"
    CUT_BY_SCRIPT = "cut_by_script"
    SERVER_CLOSED = "server_closed"


@dataclass(kw_only=True, slots=True)
class Exchange:
    """One request and what became of it. The server writes it, anybody reads it; times of `time.monotonic()`.

    first_byte_at_s: when the first byte of the answer was sent; None before.
    ending, ended_at_s: how and when it ended; None while it lasts.
    """

    request: ScriptedRequest
    first_byte_at_s: float | None = None
    ending: Ending | None = None
    ended_at_s: float | None = None
    _over: Future[Ending] = field(default_factory=Future)

    def end(self, ending: Ending, at_s: float) -> None:
        """Only the first end counts."""
        if self.ending is None:
            self.ended_at_s = at_s
            self.ending = ending
            self._over.set_result(ending)

    async def ended(self) -> Ending:
        """Wait for its end, on any loop."""
        return await asyncio.shield(asyncio.wrap_future(self._over))

    def wait_until_ended(self, *, timeout_s: float) -> Ending:
        """Block until its end. For threads other than the server's."""
        return self._over.result(timeout_s)


def tokens(text: str) -> list[str]:
    """The text in tokens; joined they are the text."""
    return _TOKEN.findall(text)


def error_object(message: str, kind: str | None, code: str | None) -> bytes:
    """An error in the form that OpenAI gives it."""
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": None, "code": code}})


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    return value if isinstance(value, str) else ""


def _objects(value: object) -> list[Mapping[str, object]]:
    return [entry for entry in value if isinstance(entry, dict)] if isinstance(value, list) else []


def _inner(value: Mapping[str, object]) -> Mapping[str, object]:
    """The `function` of a tool or of a call."""
    function = value.get("function")
    return function if isinstance(function, dict) else {}


class Wire:
    """The JSON of one answer. created_s: seconds since the epoch."""

    def __init__(self, *, number: int, model: str, created_s: int) -> None:
        self._head = {"id": f"chatcmpl-{number}", "created": created_s, "model": model}

    def delta(self, delta: Mapping[str, object], finish_reason: str | None = None) -> bytes:
        """One event with one piece of the answer."""
        return self._event([{"index": 0, "delta": delta, "finish_reason": finish_reason}], None)

    def usage(self, count: CountTokens) -> bytes:
        """The last event, without any piece."""
        return self._event([], _usage(count))

    def call_delta(self, index: int, *, arguments: str, call_id: str = "", name: str = "") -> bytes:
        """One event with one piece of a call. call_id, name: of its first piece."""
        if not name:
            call: dict[str, object] = {"index": index, "function": {"arguments": arguments}}
        else:
            call = {"index": index, **_call(call_id, name, arguments)}
        return self.delta({"role": "assistant", "tool_calls": [call]})

    def whole(
        self, *, text: str, reasoning: str, calls: Sequence[CallTool], finish_reason: str, count: CountTokens
    ) -> bytes:
        """The whole answer as one object."""
        message: dict[str, object] = {"role": "assistant", "content": text}
        if reasoning:
            message["reasoning_content"] = reasoning
        if calls:
            message["tool_calls"] = [_call(call.call_id, call.name, call.arguments) for call in calls]
        choices = [{"index": 0, "message": message, "finish_reason": finish_reason}]
        completion = {**self._head, "object": "chat.completion", "choices": choices, "usage": _usage(count)}
        return msgspec.json.encode(completion)

    def _event(self, choices: list[dict[str, object]], usage: Mapping[str, int] | None) -> bytes:
        chunk = {**self._head, "object": "chat.completion.chunk", "choices": choices, "usage": usage}
        return event(msgspec.json.encode(chunk))


def event(data: bytes) -> bytes:
    """One server-sent event."""
    return b"data: " + data + b"\n\n"


def _call(call_id: str, name: str, arguments: str) -> dict[str, object]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _usage(count: CountTokens) -> dict[str, int]:
    return {
        "prompt_tokens": count.prompt_tokens,
        "completion_tokens": count.completion_tokens,
        "total_tokens": count.prompt_tokens + count.completion_tokens,
    }
