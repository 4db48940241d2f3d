"""Bugs planted in the reducer: the hostile world must find each, else it is not hostile enough.

A bug is the real step with one thing wrong, which depends on nothing but the state and the event.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis.stateful import run_state_machine_as_test

from chat.core.effects import CancelRun, StartGeneration
from chat.core.events import (
    ConversationDeleted,
    Event,
    GenerationCompleted,
    GenerationEvent,
    GenerationFailed,
    GenerationLost,
    MessageSubmitted,
    QueueCleared,
    QueueItemEdited,
    QueueResumed,
    RetryRequested,
    StopRequested,
    TerminalEvent,
)
from chat.core.messages import Delivery, MessageState
from chat.core.reducer import step
from chat.core.state import Conversation, Generating, Hold, Idle, Refusal, Refused, Step, Stopping
from tests.core.folding import StepFunction
from tests.core.hostile import HostileWorld, hostile_settings
from tests.core.world import PromiseBrokenError

RUNS = 2_000


def forgets_the_fence_by_run_id(state: Conversation | None, event: Event) -> Step | Refused:
    if state and state.run and isinstance(event, GenerationEvent):
        event = replace(event, run_id=state.run.run_id)
    return step(state, event)


def ignores_the_generation_number(state: Conversation | None, event: Event) -> Step | Refused:
    if state and state.run and isinstance(event, GenerationEvent):
        event = replace(event, generation_no=state.run.generation_no)
    return step(state, event)


def lets_stop_end_a_run_that_was_not_meant(state: Conversation | None, event: Event) -> Step | Refused:
    return step(state, replace(event, run_id=None) if isinstance(event, StopRequested) else event)


def lets_the_queue_go_on_after_stop(state: Conversation | None, event: Event) -> Step | Refused:
    result = step(state, event)
    if isinstance(event, TerminalEvent) and isinstance(result, Step) and result.state.held is Hold.STOPPED:
        return _then_resumed(result, event)
    return result


def lets_the_queue_go_on_after_a_failure(state: Conversation | None, event: Event) -> Step | Refused:
    result = step(state, event)
    if isinstance(event, GenerationFailed) and isinstance(result, Step) and result.state.held is Hold.FAILED:
        return _then_resumed(result, event)
    return result


def _then_resumed(first: Step, event: TerminalEvent) -> Step | Refused:
    second = step(first.state, QueueResumed(at_ms=event.at_ms))
    assert isinstance(second, Step)
    return replace(second, messages=first.messages + second.messages, effects=first.effects + second.effects)


def releases_the_held_queue_with_a_new_message(state: Conversation | None, event: Event) -> Step | Refused:
    result = step(state, event)
    if isinstance(event, MessageSubmitted) and isinstance(result, Step) and state and isinstance(state.phase, Idle):
        return replace(result, state=replace(result.state, held=None))
    return result


def lets_retry_release_what_stop_held(state: Conversation | None, event: Event) -> Step | Refused:
    result = step(state, event)
    if isinstance(event, RetryRequested) and isinstance(result, Step):
        return replace(result, state=replace(result.state, held=None))
    return result


def drops_the_queue_on_interrupt(state: Conversation | None, event: Event) -> Step | Refused:
    result = step(state, event)
    if isinstance(event, MessageSubmitted) and isinstance(result, Step) and event.delivery is Delivery.INTERRUPT:
        return replace(result, state=replace(result.state, queue=result.state.queue[:1]))
    return result


def loses_the_queue_on_a_failure(state: Conversation | None, event: Event) -> Step | Refused:
    result = step(state, event)
    if isinstance(event, GenerationFailed) and isinstance(result, Step) and isinstance(result.state.phase, Idle):
        return replace(result, state=replace(result.state, queue=(), held=None))
    return result


def starts_a_second_run_beside_the_first(state: Conversation | None, event: Event) -> Step | Refused:
    if state and isinstance(state.phase, Generating) and isinstance(event, MessageSubmitted):
        return step(replace(state, phase=Idle()), event)
    return step(state, event)


def sends_a_message_that_is_being_edited(state: Conversation | None, event: Event) -> Step | Refused:
    if state and isinstance(event, TerminalEvent):
        state = replace(state, queue=tuple(replace(item, is_edited=False) for item in state.queue))
    return step(state, event)


def completes_and_stays_busy(state: Conversation | None, event: Event) -> Step | Refused:
    result = step(state, event)
    if state and isinstance(event, GenerationCompleted) and isinstance(result, Step) and not result.effects:
        return replace(result, state=replace(result.state, phase=state.phase, outcome=None, retryable=None))
    return result


def brings_a_stopped_run_back_to_life(state: Conversation | None, event: Event) -> Step | Refused:
    if state and isinstance(state.phase, Stopping) and isinstance(event, GenerationLost):
        return step(replace(state, phase=Generating(run=state.phase.run)), event)
    return step(state, event)


def does_not_cancel_on_interrupt(state: Conversation | None, event: Event) -> Step | Refused:
    result = step(state, event)
    if isinstance(event, MessageSubmitted) and isinstance(result, Step):
        return replace(result, effects=tuple(one for one in result.effects if not isinstance(one, CancelRun)))
    return result


def merges_two_waiting_messages(state: Conversation | None, event: Event) -> Step | Refused:
    result = step(state, event)
    if isinstance(event, MessageSubmitted) and isinstance(result, Step) and len(result.state.queue) > 1:
        *others, first, second = result.state.queue
        merged = replace(first, content=f"{first.content}\n\n{second.content}")
        return replace(result, state=replace(result.state, queue=(*others, merged)))
    return result


def glues_a_waiting_message_to_the_one_that_goes(state: Conversation | None, event: Event) -> Step | Refused:
    if state and len(state.queue) > 1 and isinstance(event, GenerationCompleted):
        first, *others = state.queue
        glued = replace(first, content=f"{first.content}\n\n{others[0].content}")
        state = replace(state, queue=(glued, *others))
    return step(state, event)


def sends_a_message_and_keeps_it_waiting(state: Conversation | None, event: Event) -> Step | Refused:
    result = step(state, event)
    if state and state.queue and isinstance(event, GenerationCompleted) and isinstance(result, Step) and result.effects:
        return replace(result, state=replace(result.state, queue=state.queue))
    return result


def sends_the_last_one_first(state: Conversation | None, event: Event) -> Step | Refused:
    if state and state.run and isinstance(event, GenerationCompleted) and state.run.run_id == event.run_id:
        state = replace(state, queue=state.queue[::-1])
    return step(state, event)


def forgets_an_edit(state: Conversation | None, event: Event) -> Step | Refused:
    if state and isinstance(event, QueueItemEdited):
        old = next((item.content for item in state.queue if item.message_id == event.message_id), "")
        event = replace(event, content=old)
    return step(state, event)


def forgets_what_to_retry_after_stop(state: Conversation | None, event: Event) -> Step | Refused:
    result = step(state, event)
    if isinstance(result, Step) and result.state.outcome is MessageState.INTERRUPTED:
        return replace(result, state=replace(result.state, retryable=None))
    return result


def offers_to_retry_a_complete_answer(state: Conversation | None, event: Event) -> Step | Refused:
    result = step(state, event)
    if state and state.run and isinstance(result, Step) and result.state.outcome is MessageState.COMPLETE:
        return replace(result, state=replace(result.state, retryable=state.run.answering))
    return result


def clears_all_but_the_last(state: Conversation | None, event: Event) -> Step | Refused:
    result = step(state, event)
    if state and isinstance(event, QueueCleared) and isinstance(result, Step):
        return replace(result, state=replace(result.state, queue=state.queue[-1:], held=state.held))
    return result


def goes_on_after_deletion(state: Conversation | None, event: Event) -> Step | Refused:
    if state and isinstance(event, ConversationDeleted) and not state.is_deleted:
        return Step(state=replace(state, is_deleted=True))
    return step(state, event)


def asks_again_under_the_same_number(state: Conversation | None, event: Event) -> Step | Refused:
    result = step(state, event)
    if state and state.run and isinstance(event, GenerationLost) and isinstance(result, Step):
        same = tuple(
            replace(one, generation_no=event.generation_no) if isinstance(one, StartGeneration) else one
            for one in result.effects
        )
        phase = result.state.phase
        if isinstance(phase, Generating) and phase.run.run_id == event.run_id:
            return replace(result, effects=same, state=replace(result.state, phase=Generating(run=state.run)))
    return result


def waits_for_ever_for_a_lost_performer(state: Conversation | None, event: Event) -> Step | Refused:
    if state and isinstance(state.phase, Generating) and isinstance(event, GenerationLost):
        return Refused(code=Refusal.LATE, words="It may come back.")
    return step(state, event)


def refuses_stop_while_it_interrupts(state: Conversation | None, event: Event) -> Step | Refused:
    if state and isinstance(state.phase, Stopping) and isinstance(event, StopRequested):
        return Refused(code=Refusal.NOTHING_TO_STOP, words="It is already being stopped.")
    return step(state, event)


def forgets_stop_while_it_interrupts(state: Conversation | None, event: Event) -> Step | Refused:
    if state and isinstance(state.phase, Stopping) and isinstance(event, StopRequested):
        return Step(state=state)
    return step(state, event)


def reuses_the_id_of_a_run(state: Conversation | None, event: Event) -> Step | Refused:
    if state and isinstance(state.phase, Idle) and state.run_count and isinstance(event, RetryRequested):
        state = replace(state, run_count=state.run_count - 1)
    return step(state, event)


def never_lets_a_held_queue_go_on(state: Conversation | None, event: Event) -> Step | Refused:
    if isinstance(event, QueueResumed):
        return Refused(code=Refusal.NOT_HELD, words="The queue is not held.")
    return step(state, event)


def takes_a_failure_for_the_reason_why_stop_holds(state: Conversation | None, event: Event) -> Step | Refused:
    result = step(state, event)
    if isinstance(event, GenerationFailed) and isinstance(result, Step) and result.state.held is Hold.STOPPED:
        return replace(result, state=replace(result.state, held=Hold.FAILED))
    return result


def lets_held_messages_join_a_run_that_is_over(state: Conversation | None, event: Event) -> Step | Refused:
    result = step(state, event)
    if state and isinstance(result, Step) and result.state.held and not isinstance(event, GenerationFailed):
        wanted = {item.message_id: item.delivery for item in state.queue}
        queue = tuple(replace(item, delivery=wanted.get(item.message_id, item.delivery)) for item in result.state.queue)
        return replace(result, state=replace(result.state, queue=queue))
    return result


def forgets_the_agent_when_a_run_fails(state: Conversation | None, event: Event) -> Step | Refused:
    result = step(state, event)
    if isinstance(event, GenerationFailed) and isinstance(result, Step):
        return replace(result, state=replace(result.state, agent=None))
    return result


BUGS: tuple[StepFunction, ...] = (
    forgets_the_fence_by_run_id,
    ignores_the_generation_number,
    lets_stop_end_a_run_that_was_not_meant,
    lets_the_queue_go_on_after_stop,
    lets_the_queue_go_on_after_a_failure,
    releases_the_held_queue_with_a_new_message,
    lets_retry_release_what_stop_held,
    drops_the_queue_on_interrupt,
    loses_the_queue_on_a_failure,
    starts_a_second_run_beside_the_first,
    sends_a_message_that_is_being_edited,
    completes_and_stays_busy,
    brings_a_stopped_run_back_to_life,
    does_not_cancel_on_interrupt,
    merges_two_waiting_messages,
    glues_a_waiting_message_to_the_one_that_goes,
    sends_a_message_and_keeps_it_waiting,
    sends_the_last_one_first,
    forgets_an_edit,
    forgets_what_to_retry_after_stop,
    offers_to_retry_a_complete_answer,
    clears_all_but_the_last,
    goes_on_after_deletion,
    asks_again_under_the_same_number,
    waits_for_ever_for_a_lost_performer,
    refuses_stop_while_it_interrupts,
    forgets_stop_while_it_interrupts,
    reuses_the_id_of_a_run,
    never_lets_a_held_queue_go_on,
    takes_a_failure_for_the_reason_why_stop_holds,
    lets_held_messages_join_a_run_that_is_over,
    forgets_the_agent_when_a_run_fails,
)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_the_hostile_world_finds_a_reducer_that(bug: StepFunction) -> None:
    # One class a bug: hypothesis keeps what it learned about a machine with its class.
    planted = type("PlantedWorld", (HostileWorld,), {"step": staticmethod(bug)})
    with pytest.raises(PromiseBrokenError):
        run_state_machine_as_test(planted, settings=hostile_settings(runs=RUNS, shrinks=False))
