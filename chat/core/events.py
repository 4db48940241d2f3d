"""Every fact that can enter a conversation.

An event carries each value that the step needs. A wish of a person is a fact: it was asked for. Their stored
names and versions stand in `chat.codec`; a class here can be renamed, a stored name can't.

Every event has `at_ms`, the Unix time in milliseconds at which it came in at the door. Events of a run carry
`run_id` and what names the order in it (`generation_no` of an order to the model, `call_id` and `execution_no` of
one to a tool), and are checked by them first: late, duplicate and foreign ones change nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from chat.core.agents import AgentRef
from chat.core.calls import Artifact, Choice, Proposal, Scope
from chat.core.ids import CallId, ConversationId, MessageId, RunId
from chat.core.messages import Delivery, Failure, Telemetry


@dataclass(frozen=True, kw_only=True, slots=True)
class ConversationStarted:
    """A person opened a new conversation: the first event of every log, and only there.

    agent: whom they talk with; None where the settings of the site say all of it.
    """

    conversation_id: ConversationId
    at_ms: int
    agent: AgentRef | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class ConversationRenamed:
    """A person gave the conversation a name."""

    title: str
    at_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ConversationDeleted:
    """A person put the conversation away. It can be restored."""

    at_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ConversationRestored:
    """A person took back that they had put the conversation away."""

    at_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class MessageSubmitted:
    """A person sent a message. The id is the client's, or the server's when the client gave none.

    queue_limit: how many messages may wait, as it was configured at that moment.
    """

    message_id: MessageId
    content: str
    delivery: Delivery
    queue_limit: int
    at_ms: int
    attachments: tuple[Artifact, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class StopRequested:
    """A person pressed Stop. `run_id` is the run they saw; None means whatever runs."""

    run_id: RunId | None
    at_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RetryRequested:
    """A person asked to answer the last message again, after a failure or a stop."""

    at_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueItemEdited:
    """A person changed a queued message's text; that also ends its hold."""

    message_id: MessageId
    content: str
    at_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueItemHeld:
    """A person began to edit a queued message (`is_held`), or left off without a change."""

    message_id: MessageId
    is_held: bool
    at_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueItemMoved:
    """A person moved a queued message. `position` counts from 0; one past the end means the end."""

    message_id: MessageId
    position: int
    at_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueItemRemoved:
    """A person withdrew a queued message."""

    message_id: MessageId
    at_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueCleared:
    """A person withdrew every queued message."""

    at_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class QueueResumed:
    """A person let a held queue go on."""

    at_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationStarted:
    """The performer took the order and asks the model. `attempt` counts from 1 and grows with back-off."""

    run_id: RunId
    generation_no: int
    attempt: int
    at_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationDelayed:
    """The model could not answer yet; it will be asked again at `until_ms` (Unix time)."""

    run_id: RunId
    generation_no: int
    attempt: int
    failure: Failure
    until_ms: int
    at_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationCompleted:
    """The model ended its answer, and may have called tools. Terminal."""

    run_id: RunId
    generation_no: int
    text: str
    reasoning: str
    telemetry: Telemetry
    at_ms: int
    calls: tuple[Proposal, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationInterrupted:
    """The answer was cancelled; the upstream connection is closed. Terminal. `text` is what had arrived."""

    run_id: RunId
    generation_no: int
    text: str
    reasoning: str
    telemetry: Telemetry
    at_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationFailed:
    """The model gave no whole answer. Terminal. `text` is what had arrived."""

    run_id: RunId
    generation_no: int
    text: str
    reasoning: str
    failure: Failure
    telemetry: Telemetry
    at_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class GenerationLost:
    """The process that performed the order is gone. Terminal for that order.

    text: what it had saved.
    can_ask_again: False when this run was lost so often that asking again would do harm.
    """

    run_id: RunId
    generation_no: int
    text: str
    can_ask_again: bool
    at_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolApproved:
    """A person said yes to the arguments that `digest` names, or to `arguments` instead (JSON text).

    is_staff_decision: by a member of staff who may decide and is not the owner, as the door found it at that moment.
    """

    call_id: CallId
    digest: str
    arguments: str | None
    scope: Scope
    user_id: int
    at_ms: int
    is_staff_decision: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolRejected:
    """A person said no. The model is told the reason. is_staff_decision: as that of `ToolApproved`."""

    call_id: CallId
    reason: str
    user_id: int
    at_ms: int
    is_staff_decision: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolAllowanceRevoked:
    """A person took back that a tool may run in this conversation without being asked for."""

    tool: str
    at_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class UnknownOutcomeResolved:
    """A person said what becomes of a call whose outcome was lost. is_staff_decision: as that of `ToolApproved`."""

    call_id: CallId
    choice: Choice
    user_id: int
    at_ms: int
    is_staff_decision: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolStarted:
    """The performer claims the order: only who brings this event in may run the tool."""

    run_id: RunId
    call_id: CallId
    execution_no: int
    at_ms: int


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolEnded:
    """The tool has ended and nothing of it runs any more. Terminal.

    outcome: `succeeded`, `failed` or `stopped`.
    output, result: what it printed, and what the model is told.
    is_claimed: False when whoever says so never had the claim: it ends an order that nobody runs, and no other.
    """

    run_id: RunId
    call_id: CallId
    execution_no: int
    outcome: str
    output: str
    result: str
    artifacts: tuple[Artifact, ...]
    at_ms: int
    is_claimed: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolLost:
    """The process that had the order is gone. Terminal.

    can_run_again: running this tool twice does no harm, so that nobody has to be asked.
    output: what it had printed when that was last saved.
    """

    run_id: RunId
    call_id: CallId
    execution_no: int
    can_run_again: bool
    at_ms: int
    output: str = ""


WishEvent = (
    ConversationRenamed
    | ConversationDeleted
    | ConversationRestored
    | MessageSubmitted
    | StopRequested
    | RetryRequested
    | QueueItemEdited
    | QueueItemHeld
    | QueueItemMoved
    | QueueItemRemoved
    | QueueCleared
    | QueueResumed
    | ToolApproved
    | ToolRejected
    | ToolAllowanceRevoked
    | UnknownOutcomeResolved
)
GenerationEnd = GenerationCompleted | GenerationInterrupted | GenerationFailed | GenerationLost
GenerationEvent = GenerationStarted | GenerationDelayed | GenerationEnd
CallEnd = ToolEnded | ToolLost
CallEvent = ToolStarted | CallEnd
TerminalEvent = GenerationEnd | CallEnd
Event = ConversationStarted | WishEvent | GenerationEvent | CallEvent
