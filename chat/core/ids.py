"""Names of things, and how new ones are made without a random number.

A run is the n-th of its conversation and an answer is the n-th generation of its run, so their ids follow
from what is already known, and folding a log makes the same ids again. So anybody can know them in advance:
they are of a version of their own, which no client may use for its messages.
"""

from __future__ import annotations

from typing import NewType
from uuid import UUID, uuid5

ConversationId = NewType("ConversationId", UUID)
MessageId = NewType("MessageId", UUID)
RunId = NewType("RunId", UUID)
CallId = NewType("CallId", UUID)
ArtifactId = NewType("ArtifactId", UUID)

# The version that RFC 9562 leaves to everybody's own use.
OWN_VERSION = 8


def run_id(conversation_id: ConversationId, run_no: int) -> RunId:
    """The id of the conversation's n-th run, counted from 1."""
    return RunId(_own(conversation_id, f"run {run_no}"))


def answer_id(run: RunId, answer_no: int) -> MessageId:
    """The id of the n-th message that the agent writes in a run, counted from 1."""
    return MessageId(_own(run, f"answer {answer_no}"))


def call_id(answer: MessageId, number: int) -> CallId:
    """The id of the n-th tool call that an answer makes, counted from 1."""
    return CallId(_own(answer, f"call {number}"))


def _own(namespace: UUID, name: str) -> UUID:
    return UUID(int=uuid5(namespace, name).int & ~(0xF << 76) | OWN_VERSION << 76)
