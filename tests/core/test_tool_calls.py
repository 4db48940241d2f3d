"""Tool calls: made, decided, claimed, ended. Each step is also held against all invariants by `Talk`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest

from chat.core.calls import CallState, Choice, Decision, Policy, Proposal, Scope
from chat.core.effects import RunTool, StartGeneration
from chat.core.events import ConversationRestored, Event
from chat.core.ids import CallId, answer_id, call_id
from chat.core.messages import MessageState
from chat.core.orders import NEVER_RESULT
from chat.core.permissions import Decided
from chat.core.state import AwaitingApproval, Generating, Idle, Refusal, RunningTools
from tests.core.talk import (
    NOW_MS,
    USER_ID,
    Talk,
    approved,
    proposal,
    rejected,
    resolved,
    revoked,
    started,
)

ASK, AUTO, NEVER = proposal(), proposal("do", policy=Policy.AUTO), proposal("launch", policy=Policy.NEVER)
BROKEN = proposal(arguments="{", problem="The arguments do not fit act.")
EDITED = '{"n":2}'


def asked(*proposals: Proposal) -> Talk:
    """The model has answered `a` with these calls."""
    talk = Talk()
    talk.send("a")
    talk.make_calls(*(proposals or (ASK,)))
    return talk


def running(*proposals: Proposal) -> Talk:
    """The first of them runs."""
    talk = asked(*(proposals or (AUTO,)))
    if talk.call().state is CallState.PROPOSED:
        talk.approve()
    talk.claim()
    return talk


def unknown(*proposals: Proposal) -> Talk:
    """The outcome of the first of them was lost."""
    talk = running(*proposals)
    talk.lose_call()
    return talk


def order(talk: Talk, number: int = 1) -> RunTool:
    """The newest order to run that call."""
    call = talk.call(number)
    return RunTool(
        run_id=call.run_id,
        call_id=call.call_id,
        execution_no=call.execution_no,
        tool=call.tool,
        arguments=call.arguments,
    )


def next_order(talk: Talk, *, generation_no: int = 2, answer_no: int = 2) -> StartGeneration:
    run = talk.run.run_id
    return StartGeneration(run_id=run, generation_no=generation_no, message_id=answer_id(run, answer_no))


# What the model calls


def test_a_call_that_must_be_asked_for_waits_and_nothing_is_ordered() -> None:
    talk = asked()
    call = talk.call()
    assert talk.phase() == AwaitingApproval(run=talk.run, calls=(call,))
    assert (call.state, call.decision, call.execution_no, call.is_settled) == (CallState.PROPOSED, None, 0, False)
    assert (call.call_id, call.number) == (call_id(answer_id(talk.run.run_id, 1), 1), 1)
    assert (call.proposed_arguments, call.arguments, call.provider_id) == ('{"n":1}', '{"n":1}', "call_1")
    assert talk.orders() == ()
    assert (talk.answer.state, talk.answer.content) == (MessageState.COMPLETE, "Let me see.")
    assert talk.state.outcome is None


def test_a_call_that_nobody_need_be_asked_for_is_ordered_at_once() -> None:
    talk = asked(AUTO)
    assert talk.orders() == (order(talk),)
    assert talk.phase() == RunningTools(run=talk.run, calls=(talk.call(),))
    assert (talk.call().state, talk.call().execution_no, talk.call().decision) == (CallState.APPROVED, 1, None)


@pytest.mark.parametrize(("call", "result"), [(NEVER, NEVER_RESULT), (BROKEN, BROKEN.problem)])
def test_a_call_that_can_not_run_has_failed_and_the_model_is_told_why_at_once(call: Proposal, result: str) -> None:
    talk = asked(call)
    made = talk.call()
    assert (made.state, made.is_settled, made.result, made.execution_no) == (CallState.FAILED, True, result, 0)
    assert talk.phase() == Generating(run=talk.run)
    assert talk.orders() == (next_order(talk),)


def test_a_call_with_a_problem_does_not_run_whatever_its_policy() -> None:
    talk = asked(replace(BROKEN, policy=Policy.AUTO))
    assert talk.call().state is CallState.FAILED


def test_calls_of_one_answer_go_their_own_ways_and_the_model_is_asked_after_the_last() -> None:
    talk = asked(ASK, AUTO, BROKEN, ASK)
    assert [talk.call(number).state.value for number in (1, 2, 3, 4)] == ["proposed", "approved", "failed", "proposed"]
    assert talk.orders() == (order(talk, 2),)
    talk.claim(2)
    talk.end_call(2)
    assert isinstance(talk.phase(), AwaitingApproval)
    talk.reject(4)
    talk.approve(1)
    assert isinstance(talk.phase(), RunningTools)
    talk.claim(1)
    assert talk.orders() == ()
    talk.end_call(1)
    assert talk.orders() == (next_order(talk),)
    assert talk.phase() == Generating(run=talk.run)


def test_each_answer_of_a_run_has_an_id_of_its_own_and_calls_of_its_own() -> None:
    talk = running()
    talk.end_call()
    run = talk.run
    assert (run.generation_no, run.answer_no, run.answer.message_id) == (2, 2, answer_id(run.run_id, 2))
    assert run.answer.position == 3
    talk.take(started(run))
    talk.make_calls(AUTO, text="Once more.")
    talk.claim()
    talk.end_call()
    talk.complete("Done.")
    assert talk.phase() == Idle()
    assert (talk.answer.position, talk.answer.content, talk.state.outcome) == (4, "Done.", MessageState.COMPLETE)
    assert len({call.call_id for call in talk.ledger.calls.values()}) == 2
    assert talk.state.run_count == 1


def test_an_answer_that_is_lost_after_tools_is_asked_for_again_and_its_calls_are_not() -> None:
    talk = running()
    talk.end_call()
    talk.lose()
    assert talk.orders() == (next_order(talk, generation_no=3),)


# A person decides


def test_a_yes_orders_the_call_and_keeps_who_said_so_and_when() -> None:
    talk = asked()
    talk.approve()
    assert talk.orders() == (order(talk),)
    call = talk.call()
    assert (call.state, call.execution_no) == (CallState.APPROVED, 1)
    assert call.decision == Decision(user_id=USER_ID, scope=Scope.ONCE, reason="", at_ms=NOW_MS + 10)
    assert isinstance(talk.phase(), RunningTools)


@pytest.mark.parametrize("digest", ["", "0" * 64, "d"])
def test_a_yes_to_other_arguments_than_those_shown_is_refused(digest: str) -> None:
    talk = asked()
    assert talk.refused(approved(talk.call(), digest=digest)) is Refusal.WRONG_DIGEST
    assert talk.refused(approved(talk.call(), digest=digest, arguments=EDITED)) is Refusal.WRONG_DIGEST


def test_the_digest_names_the_tool_and_the_arguments() -> None:
    talk = asked(ASK, proposal(arguments='{"n":10}'), proposal("other"))
    digests = {talk.call(number).digest for number in (1, 2, 3)}
    assert len(digests) == 3
    assert talk.refused(approved(talk.call(1), digest=talk.call(2).digest)) is Refusal.WRONG_DIGEST
    assert talk.refused(approved(talk.call(1), digest=talk.call(3).digest)) is Refusal.WRONG_DIGEST


def test_edited_arguments_run_and_those_of_the_model_are_kept() -> None:
    talk = asked()
    before = talk.call().digest
    talk.approve(arguments=EDITED)
    [run] = talk.orders()
    assert isinstance(run, RunTool)
    assert run.arguments == EDITED
    assert (talk.call().proposed_arguments, talk.call().arguments) == ('{"n":1}', EDITED)
    assert talk.call().digest != before


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("Not on a Friday.", "The user rejected this call. Their reason: Not on a Friday."),
        ("", "The user rejected this call and gave no reason."),
    ],
)
def test_a_no_settles_the_call_and_the_model_is_told_the_reason(reason: str, told: str) -> None:
    talk = asked()
    talk.reject(reason=reason)
    call = talk.call()
    assert (call.state, call.is_settled, call.result, call.execution_no) == (CallState.REJECTED, True, told, 0)
    assert call.decision == Decision(user_id=USER_ID, scope=Scope.ONCE, reason=reason, at_ms=NOW_MS + 10)
    assert talk.orders() == (next_order(talk),)


DECISIONS: list[Callable[[Talk], Event]] = [
    lambda talk: approved(talk.call()),
    lambda talk: approved(talk.call(), arguments=EDITED),
    lambda talk: rejected(talk.call(), "No."),
    lambda talk: resolved(talk.call(), Choice.RUN_AGAIN),
    lambda talk: resolved(talk.call(), Choice.CONTINUE),
]


@pytest.mark.parametrize("second", DECISIONS)
@pytest.mark.parametrize("first", DECISIONS[:3])
def test_a_call_gets_one_decision_whoever_comes_first(
    first: Callable[[Talk], Event], second: Callable[[Talk], Event]
) -> None:
    talk = asked(ASK, ASK)
    talk.take(first(talk))
    assert talk.refused(second(talk)) is Refusal.ALREADY_DECIDED
    if talk.call().state is CallState.APPROVED:
        talk.claim()
        assert talk.refused(second(talk)) is Refusal.ALREADY_DECIDED
        talk.end_call()
        assert talk.refused(second(talk)) is Refusal.ALREADY_DECIDED


@pytest.mark.parametrize("decision", DECISIONS)
def test_nobody_decides_what_is_not_asked(decision: Callable[[Talk], Event]) -> None:
    talk = asked(AUTO, ASK)
    assert talk.refused(decision(talk)) is Refusal.ALREADY_DECIDED
    talk = asked()
    event = decision(talk)
    talk.reject()
    assert talk.refused(event) is Refusal.NOT_FOUND
    talk.complete()
    assert talk.refused(event) is Refusal.NOT_FOUND


@pytest.mark.parametrize("decision", DECISIONS)
def test_a_call_of_another_conversation_or_of_none_is_not_found(decision: Callable[[Talk], Event]) -> None:
    talk, other = asked(), asked()
    event = decision(other)
    assert isinstance(event, Decided)
    foreign = replace(event, call_id=CallId(UUID(int=7)))
    assert talk.refused(foreign) is Refusal.NOT_FOUND
    assert Talk().refused(event) is Refusal.NOT_FOUND


@pytest.mark.parametrize("decision", DECISIONS)
def test_a_decision_while_the_run_is_being_stopped_is_refused(decision: Callable[[Talk], Event]) -> None:
    talk = asked(ASK, AUTO)
    talk.stop()
    assert talk.refused(decision(talk)) is Refusal.ALREADY_DECIDED


@pytest.mark.parametrize("choice", Choice)
def test_a_call_that_waits_for_a_yes_has_no_unknown_outcome(choice: Choice) -> None:
    talk = asked()
    assert talk.refused(resolved(talk.call(), choice)) is Refusal.ALREADY_DECIDED


# Allowed in this conversation


def test_a_tool_that_is_allowed_in_this_conversation_is_not_asked_for_again() -> None:
    talk = asked(ASK, ASK)
    talk.approve(1, scope=Scope.CONVERSATION)
    assert talk.state.allowed_tools == ("act",)
    assert talk.call(1).decision == Decision(user_id=USER_ID, scope=Scope.CONVERSATION, reason="", at_ms=NOW_MS + 10)
    # What was asked for before is decided by itself.
    assert talk.call(2).state is CallState.PROPOSED
    talk.approve(2, scope=Scope.CONVERSATION)
    assert talk.state.allowed_tools == ("act",)
    for number in (1, 2):
        talk.claim(number)
        talk.end_call(number)
    talk.make_calls(ASK, proposal("other"))
    assert [talk.call(number).state.value for number in (1, 2)] == ["approved", "proposed"]


def test_what_is_forbidden_or_does_not_fit_is_not_allowed_by_an_allowance() -> None:
    talk = asked()
    talk.approve(scope=Scope.CONVERSATION)
    talk.claim()
    talk.end_call()
    talk.make_calls(replace(ASK, policy=Policy.NEVER), BROKEN, ASK)
    assert [talk.call(number).state.value for number in (1, 2, 3)] == ["failed", "failed", "approved"]


def test_an_allowance_outlives_runs_and_can_be_taken_back() -> None:
    talk = asked()
    talk.approve(scope=Scope.CONVERSATION)
    talk.take(revoked("act"))
    assert talk.state.allowed_tools == ()
    assert talk.call().state is CallState.APPROVED
    talk.claim()
    talk.end_call()
    talk.complete()
    talk.send("b")
    talk.make_calls(ASK)
    assert talk.call().state is CallState.PROPOSED
    assert talk.refused(revoked("act")) is Refusal.UNCHANGED
    assert talk.refused(revoked("no such tool")) is Refusal.UNCHANGED


# Nothing but the newest calls


def test_another_conversation_that_was_deleted_takes_no_decision() -> None:
    talk = asked()
    event = approved(talk.call())
    talk.delete()
    assert (talk.phase(), talk.call().state) == (Idle(), CallState.STOPPED)
    assert talk.refused(event) is Refusal.GONE
    talk.take(ConversationRestored(at_ms=NOW_MS))
    assert talk.refused(event) is Refusal.NOT_FOUND
