"""Bugs about tool calls planted in the reducer and in the prompt: the hostile world must find each.

A bug is the real step with one thing wrong, which depends on nothing but the state and the event.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pytest
from hypothesis.stateful import run_state_machine_as_test

from chat.core import prompt
from chat.core.calls import CallState, Choice, Policy, Scope, ToolCall
from chat.core.effects import CancelRun, RunTool, StartGeneration
from chat.core.events import (
    Event,
    GenerationCompleted,
    StopRequested,
    ToolAllowanceRevoked,
    ToolApproved,
    ToolEnded,
    ToolLost,
    ToolRejected,
    ToolStarted,
    UnknownOutcomeResolved,
)
from chat.core.ids import CallId, MessageId
from chat.core.messages import Delivery, Message, MessageState
from chat.core.reducer import step
from chat.core.state import (
    Acting,
    AwaitingApproval,
    Conversation,
    Generating,
    Idle,
    Refused,
    RunningTools,
    Step,
    Stopping,
)
from tests.core.folding import StepFunction
from tests.core.hostile import HostileWorld, hostile_settings
from tests.core.turns import BuildFunction
from tests.core.world import PromiseBrokenError

RUNS = 2_000


def _with_calls(state: Conversation, change: Callable[[ToolCall], ToolCall]) -> Conversation:
    phase = state.phase
    if isinstance(phase, Acting | Stopping):
        return replace(state, phase=replace(phase, calls=tuple(map(change, phase.calls))))
    return state


def _with_call(state: Conversation, call_id: CallId, /, **changes: object) -> Conversation:
    return _with_calls(state, lambda call: replace(call, **changes) if call.call_id == call_id else call)  # type: ignore[arg-type]


def _call(state: Conversation, call_id: CallId) -> ToolCall | None:
    return next((call for call in state.calls if call.call_id == call_id), None)


def takes_a_yes_with_any_digest(state: Conversation | None, event: Event) -> Step | Refused:
    if state and isinstance(event, ToolApproved) and (call := _call(state, event.call_id)):
        event = replace(event, digest=call.digest)
    return step(state, event)


def takes_a_claim_twice(state: Conversation | None, event: Event) -> Step | Refused:
    if state and isinstance(event, ToolStarted):
        call = _call(state, event.call_id)
        if call and call.state is CallState.RUNNING and call.execution_no == event.execution_no:
            state = _with_call(state, event.call_id, state=CallState.APPROVED)
    return step(state, event)


def takes_a_claim_while_it_is_being_stopped(state: Conversation | None, event: Event) -> Step | Refused:
    if state and isinstance(state.phase, Stopping) and isinstance(event, ToolStarted):
        call = _call(state, event.call_id)
        if call and call.state is CallState.APPROVED and call.execution_no == event.execution_no:
            running = replace(call, state=CallState.RUNNING, started_at_ms=event.at_ms)
            return Step(
                state=_with_call(state, call.call_id, state=CallState.RUNNING, started_at_ms=event.at_ms),
                calls=(running,),
            )
    return step(state, event)


def runs_a_call_of_unknown_outcome_again_by_itself(state: Conversation | None, event: Event) -> Step | Refused:
    return step(state, replace(event, can_run_again=True) if isinstance(event, ToolLost) else event)


def takes_a_yes_after_a_no(state: Conversation | None, event: Event) -> Step | Refused:
    if state and isinstance(event, ToolApproved):
        call = _call(state, event.call_id)
        if call and call.state is CallState.REJECTED:
            state = _with_call(state, call.call_id, state=CallState.PROPOSED, is_settled=False)
    return step(state, event)


def leaves_a_proposed_call_open_after_stop(state: Conversation | None, event: Event) -> Step | Refused:
    result = step(state, event)
    if isinstance(event, StopRequested) and isinstance(result, Step):
        return replace(result, calls=())
    return result


def asks_the_model_before_every_call_is_settled(state: Conversation | None, event: Event) -> Step | Refused:
    result = step(state, event)
    if isinstance(event, ToolEnded) and isinstance(result, Step) and isinstance(result.state.phase, AwaitingApproval):
        run = result.state.phase.run
        answer = replace(run.answer, state=MessageState.STREAMING)
        run = replace(run, generation_no=run.generation_no + 1, answer=answer)
        order = StartGeneration(run_id=run.run_id, generation_no=run.generation_no, message_id=run.answer.message_id)
        return replace(result, state=replace(result.state, phase=Generating(run=run)), effects=(*result.effects, order))
    return result


def runs_a_rejected_call(state: Conversation | None, event: Event) -> Step | Refused:
    if state and isinstance(event, ToolRejected) and (call := _call(state, event.call_id)):
        event = ToolApproved(
            call_id=event.call_id,
            digest=call.digest,
            arguments=None,
            scope=Scope.ONCE,
            user_id=event.user_id,
            at_ms=event.at_ms,
        )
    return step(state, event)


def loses_a_message_that_joins(state: Conversation | None, event: Event) -> Step | Refused:
    result = step(state, event)
    if isinstance(event, ToolEnded) and isinstance(result, Step) and len(result.messages) > 1:
        return replace(result, messages=result.messages[1:])
    return result


def leaves_a_message_behind_that_wanted_to_join(state: Conversation | None, event: Event) -> Step | Refused:
    if not state or not isinstance(event, ToolEnded) or isinstance(state.phase, Stopping):
        return step(state, event)
    plain = tuple(replace(item, delivery=Delivery.QUEUE) for item in state.queue)
    result = step(replace(state, queue=plain), event)
    if isinstance(result, Step) and len(result.state.queue) == len(state.queue):
        return replace(result, state=replace(result.state, queue=state.queue))
    return result


def forgets_the_result(state: Conversation | None, event: Event) -> Step | Refused:
    result = step(state, event)
    if isinstance(event, ToolEnded) and isinstance(result, Step):
        return replace(result, calls=tuple(replace(call, result="") for call in result.calls))
    return result


def runs_the_arguments_as_they_were_before_they_were_edited(state: Conversation | None, event: Event) -> Step | Refused:
    return step(state, replace(event, arguments=None) if isinstance(event, ToolApproved) else event)


def does_not_tell_running_tools_to_stop(state: Conversation | None, event: Event) -> Step | Refused:
    result = step(state, event)
    if state and isinstance(state.phase, Acting) and isinstance(result, Step):
        return replace(result, effects=tuple(one for one in result.effects if not isinstance(one, CancelRun)))
    return result


def is_idle_while_a_tool_still_runs(state: Conversation | None, event: Event) -> Step | Refused:
    if state and isinstance(state.phase, RunningTools) and isinstance(event, StopRequested):
        state = _with_calls(state, lambda call: replace(call, state=CallState.STOPPED, is_settled=True, result="x"))
    return step(state, event)


def takes_one_yes_for_ever(state: Conversation | None, event: Event) -> Step | Refused:
    return step(state, replace(event, scope=Scope.CONVERSATION) if isinstance(event, ToolApproved) else event)


def takes_one_yes_for_all_calls(state: Conversation | None, event: Event) -> Step | Refused:
    result = step(state, event)
    if state and isinstance(event, ToolApproved) and isinstance(result, Step):
        for call in result.state.calls:
            if call.state is CallState.PROPOSED:
                more = step(result.state, replace(event, call_id=call.call_id, digest=call.digest))
                assert isinstance(more, Step)
                result = replace(more, effects=result.effects + more.effects, calls=result.calls + more.calls)
    return result


def runs_a_forbidden_tool(state: Conversation | None, event: Event) -> Step | Refused:
    if isinstance(event, GenerationCompleted):
        calls = tuple(
            replace(call, policy=Policy.AUTO) if call.policy is Policy.NEVER else call for call in event.calls
        )
        event = replace(event, calls=calls)
    return step(state, event)


def runs_arguments_that_do_not_fit(state: Conversation | None, event: Event) -> Step | Refused:
    if isinstance(event, GenerationCompleted):
        event = replace(event, calls=tuple(replace(call, problem="", policy=Policy.AUTO) for call in event.calls))
    return step(state, event)


def lets_somebody_end_a_call_that_another_runs(state: Conversation | None, event: Event) -> Step | Refused:
    return step(state, replace(event, is_claimed=True) if isinstance(event, ToolEnded) else event)


def lets_the_owner_decide_what_is_for_staff(state: Conversation | None, event: Event) -> Step | Refused:
    return step(state, replace(event, is_staff_decision=True) if isinstance(event, ToolApproved) else event)


def lets_the_owner_run_again_what_is_for_staff(state: Conversation | None, event: Event) -> Step | Refused:
    return step(state, replace(event, is_staff_decision=True) if isinstance(event, UnknownOutcomeResolved) else event)


def forgets_that_a_call_is_for_staff(state: Conversation | None, event: Event) -> Step | Refused:
    if isinstance(event, GenerationCompleted):
        calls = tuple(replace(call, policy=Policy.ASK) if call.policy is Policy.STAFF else call for call in event.calls)
        event = replace(event, calls=calls)
    return step(state, event)


def lets_one_yes_of_staff_count_for_the_conversation(state: Conversation | None, event: Event) -> Step | Refused:
    result = step(state, event)
    if state and isinstance(event, ToolApproved) and isinstance(result, Step) and event.is_staff_decision:
        call = _call(state, event.call_id)
        if call and call.needs_staff and call.tool not in result.state.allowed_tools:
            allowed = (*result.state.allowed_tools, call.tool)
            return replace(result, state=replace(result.state, allowed_tools=allowed))
    return result


def refuses_the_yes_of_staff(state: Conversation | None, event: Event) -> Step | Refused:
    if state and isinstance(event, ToolApproved) and (call := _call(state, event.call_id)) and call.needs_staff:
        event = replace(event, is_staff_decision=False)
    return step(state, event)


def forgets_to_take_an_allowance_back(state: Conversation | None, event: Event) -> Step | Refused:
    result = step(state, event)
    if state and isinstance(event, ToolAllowanceRevoked) and isinstance(result, Step):
        return Step(state=state)
    return result


def orders_a_lost_call_under_the_same_number(state: Conversation | None, event: Event) -> Step | Refused:
    if state and isinstance(event, ToolLost) and (call := _call(state, event.call_id)):
        result = step(state, event)
        if isinstance(result, Step) and any(isinstance(effect, RunTool) for effect in result.effects):
            same = replace(result.calls[0], execution_no=call.execution_no)
            effects = tuple(
                replace(one, execution_no=call.execution_no) if isinstance(one, RunTool) else one
                for one in result.effects
            )
            changed = _with_call(result.state, call.call_id, execution_no=call.execution_no)
            return replace(result, state=changed, calls=(same,), effects=effects)
        return result
    return step(state, event)


def goes_on_asking_after_a_person_went_on_without_it(state: Conversation | None, event: Event) -> Step | Refused:
    if state and isinstance(event, UnknownOutcomeResolved) and event.choice is Choice.CONTINUE:
        result = step(state, event)
        return Step(state=state) if isinstance(result, Step) else result
    return step(state, event)


def never_hears_of_a_lost_tool(state: Conversation | None, event: Event) -> Step | Refused:
    if state and isinstance(event, ToolLost) and isinstance(state.phase, Acting):
        return step(state, replace(event, execution_no=-1))
    return step(state, event)


def ignores_the_number_of_an_execution(state: Conversation | None, event: Event) -> Step | Refused:
    if state and isinstance(event, ToolStarted | ToolEnded | ToolLost) and (call := _call(state, event.call_id)):
        event = replace(event, execution_no=call.execution_no)
    return step(state, event)


def goes_idle_when_the_tools_have_ended(state: Conversation | None, event: Event) -> Step | Refused:
    result = step(state, event)
    if isinstance(event, ToolEnded) and isinstance(result, Step) and isinstance(result.state.phase, Generating):
        return replace(result, state=replace(result.state, phase=Idle()), effects=())
    return result


BUGS: tuple[StepFunction, ...] = (
    takes_a_yes_with_any_digest,
    takes_a_claim_twice,
    takes_a_claim_while_it_is_being_stopped,
    runs_a_call_of_unknown_outcome_again_by_itself,
    takes_a_yes_after_a_no,
    leaves_a_proposed_call_open_after_stop,
    asks_the_model_before_every_call_is_settled,
    runs_a_rejected_call,
    loses_a_message_that_joins,
    leaves_a_message_behind_that_wanted_to_join,
    forgets_the_result,
    runs_the_arguments_as_they_were_before_they_were_edited,
    does_not_tell_running_tools_to_stop,
    is_idle_while_a_tool_still_runs,
    takes_one_yes_for_ever,
    takes_one_yes_for_all_calls,
    runs_a_forbidden_tool,
    runs_arguments_that_do_not_fit,
    lets_somebody_end_a_call_that_another_runs,
    lets_the_owner_decide_what_is_for_staff,
    lets_the_owner_run_again_what_is_for_staff,
    forgets_that_a_call_is_for_staff,
    lets_one_yes_of_staff_count_for_the_conversation,
    refuses_the_yes_of_staff,
    forgets_to_take_an_allowance_back,
    orders_a_lost_call_under_the_same_number,
    goes_on_asking_after_a_person_went_on_without_it,
    never_hears_of_a_lost_tool,
    ignores_the_number_of_an_execution,
    goes_idle_when_the_tools_have_ended,
)


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_the_hostile_world_finds_a_reducer_that(bug: StepFunction) -> None:
    planted = type("PlantedWorld", (HostileWorld,), {"step": staticmethod(bug)})
    with pytest.raises(PromiseBrokenError):
        run_state_machine_as_test(planted, settings=hostile_settings(runs=RUNS, shrinks=False))


Calls = Mapping[MessageId, Sequence[ToolCall]]
Lines = tuple[prompt.PromptMessage, ...]


def _without(calls: Calls, state: CallState) -> dict[MessageId, list[ToolCall]]:
    return {answer: [call for call in made if call.state is not state] for answer, made in calls.items()}


def leaves_out_rejected_calls(
    transcript: Sequence[Message], calls: Calls, *, instructions: str, answer_id: MessageId
) -> Lines:
    return prompt.build(transcript, _without(calls, CallState.REJECTED), instructions=instructions, answer_id=answer_id)


def leaves_out_results_of_stopped_calls(
    transcript: Sequence[Message], calls: Calls, *, instructions: str, answer_id: MessageId
) -> Lines:
    lines = prompt.build(transcript, calls, instructions=instructions, answer_id=answer_id)
    stopped = {str(call.call_id) for made in calls.values() for call in made if call.state is CallState.STOPPED}
    return tuple(line for line in lines if line.role != "tool" or line.call_id not in stopped)


def sends_arguments_that_are_no_object(
    transcript: Sequence[Message], calls: Calls, *, instructions: str, answer_id: MessageId
) -> Lines:
    written = {str(call.call_id): call.arguments for made in calls.values() for call in made}
    lines = prompt.build(transcript, calls, instructions=instructions, answer_id=answer_id)
    return tuple(
        line._replace(calls=tuple(replace(call, arguments=written[call.call_id]) for call in line.calls))
        for line in lines
    )


def sends_messages_that_joined_one_by_one(
    transcript: Sequence[Message], calls: Calls, *, instructions: str, answer_id: MessageId
) -> Lines:
    lines = prompt.build(transcript, calls, instructions=instructions, answer_id=answer_id)
    return tuple(
        line._replace(content=part)
        for line in lines
        for part in (line.content.split("\n\n") if line.role == "user" else [line.content])
    )


PROMPT_BUGS: tuple[BuildFunction, ...] = (
    leaves_out_rejected_calls,
    leaves_out_results_of_stopped_calls,
    sends_arguments_that_are_no_object,
    sends_messages_that_joined_one_by_one,
)


@pytest.mark.parametrize("bug", PROMPT_BUGS, ids=lambda bug: bug.__name__)
def test_the_hostile_world_finds_a_prompt_that(bug: BuildFunction) -> None:
    planted = type("PlantedWorld", (HostileWorld,), {"build": staticmethod(bug)})
    with pytest.raises(PromiseBrokenError):
        run_state_machine_as_test(planted, settings=hostile_settings(runs=RUNS, shrinks=False))
