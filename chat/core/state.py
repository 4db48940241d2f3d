"""Where a conversation stands: all that the next step needs, and nothing that grows with its length.

What belongs to a phase lives in that phase's class, so that impossible combinations can't be written.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from chat.core.agents import AgentRef
from chat.core.calls import Artifact, ToolCall
from chat.core.effects import Effect
from chat.core.ids import ConversationId, MessageId, RunId
from chat.core.messages import Delivery, Failure, Message, MessageState


class Hold(StrEnum):
    """Why the queue waits for a person."""

    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True, slots=True)
class QueuedMessage:
    """A message that was accepted and is not yet in the transcript.

    is_edited: a person has it open for editing; it is not sent before they are done.
    """

    message_id: MessageId
    content: str
    delivery: Delivery
    is_edited: bool
    submitted_at_ms: int
    attachments: tuple[Artifact, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """The work on one message of the user.

    generation_no: the newest order to the model in this run, from 1; it fences performers that lost their place.
    answer_no: how many messages the agent has begun in this run.
    answer: the newest of them: as it was created while the model is asked, as it ended while its calls are open.
    """

    run_id: RunId
    answering: MessageId
    generation_no: int
    answer_no: int = 1
    answer: Message


@dataclass(frozen=True, kw_only=True, slots=True)
class Delay:
    """Back-off before the model is asked again at `until_ms` (Unix time)."""

    attempt: int
    failure: Failure
    until_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Idle:
    """Nothing runs."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Generating:
    """The model is asked. `delay` is set while it is not asked because of back-off."""

    run: Run
    delay: Delay | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AwaitingApproval:
    """At least one call of the newest answer waits for a person. Others may be under way meanwhile."""

    run: Run
    calls: tuple[ToolCall, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class RunningTools:
    """Calls of the newest answer are under way, and none waits for a person."""

    run: Run
    calls: tuple[ToolCall, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class Stopping:
    """The run was cancelled and has not ended yet: the model is still asked, or calls are still under way.

    holds: a person pressed Stop, so that the queue will be held.
    next_id: the message that goes as soon as the run has ended; None when none does.
    """

    run: Run
    holds: bool
    next_id: MessageId | None
    calls: tuple[ToolCall, ...] = ()


Acting = AwaitingApproval | RunningTools
Phase = Idle | Generating | Acting | Stopping


@dataclass(frozen=True, kw_only=True, slots=True)
class Conversation:
    """The snapshot.

    agent: whom the person talks with, from the first event on; None where the settings of the site say all of it.
    title, is_title_given: empty until the first message names it; a name that a person gave is never replaced.
    held: why the queue waits; None when it does not, and always when it is empty.
    outcome: how the last run ended; None before the first one, and while one is active.
    retryable: the user's message whose answer was stopped or failed; None when there is nothing to retry.
    allowed_tools: those that a person lets run in this conversation without being asked.
    message_count, run_count: how many there have been.
    """

    conversation_id: ConversationId
    agent: AgentRef | None = None
    title: str = ""
    is_title_given: bool = False
    is_deleted: bool = False
    phase: Phase = Idle()
    queue: tuple[QueuedMessage, ...] = ()
    held: Hold | None = None
    outcome: MessageState | None = None
    retryable: MessageId | None = None
    allowed_tools: tuple[str, ...] = ()
    message_count: int = 0
    run_count: int = 0

    @property
    def run(self) -> Run | None:
        """The active run."""
        return None if isinstance(self.phase, Idle) else self.phase.run

    @property
    def calls(self) -> tuple[ToolCall, ...]:
        """The calls of the newest answer, while any of them is open."""
        return () if isinstance(self.phase, Idle | Generating) else self.phase.calls

    @property
    def open_generation(self) -> tuple[RunId, int] | None:
        """What names the open order to the model."""
        run = self.run
        return (run.run_id, run.generation_no) if run is not None and self.is_asking_model else None

    @property
    def is_asking_model(self) -> bool:
        """Whether an order to the model is open."""
        run = self.run
        return run is not None and run.answer.state is MessageState.STREAMING


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """What one event did: the new state, orders to the outside, and the messages and calls that are new or changed."""

    state: Conversation
    effects: tuple[Effect, ...] = ()
    messages: tuple[Message, ...] = ()
    calls: tuple[ToolCall, ...] = ()


class Refusal(StrEnum):
    """Why something is not possible now. The values are the codes of `error` frames."""

    GONE = "gone"
    QUEUE_FULL = "queue_full"
    NOT_QUEUED = "not_queued"
    NOT_HELD = "not_held"
    NOTHING_QUEUED = "nothing_queued"
    NOTHING_TO_STOP = "nothing_to_stop"
    NOTHING_TO_RETRY = "nothing_to_retry"
    BUSY = "busy"
    NOT_FOUND = "not_found"
    ALREADY_DECIDED = "already_decided"
    WRONG_DIGEST = "wrong_digest"
    NEEDS_STAFF = "needs_staff"
    UNCHANGED = "unchanged"
    LATE = "late"
    TOO_MANY_MESSAGES = "too_many_messages"
    TOO_MANY_RUNS = "too_many_runs"
    NO_TOKENS_LEFT = "no_tokens_left"
    AGENT_OFF = "agent_off"


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """A value, not an exception: nothing changed and nothing is logged."""

    code: Refusal
    words: str
