"""A message of the transcript, as a value.

Knows what is kept of a message. Must not know how it is stored, drawn or sent.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from chat.core.calls import Artifact
from chat.core.ids import MessageId, RunId


class Role(StrEnum):
    """Who speaks."""

    USER = "user"
    ASSISTANT = "assistant"


class MessageState(StrEnum):
    """How far a message has come. Only `streaming` is not final."""

    STREAMING = "streaming"
    COMPLETE = "complete"
    INTERRUPTED = "interrupted"
    FAILED = "failed"


class Delivery(StrEnum):
    """When a message that is sent while the agent is busy is to be answered."""

    QUEUE = "queue"
    STEER = "steer"
    INTERRUPT = "interrupt"


@dataclass(frozen=True, kw_only=True, slots=True)
class Telemetry:
    """What an answer took. Made by the performer; a field is None when the server or the clock gave none.

    model: the name that the server answered with; empty before it did.
    finish_reason: the server's own word; empty when it said none.
    notice: sentences about the answer itself, such as that a call in it was cut off; empty when there is none.
    first_token_ms, total_ms: from the request to the first visible or reasoning text, and to the end.
    thinking_ms: from the first reasoning text to the first visible one, or to the end.
    """

    model: str = ""
    finish_reason: str = ""
    notice: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    first_token_ms: int | None = None
    total_ms: int | None = None
    thinking_ms: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why an answer failed: a class of fault, and words for the person who asked."""

    fault: str
    words: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """One message of the transcript.

    position: its place in the conversation, counted from 1 without gaps.
    content: characters; of a streaming message what was last saved, which may lag behind what was sent.
    run_id, answering: of an answer, its run and the user's message that it answers; None on a user's message.
    created_at_ms, ended_at_ms: Unix time; a user's message ends as it is created.
    attachments: files that a person sent along.
    failure: set exactly when the state is `failed`.
    """

    message_id: MessageId
    position: int
    role: Role
    state: MessageState
    content: str
    created_at_ms: int
    ended_at_ms: int | None
    run_id: RunId | None = None
    answering: MessageId | None = None
    reasoning: str = ""
    attachments: tuple[Artifact, ...] = ()
    failure: Failure | None = None
    telemetry: Telemetry = Telemetry()
