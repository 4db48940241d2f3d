"""The life of a run: how it starts, asks the model, calls tools, and ends.

Every transition that the world's events cause, and the parts that the wishes in `chat.core.reducer` share with them.
Each function takes a step as far as it has come and returns it with more done, so that one event can end a run and
start the next.
"""

from __future__ import annotations

from dataclasses import replace
from typing import assert_never

from chat.core import ids
from chat.core.calls import UNDER_WAY, CallState, ToolCall
from chat.core.effects import CancelRun, RunTool, StartGeneration
from chat.core.events import (
    CallEvent,
    GenerationCompleted,
    GenerationDelayed,
    GenerationEnd,
    GenerationEvent,
    GenerationFailed,
    GenerationInterrupted,
    GenerationLost,
    GenerationStarted,
    ToolEnded,
    ToolLost,
    ToolStarted,
)
from chat.core.messages import Delivery, Failure, Message, MessageState, Role
from chat.core.orders import NO_RESULT, STOPPED_RESULT, UNKNOWN_RESULT, closed, new_call, order_of, ordered
from chat.core.state import (
    Acting,
    AwaitingApproval,
    Conversation,
    Delay,
    Generating,
    Hold,
    Idle,
    QueuedMessage,
    Refusal,
    Refused,
    Run,
    RunningTools,
    Step,
    Stopping,
)

LOST = Failure(
    fault="lost",
    words="The server was interrupted again and again while it answered. Press Retry to ask once more.",
)


def generation_event(state: Conversation, event: GenerationEvent) -> Step | Refused:
    """What comes of an order to the model."""
    phase = state.phase
    if (
        not isinstance(phase, Generating | Stopping)
        or event.run_id != phase.run.run_id
        or event.generation_no != phase.run.generation_no
        or not state.is_asking_model
    ):
        return Refused(code=Refusal.LATE, words="That run is over.")
    match event:
        case GenerationStarted():
            if isinstance(phase, Stopping):
                return Refused(code=Refusal.LATE, words="That run is being stopped.")
            return Step(state=replace(state, phase=replace(phase, delay=None)), messages=(phase.run.answer,))
        case GenerationDelayed():
            if isinstance(phase, Stopping):
                return Refused(code=Refusal.LATE, words="That run is being stopped.")
            delay = Delay(attempt=event.attempt, failure=event.failure, until_ms=event.until_ms)
            return Step(state=replace(state, phase=replace(phase, delay=delay)))
        case GenerationLost() if isinstance(phase, Generating) and event.can_ask_again:
            return _ask_again(state, phase.run)
        case GenerationCompleted() | GenerationInterrupted() | GenerationFailed() | GenerationLost():
            return _end_generation(state, phase, event)
        case _:
            assert_never(event)


def call_event(state: Conversation, event: CallEvent) -> Step | Refused:
    """What comes of an order to a tool."""
    phase = state.phase
    call = next((call for call in state.calls if call.call_id == event.call_id), None)
    if (
        not isinstance(phase, Acting | Stopping)
        or event.run_id != phase.run.run_id
        or call is None
        or event.execution_no != call.execution_no
        or call.state not in UNDER_WAY
    ):
        return Refused(code=Refusal.LATE, words="That call is over.")
    match event:
        case ToolStarted():
            if isinstance(phase, Stopping) or call.state is not CallState.APPROVED:
                return Refused(code=Refusal.LATE, words="That call is claimed already, or is being stopped.")
            call = replace(call, state=CallState.RUNNING, started_at_ms=event.at_ms)
        case ToolEnded() if call.state is CallState.RUNNING and not event.is_claimed:
            return Refused(code=Refusal.LATE, words="That call is run by somebody else.")
        case ToolEnded():
            call = replace(
                call,
                state=CallState(event.outcome),
                is_settled=True,
                output=event.output,
                result=event.result or NO_RESULT,
                artifacts=event.artifacts,
                ended_at_ms=event.at_ms,
            )
        case ToolLost() if not isinstance(phase, Stopping) and (
            call.state is CallState.APPROVED or event.can_run_again
        ):
            # Nobody had claimed it, or doing it twice does no harm: the order is given anew, and the old one is void.
            return run_call(Step(state=state), replace(call, started_at_ms=None), at_ms=event.at_ms)
        case ToolLost() if call.state is CallState.APPROVED:
            call = closed(call, CallState.STOPPED, STOPPED_RESULT, at_ms=event.at_ms)
        case ToolLost():
            call = replace(
                call,
                state=CallState.UNKNOWN,
                is_settled=isinstance(phase, Stopping),
                output=event.output,
                result=UNKNOWN_RESULT,
                ended_at_ms=event.at_ms,
            )
        case _:
            assert_never(event)
    return with_call(Step(state=state), call, at_ms=event.at_ms)


def with_call(step: Step, call: ToolCall, *, at_ms: int) -> Step:
    """One of the open calls has changed: go on from there."""
    phase = step.state.phase
    assert isinstance(phase, Acting | Stopping)  # noqa: S101 - only those have calls
    # What a call printed and brought is kept in its row; the snapshot stays small.
    kept = replace(call, output="", result="", artifacts=()) if call.is_settled else call
    calls = tuple(kept if other.call_id == call.call_id else other for other in phase.calls)
    step = _more(step, state=replace(step.state, phase=replace(phase, calls=calls)), calls=(call,))
    return _act(step, at_ms=at_ms)


def _act(step: Step, *, at_ms: int) -> Step:
    """Wait for a person, for tools, or ask the model with the results of all calls."""
    phase = step.state.phase
    assert isinstance(phase, Acting | Stopping)  # noqa: S101 - only those have calls
    is_under_way = any(call.state in UNDER_WAY for call in phase.calls)
    if isinstance(phase, Stopping):
        return step if is_under_way else _end_run(step, MessageState.INTERRUPTED, at_ms=at_ms)
    if any(call.waits_for_person for call in phase.calls):
        return _more(step, state=replace(step.state, phase=AwaitingApproval(run=phase.run, calls=phase.calls)))
    if is_under_way:
        return _more(step, state=replace(step.state, phase=RunningTools(run=phase.run, calls=phase.calls)))
    return _go_on(step, phase.run, at_ms=at_ms)


def _go_on(step: Step, run: Run, *, at_ms: int) -> Step:
    """The next order to the model in the same run; messages that wanted to join come first."""
    state = step.state
    while state.queue and state.queue[0].delivery is Delivery.STEER and not state.queue[0].is_edited:
        message = _sent(state, state.queue[0])
        state = with_queue(replace(state, queue=state.queue[1:], message_count=message.position))
        step = _more(step, state=state, messages=(message,))
    answer = _new_answer(state, run_id=run.run_id, answer_no=run.answer_no + 1, answering=run.answering, at_ms=at_ms)
    run = replace(run, generation_no=run.generation_no + 1, answer_no=run.answer_no + 1, answer=answer)
    return _ask(_more(step, state=replace(state, message_count=answer.position), messages=(answer,)), run)


def _ask(step: Step, run: Run) -> Step:
    order = StartGeneration(run_id=run.run_id, generation_no=run.generation_no, message_id=run.answer.message_id)
    return _more(step, state=replace(step.state, phase=Generating(run=run)), effects=(order,))


def _ask_again(state: Conversation, run: Run) -> Step:
    """Whoever performed the order died: the same answer is asked for again, from its beginning."""
    run = replace(run, generation_no=run.generation_no + 1)
    return _ask(Step(state=state, messages=(run.answer,)), run)


def _end_generation(state: Conversation, phase: Generating | Stopping, event: GenerationEnd) -> Step:
    answer = _ended_answer(phase, event)
    run = replace(phase.run, answer=replace(answer, content="", reasoning=""))
    step = Step(state=replace(state, phase=replace(phase, run=run)), messages=(answer,))
    proposals = event.calls if isinstance(event, GenerationCompleted) else ()
    if not proposals:
        return _end_run(step, answer.state, at_ms=event.at_ms)
    calls = tuple(
        new_call(proposal, answer, number, allowed=state.allowed_tools, at_ms=event.at_ms)
        for number, proposal in enumerate(proposals, start=1)
    )
    if isinstance(phase, Stopping):
        calls = tuple(
            call
            if call.is_settled
            else closed(replace(call, execution_no=0), CallState.STOPPED, STOPPED_RESULT, at_ms=event.at_ms)
            for call in calls
        )
        return _end_run(_more(step, calls=calls), MessageState.INTERRUPTED, at_ms=event.at_ms)
    step = _more(
        step,
        state=replace(step.state, phase=AwaitingApproval(run=run, calls=calls)),
        calls=calls,
        effects=tuple(order_of(call) for call in calls if call.state is CallState.APPROVED),
    )
    return _act(step, at_ms=event.at_ms)


def run_call(step: Step, call: ToolCall, *, at_ms: int) -> Step:
    """Give the order to run a call."""
    call = ordered(call)
    return with_call(_more(step, effects=(order_of(call),)), call, at_ms=at_ms)


def stop(state: Conversation, *, holds: bool, next_id: ids.MessageId | None, at_ms: int) -> Step:
    """Cancel the active run. A call that waits for a person is closed at once, one under way when it has ended."""
    phase = state.phase
    match phase:
        case Idle():
            return Step(state=state)
        case Stopping():
            return Step(state=replace(state, phase=replace(phase, holds=holds, next_id=next_id)))
        case Generating():
            stopping = Stopping(run=phase.run, holds=holds, next_id=next_id)
            return Step(state=replace(state, phase=stopping), effects=(CancelRun(run_id=phase.run.run_id),))
        case AwaitingApproval() | RunningTools():
            decided = tuple(
                replace(call, is_settled=True)
                if call.state is CallState.UNKNOWN
                else closed(call, CallState.STOPPED, STOPPED_RESULT, at_ms=at_ms)
                for call in phase.calls
                if call.waits_for_person
            )
            by_id = {call.call_id: call for call in decided}
            calls = tuple(by_id.get(call.call_id, call) for call in phase.calls)
            stopping = Stopping(run=phase.run, holds=holds, next_id=next_id, calls=calls)
            is_under_way = any(call.state in UNDER_WAY for call in calls)
            effects = (CancelRun(run_id=phase.run.run_id),) if is_under_way else ()
            step = Step(state=replace(state, phase=stopping), calls=decided, effects=effects)
            return _act(step, at_ms=at_ms)
        case _:
            assert_never(phase)


def _end_run(step: Step, outcome: MessageState, *, at_ms: int) -> Step:
    """Nothing of the run is under way any more: what goes next?"""
    state, phase = step.state, step.state.phase
    assert not isinstance(phase, Idle)  # noqa: S101 - there is a run to end
    state = replace(
        state,
        phase=Idle(),
        outcome=outcome,
        retryable=None if outcome is MessageState.COMPLETE else phase.run.answering,
    )
    if isinstance(phase, Stopping):
        queue = as_plain_queue(state.queue) if phase.holds else state.queue
        state = with_queue(replace(state, queue=queue, held=Hold.STOPPED if phase.holds else state.held))
        chosen = next((item for item in state.queue if item.message_id == phase.next_id), None)
        if chosen is not None and not chosen.is_edited:
            return send(_more(step, state=state), chosen, at_ms=at_ms)
        return advance(_more(step, state=state), at_ms=at_ms)
    if outcome is MessageState.COMPLETE:
        return advance(_more(step, state=state), at_ms=at_ms)
    # What Stop held back waits for Resume, also when a newer answer has failed since: Retry lets go only the latter.
    is_held_by_stop = outcome is MessageState.INTERRUPTED or state.held is Hold.STOPPED
    hold = Hold.STOPPED if is_held_by_stop else Hold.FAILED
    return _more(step, state=with_queue(replace(state, queue=as_plain_queue(state.queue), held=hold)))


def _ended_answer(phase: Generating | Stopping, event: GenerationEnd) -> Message:
    is_stopping = isinstance(phase, Stopping)
    answer = replace(phase.run.answer, content=event.text, ended_at_ms=event.at_ms)
    if isinstance(event, GenerationLost):
        if is_stopping:
            return replace(answer, state=MessageState.INTERRUPTED)
        return replace(answer, state=MessageState.FAILED, failure=LOST)
    answer = replace(answer, reasoning=event.reasoning, telemetry=event.telemetry)
    match event:
        case GenerationCompleted():
            return replace(answer, state=MessageState.COMPLETE)
        case GenerationFailed() if not is_stopping:
            return replace(answer, state=MessageState.FAILED, failure=event.failure)
        case GenerationInterrupted() | GenerationFailed():
            # A fault that comes while the run is being stopped is no news: the person wanted it to end.
            return replace(answer, state=MessageState.INTERRUPTED)
        case _:
            assert_never(event)


def advance(step: Step, *, at_ms: int) -> Step:
    """When nothing runs and the queue may go, its first message goes."""
    state = step.state
    if not isinstance(state.phase, Idle) or not state.queue or state.is_deleted:
        return step
    first = state.queue[0]
    waits_for_resume = state.held is not None and first.delivery is Delivery.QUEUE
    if not first.is_edited and not waits_for_resume:
        return send(step, first, at_ms=at_ms)
    # What wanted to join or end the run that is over is held like the others now.
    return step if state.held is None else _more(step, state=replace(state, queue=as_plain_queue(state.queue)))


def send(step: Step, item: QueuedMessage, *, at_ms: int) -> Step:
    """Take a message from the queue into the transcript and start its run, in one step."""
    state = step.state
    message = _sent(state, item)
    queue = tuple(other for other in state.queue if other.message_id != item.message_id)
    state = with_queue(replace(state, queue=queue, message_count=message.position))
    return start(_more(step, state=state, messages=(message,)), item.message_id, at_ms=at_ms)


def start(step: Step, answering: ids.MessageId, *, at_ms: int) -> Step:
    """Start a run that answers a message of the transcript."""
    state = step.state
    run_id = ids.run_id(state.conversation_id, state.run_count + 1)
    answer = _new_answer(state, run_id=run_id, answer_no=1, answering=answering, at_ms=at_ms)
    state = replace(
        state,
        outcome=None,
        retryable=None,
        run_count=state.run_count + 1,
        message_count=answer.position,
    )
    run = Run(run_id=run_id, answering=answering, generation_no=1, answer=answer)
    return _ask(_more(step, state=state, messages=(answer,)), run)


def _sent(state: Conversation, item: QueuedMessage) -> Message:
    return Message(
        message_id=item.message_id,
        position=state.message_count + 1,
        role=Role.USER,
        state=MessageState.COMPLETE,
        content=item.content,
        created_at_ms=item.submitted_at_ms,
        ended_at_ms=item.submitted_at_ms,
        attachments=item.attachments,
    )


def _new_answer(
    state: Conversation, *, run_id: ids.RunId, answer_no: int, answering: ids.MessageId, at_ms: int
) -> Message:
    return Message(
        message_id=ids.answer_id(run_id, answer_no),
        position=state.message_count + 1,
        role=Role.ASSISTANT,
        state=MessageState.STREAMING,
        content="",
        created_at_ms=at_ms,
        ended_at_ms=None,
        run_id=run_id,
        answering=answering,
    )


def as_plain_queue(queue: tuple[QueuedMessage, ...]) -> tuple[QueuedMessage, ...]:
    """The run that messages wanted to join or end is over: they are ordinary ones now."""
    return tuple(replace(item, delivery=Delivery.QUEUE) for item in queue)


def with_queue(state: Conversation) -> Conversation:
    """An empty queue is not held."""
    return state if state.queue else replace(state, held=None)


def _more(
    step: Step,
    *,
    state: Conversation | None = None,
    effects: tuple[StartGeneration | RunTool | CancelRun, ...] = (),
    messages: tuple[Message, ...] = (),
    calls: tuple[ToolCall, ...] = (),
) -> Step:
    return Step(
        state=step.state if state is None else state,
        effects=step.effects + effects,
        messages=step.messages + messages,
        calls=step.calls + calls,
    )
