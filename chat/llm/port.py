"""What the project asks of a model, whoever serves it.

Knows the values that go in and come out. Must not know HTTP, an SDK, or which server answers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, Protocol

import msgspec

from chat.core.prompt import PromptMessage


class Text(msgspec.Struct, frozen=True, kw_only=True):
    """Visible text, never empty; any number of characters, cut anywhere."""

    text: str


class Reasoning(msgspec.Struct, frozen=True, kw_only=True):
    """Thinking that the server sends apart from the answer, never empty."""

    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CallBegun:
    """The model writes a call of this tool; for a page that wants to say so, until any other chunk but
    `Reasoning` comes. Each `ToolCall` has one before it, but not each of them leads to one. No part of the
    answer by itself."""

    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolCall:
    """A whole call. That there are calls is the only sign that the model wants some: finish reasons differ.

    call_id: never empty, and unique among the calls of the prompt and of the answer.
    name: as the model wrote it: it may name no tool, or be empty.
    arguments: the JSON text of an object as the model gave it, or empty when it gave none. It may be no JSON.
        Of a call in the text it is made from the parameters, and always the JSON of an object.
    source: where the server had it: in its own field, or inside the text, where it is left out.
    """

    call_id: str
    name: str
    arguments: str
    source: Literal["native", "text"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Notice:
    """A sentence for the person about the answer itself: a call was cut off, or could not be read."""

    words: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """Tokens as the server counted them; None where it did not say."""

    prompt_tokens: int | None
    completion_tokens: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Ended:
    """The last chunk of an answer, exactly once.

    finish_reason: the server's own word (`stop`, `length`, `content_filter`, …); empty when it said none. It
        may be `stop` although there are calls, and `tool_calls` although there is none.
    model: the name that the server answered with; empty when it said none.
    """

    finish_reason: str
    usage: Usage | None
    model: str


Chunk = Text | Reasoning | CallBegun | ToolCall | Notice | Ended


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolSpec:
    """A tool as the model is told of it. parameters: the JSON schema of an object."""

    name: str
    description: str
    parameters: Mapping[str, object]


class ModelFault(StrEnum):
    """Why an answer failed, as a person would sort it. The values are stored with messages."""

    AUTH = "auth"
    QUOTA = "quota"
    RATE_LIMIT = "rate_limit"
    CONTEXT_TOO_LONG = "context_too_long"
    NOT_FOUND = "not_found"
    BAD_REQUEST = "bad_request"
    TIMEOUT = "timeout"
    UNAVAILABLE = "unavailable"
    BROKEN_STREAM = "broken_stream"
    UNKNOWN = "unknown"


TRANSIENT_FAULTS = frozenset(
    {ModelFault.RATE_LIMIT, ModelFault.TIMEOUT, ModelFault.UNAVAILABLE, ModelFault.BROKEN_STREAM}
)


class ModelError(Exception):
    """The model gave no answer, or only a part of one.

    fault: its class.
    words: one or two sentences for the person who asked: what happened and what to do. Holds no key, and no
        more than 300 characters of what the server said.
    retry_after_s: the delay that the server asked for, in seconds; None when it asked for none.
    """

    def __init__(self, *, fault: ModelFault, words: str, retry_after_s: float | None = None) -> None:
        super().__init__(words)
        self.fault = fault
        self.words = words
        self.retry_after_s = retry_after_s

    @property
    def is_transient(self) -> bool:
        """Whether asking again soon may help."""
        return self.fault in TRANSIENT_FAULTS


class Model(Protocol):
    """A model server. Safe for any number of answers at once on one event loop."""

    def ask(
        self,
        messages: Sequence[PromptMessage],
        *,
        tools: Sequence[ToolSpec] = (),
        model: str = "",
        whole_s: float | None = None,
    ) -> AbstractAsyncContextManager[AsyncIterator[tuple[Chunk, ...]]]:
        """Ask for one answer. tools: what the model may call; with any, calls inside the text are calls too.

        model: its name; empty for that of the settings. whole_s: how long the answer may take; None for theirs.
        Iterating yields what each read of the network brought, as one tuple, so that tokens that arrive
        together cost one wake-up. The last tuple ends with `Ended`. Raises ModelError on entering or while
        iterating, which is for the task that entered. Leaving the context, by any way, closes the upstream
        connection at once.
        """
        ...

    async def close(self) -> None:
        """Give back every connection. Nothing can be asked after that."""
        ...
