"""A tool call, as a value.

Knows what is kept of a call and how its arguments are named by a digest. Must not know tools, policies of an
installation, or how a call is run.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from chat.core.ids import ArtifactId, CallId, MessageId, RunId


class CallState(StrEnum):
    """How far a call has come."""

    PROPOSED = "proposed"
    APPROVED = "approved"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    REJECTED = "rejected"
    STOPPED = "stopped"
    UNKNOWN = "unknown"


# What is under way: an order to run it was given and has not ended.
UNDER_WAY = frozenset({CallState.APPROVED, CallState.RUNNING})


class Policy(StrEnum):
    """Who lets a call run: the conversation's owner or a member of staff each time, nobody needs to, or nobody can."""

    ASK = "ask"
    STAFF = "staff"
    AUTO = "auto"
    NEVER = "never"


class Scope(StrEnum):
    """How far a yes reaches."""

    ONCE = "once"
    CONVERSATION = "conversation"


class Choice(StrEnum):
    """What a person wants after the outcome of a call was lost."""

    RUN_AGAIN = "run_again"
    CONTINUE = "continue"


@dataclass(frozen=True, kw_only=True, slots=True)
class Proposal:
    """A call as the model made it, checked by the performer.

    provider_id: the model's own id for it. arguments: JSON text of an object.
    policy: as it was resolved when the model made the call.
    problem: why it can't run (no such tool, arguments that don't fit); empty when it can. The model gets the words.
    """

    provider_id: str
    tool: str
    arguments: str
    policy: Policy
    problem: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Artifact:
    """A file that a call made, or that a person sent along. `size` in bytes.

    html: what is shown of a table in the call's card, made harmless; empty for every other file.
    """

    artifact_id: ArtifactId
    name: str
    mime: str
    size: int
    html: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """What a person decided on a call, and who and when (Unix time).

    is_staff: they decided as a member of staff, not as the owner.
    """

    user_id: int
    scope: Scope
    reason: str
    at_ms: int
    is_staff: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolCall:
    """One call.

    message_id, number: the answer that made it, and its place there from 1.
    proposed_arguments, arguments: JSON text as the model gave it, and as it runs; they differ when a person edited.
    needs_staff: only a member of staff can let it run, and never the owner of the conversation.
    decision: None while it waits, and when nobody was asked.
    execution_no: how often it was ordered to run; grows only when a person wants an unknown outcome run again.
    is_settled: nothing more will come of it. An unknown outcome is settled once a person went on without it.
    output, result: what it printed, and what the model is told; empty before it has ended.
    started_at_ms, ended_at_ms: Unix time; None before.
    """

    call_id: CallId
    message_id: MessageId
    run_id: RunId
    number: int
    provider_id: str
    tool: str
    proposed_arguments: str
    arguments: str
    state: CallState
    needs_staff: bool = False
    decision: Decision | None = None
    execution_no: int = 0
    is_settled: bool = False
    output: str = ""
    result: str = ""
    artifacts: tuple[Artifact, ...] = ()
    proposed_at_ms: int
    started_at_ms: int | None = None
    ended_at_ms: int | None = None

    @property
    def digest(self) -> str:
        """Names the tool and the very arguments that are shown."""
        return hashlib.sha256(f"{self.tool}\n{self.arguments}".encode()).hexdigest()

    @property
    def waits_for_person(self) -> bool:
        """Whether a person must decide something on it."""
        return not self.is_settled and self.state in {CallState.PROPOSED, CallState.UNKNOWN}
