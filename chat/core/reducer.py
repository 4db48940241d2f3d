"""Every transition: the wishes of people here, the life of a run in `chat.core.runs`. Nothing else changes state.

    phase       event                         next
    Idle        MessageSubmitted, Retry       Generating
    Generating  Started, Delayed              Generating
                Completed                     with calls: AwaitingApproval or RunningTools;
                                              else Generating with the queue's next, or Idle
                Failed                        Idle, queue held
                Lost                          Generating, asked again; Idle and failed when it may not be
                StopRequested, Deleted        Stopping, queue will be held
                Submitted as `interrupt`      Stopping, that message goes next
    Awaiting-   Approved, Rejected, Resolved, AwaitingApproval while a call waits for a person, else RunningTools
    Approval,   Tool started, ended, lost     while one is under way, else Generating: the model gets the results
    Running-    StopRequested, `interrupt`    Stopping while a call is under way, else as after Stopping
    Tools
    Stopping    the last terminal event       Generating with the message that goes next, else Idle

Queue operations change the queue in every phase; when nothing runs and the queue may go, it goes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from chat.core import runs
from chat.core.calls import CallState, Choice, Decision, Scope, ToolCall
from chat.core.events import (
    CallEvent,
    ConversationDeleted,
    ConversationRenamed,
    ConversationRestored,
    ConversationStarted,
    Event,
    GenerationEvent,
    MessageSubmitted,
    QueueCleared,
    QueueItemEdited,
    QueueItemHeld,
    QueueItemMoved,
    QueueItemRemoved,
    QueueResumed,
    RetryRequested,
    StopRequested,
    ToolAllowanceRevoked,
    ToolApproved,
    ToolRejected,
    UnknownOutcomeResolved,
    WishEvent,
)
from chat.core.messages import Delivery
from chat.core.state import Conversation, Hold, Idle, QueuedMessage, Refusal, Refused, Step, Stopping
from chat.core.titles import title_of


def step(state: Conversation | None, event: Event) -> Step | Refused:
    """Apply one event. `state` is None before the first."""
    if isinstance(event, ConversationStarted):
        if state is not None:
            return Refused(code=Refusal.LATE, words="The conversation has already started.")
        return Step(state=Conversation(conversation_id=event.conversation_id, agent=event.agent))
    if state is None:
        return Refused(code=Refusal.GONE, words="There is no such conversation.")
    if isinstance(event, GenerationEvent):
        return runs.generation_event(state, event)
    if isinstance(event, CallEvent):
        return runs.call_event(state, event)
    return _wish(state, event)


def _wish(state: Conversation, event: WishEvent) -> Step | Refused:
    if state.is_deleted and not isinstance(event, ConversationRestored):
        return Refused(code=Refusal.GONE, words="This conversation was deleted.")
    match event:
        case MessageSubmitted():
            return _submit(state, event)
        case StopRequested():
            return _stop(state, event)
        case RetryRequested():
            return _retry(state, event)
        case QueueItemEdited() | QueueItemHeld() | QueueItemMoved() | QueueItemRemoved():
            return _change_item(state, event)
        case QueueCleared():
            if not state.queue:
                return Refused(code=Refusal.NOTHING_QUEUED, words="No message is waiting.")
            return Step(state=runs.with_queue(replace(state, queue=())))
        case QueueResumed():
            if state.held is None:
                return Refused(code=Refusal.NOT_HELD, words="The queue is not held.")
            return runs.advance(Step(state=replace(state, held=None)), at_ms=event.at_ms)
        case ToolApproved() | ToolRejected() | UnknownOutcomeResolved():
            return _decide(state, event)
        case ToolAllowanceRevoked():
            if event.tool not in state.allowed_tools:
                return Refused(code=Refusal.UNCHANGED, words="Each of its calls is asked for already.")
            allowed = tuple(tool for tool in state.allowed_tools if tool != event.tool)
            return Step(state=replace(state, allowed_tools=allowed))
        case ConversationRenamed():
            return Step(state=replace(state, title=event.title, is_title_given=True))
        case ConversationDeleted():
            deleted = replace(state, is_deleted=True)
            return runs.stop(deleted, holds=True, next_id=None, at_ms=event.at_ms)
        case ConversationRestored():
            if not state.is_deleted:
                return Refused(code=Refusal.UNCHANGED, words="This conversation is not deleted.")
            return Step(state=replace(state, is_deleted=False))
        case _:
            assert_never(event)


def _submit(state: Conversation, event: MessageSubmitted) -> Step | Refused:
    if not state.title and not state.is_title_given:
        state = replace(state, title=title_of(event.content))
    item = QueuedMessage(
        message_id=event.message_id,
        content=event.content,
        delivery=event.delivery,
        is_edited=False,
        submitted_at_ms=event.at_ms,
        attachments=event.attachments,
    )
    phase = state.phase
    if isinstance(phase, Idle):
        # A held queue stays held: the new message goes first, the others wait for Resume.
        first = Step(state=replace(state, queue=(item, *state.queue)))
        return runs.send(first, item, at_ms=event.at_ms)
    if len(state.queue) >= event.queue_limit:
        return Refused(
            code=Refusal.QUEUE_FULL,
            words=f"{len(state.queue)} messages are waiting already. Wait for an answer or remove one.",
        )
    if isinstance(phase, Stopping) and phase.holds and phase.next_id is None:
        # Sent after Stop and before the run has ended: as good as sent after it.
        first_item = replace(item, delivery=Delivery.INTERRUPT)
        goes_next = replace(phase, next_id=event.message_id)
        return Step(state=replace(state, queue=(first_item, *state.queue), phase=goes_next))
    match event.delivery:
        case Delivery.QUEUE:
            return Step(state=replace(state, queue=(*state.queue, item)))
        case Delivery.STEER:
            ahead = sum(1 for other in state.queue if other.delivery is not Delivery.QUEUE)
            return Step(state=replace(state, queue=_inserted(state.queue, ahead, item)))
        case Delivery.INTERRUPT:
            holds = isinstance(phase, Stopping) and phase.holds
            queued = replace(state, queue=(item, *state.queue))
            return runs.stop(queued, holds=holds, next_id=event.message_id, at_ms=event.at_ms)
        case _:
            assert_never(event.delivery)


def _stop(state: Conversation, event: StopRequested) -> Step | Refused:
    run = state.run
    if run is None or event.run_id not in (None, run.run_id):
        return Refused(code=Refusal.NOTHING_TO_STOP, words="Nothing is running.")
    if isinstance(state.phase, Stopping) and state.phase.holds and state.phase.next_id is None:
        return Refused(code=Refusal.NOTHING_TO_STOP, words="It is already being stopped.")
    return runs.stop(state, holds=True, next_id=None, at_ms=event.at_ms)


def _retry(state: Conversation, event: RetryRequested) -> Step | Refused:
    if not isinstance(state.phase, Idle):
        return Refused(code=Refusal.BUSY, words="An answer is on its way.")
    if state.retryable is None:
        return Refused(code=Refusal.NOTHING_TO_RETRY, words="The last answer is complete.")
    # What failed is tried anew, so the queue that waited for that goes on; after Stop it waits for Resume.
    held = None if state.held is Hold.FAILED else state.held
    return runs.start(Step(state=replace(state, held=held)), state.retryable, at_ms=event.at_ms)


def _decide(state: Conversation, event: ToolApproved | ToolRejected | UnknownOutcomeResolved) -> Step | Refused:
    call = next((call for call in state.calls if call.call_id == event.call_id), None)
    if call is None:
        return Refused(code=Refusal.NOT_FOUND, words="No such tool call waits for a decision.")
    is_asked = CallState.UNKNOWN if isinstance(event, UnknownOutcomeResolved) else CallState.PROPOSED
    if isinstance(state.phase, Stopping) or not call.waits_for_person or call.state is not is_asked:
        return Refused(code=Refusal.ALREADY_DECIDED, words="That call was decided already.")
    lets_run = isinstance(event, ToolApproved) or (
        isinstance(event, UnknownOutcomeResolved) and event.choice is Choice.RUN_AGAIN
    )
    if lets_run and call.needs_staff and not event.is_staff_decision:
        return Refused(code=Refusal.NEEDS_STAFF, words="Only a member of staff can let this call run.")
    match event:
        case ToolApproved():
            return _approve(state, call, event)
        case ToolRejected():
            who = "A member of staff" if event.is_staff_decision else "The user"
            words = f"{who} rejected this call. Their reason: {event.reason}" if event.reason else ""
            rejected = replace(
                _decided(call, event, reason=event.reason),
                state=CallState.REJECTED,
                is_settled=True,
                result=words or f"{who} rejected this call and gave no reason.",
                ended_at_ms=event.at_ms,
            )
            return runs.with_call(Step(state=state), rejected, at_ms=event.at_ms)
        case UnknownOutcomeResolved():
            if event.choice is Choice.RUN_AGAIN:
                again = replace(_decided(call, event), output="", result="", started_at_ms=None, ended_at_ms=None)
                return runs.run_call(Step(state=state), again, at_ms=event.at_ms)
            return runs.with_call(Step(state=state), replace(call, is_settled=True), at_ms=event.at_ms)
        case _:
            assert_never(event)


def _approve(state: Conversation, call: ToolCall, event: ToolApproved) -> Step | Refused:
    if event.digest != call.digest:
        words = "The digest is not that of the arguments that are shown. Look again before you approve."
        return Refused(code=Refusal.WRONG_DIGEST, words=words)
    if event.scope is Scope.CONVERSATION and call.needs_staff:
        return Refused(code=Refusal.NEEDS_STAFF, words="Each call of this tool is decided by a member of staff.")
    if event.scope is Scope.CONVERSATION and call.tool not in state.allowed_tools:
        state = replace(state, allowed_tools=(*state.allowed_tools, call.tool))
    call = _decided(call, event, scope=event.scope)
    if event.arguments is not None:
        call = replace(call, arguments=event.arguments)
    return runs.run_call(Step(state=state), call, at_ms=event.at_ms)


def _decided(
    call: ToolCall,
    event: ToolApproved | ToolRejected | UnknownOutcomeResolved,
    *,
    scope: Scope = Scope.ONCE,
    reason: str = "",
) -> ToolCall:
    decision = Decision(
        user_id=event.user_id, scope=scope, reason=reason, at_ms=event.at_ms, is_staff=event.is_staff_decision
    )
    return replace(call, decision=decision)


def _change_item(
    state: Conversation, event: QueueItemEdited | QueueItemHeld | QueueItemMoved | QueueItemRemoved
) -> Step | Refused:
    at = next((n for n, item in enumerate(state.queue) if item.message_id == event.message_id), None)
    if at is None:
        return Refused(code=Refusal.NOT_QUEUED, words="That message is not waiting any more.")
    item = state.queue[at]
    others = state.queue[:at] + state.queue[at + 1 :]
    match event:
        case QueueItemEdited():
            queue = _inserted(others, at, replace(item, content=event.content, is_edited=False))
        case QueueItemHeld():
            if item.is_edited == event.is_held:
                return Refused(code=Refusal.UNCHANGED, words="It is so already.")
            queue = _inserted(others, at, replace(item, is_edited=event.is_held))
        case QueueItemMoved():
            queue = _inserted(others, min(event.position, len(others)), item)
        case QueueItemRemoved():
            queue = others
        case _:
            assert_never(event)
    return runs.advance(Step(state=runs.with_queue(replace(state, queue=queue))), at_ms=event.at_ms)


def _inserted(queue: tuple[QueuedMessage, ...], at: int, item: QueuedMessage) -> tuple[QueuedMessage, ...]:
    return (*queue[:at], item, *queue[at:])
