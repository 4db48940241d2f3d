"""Calls under the policy `staff`: two persons, and the owner is never the one who says yes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chat.core.calls import CallState, Choice, Policy, Scope
from chat.core.effects import RunTool, StartGeneration
from chat.core.state import AwaitingApproval, Refusal
from tests.core import talk
from tests.core.talk import Talk

GUARDED = talk.proposal("act", policy=Policy.STAFF)
STAFF_ID = 2


@pytest.fixture
def waiting() -> Talk:
    """A call waits for staff."""
    made = Talk()
    made.send("a")
    made.make_calls(GUARDED)
    return made


def test_it_waits_like_any_other_call(waiting: Talk) -> None:
    assert isinstance(waiting.phase(), AwaitingApproval)
    assert (waiting.call().state, waiting.call().needs_staff) == (CallState.PROPOSED, True)
    assert waiting.orders() == ()


@pytest.mark.parametrize("scope", Scope)
def test_the_owners_yes_is_refused(waiting: Talk, scope: Scope) -> None:
    assert waiting.refused(talk.approved(waiting.call(), scope=scope)) is Refusal.NEEDS_STAFF
    assert waiting.call().state is CallState.PROPOSED


def test_the_owners_no_is_taken(waiting: Talk) -> None:
    waiting.reject(reason="I changed my mind.")
    assert (waiting.call().state, waiting.call().decision is not None) == (CallState.REJECTED, True)
    assert waiting.call().result == "The user rejected this call. Their reason: I changed my mind."


def test_a_yes_of_staff_lets_it_run_and_is_kept_as_theirs(waiting: Talk) -> None:
    waiting.take(replace(talk.approved(waiting.call()), user_id=STAFF_ID, is_staff_decision=True))
    [order] = waiting.orders()
    assert isinstance(order, RunTool)
    decision = waiting.call().decision
    assert decision is not None
    assert (decision.user_id, decision.is_staff) == (STAFF_ID, True)


def test_a_yes_of_staff_to_other_arguments_than_were_shown_is_refused(waiting: Talk) -> None:
    event = replace(talk.approved(waiting.call(), digest="0" * 64), is_staff_decision=True)
    assert waiting.refused(event) is Refusal.WRONG_DIGEST


def test_a_yes_of_staff_counts_once_and_never_for_the_conversation(waiting: Talk) -> None:
    event = replace(talk.approved(waiting.call(), scope=Scope.CONVERSATION), is_staff_decision=True)
    assert waiting.refused(event) is Refusal.NEEDS_STAFF
    assert waiting.state.allowed_tools == ()


def test_a_no_of_staff_tells_the_model_whose_it_is(waiting: Talk) -> None:
    waiting.take(replace(talk.rejected(waiting.call(), "Too broad."), user_id=STAFF_ID, is_staff_decision=True))
    assert waiting.call().result == "A member of staff rejected this call. Their reason: Too broad."
    assert [type(order) for order in waiting.orders()] == [StartGeneration]


def test_what_the_owner_allowed_for_the_conversation_does_not_reach_it() -> None:
    made = Talk()
    made.send("a")
    made.make_calls(talk.proposal("act"))
    made.approve(scope=Scope.CONVERSATION)
    made.claim()
    made.end_call()
    made.make_calls(talk.proposal("act"), GUARDED)
    assert made.call(1).state is CallState.APPROVED
    assert made.call(2).state is CallState.PROPOSED


def test_after_a_loss_only_staff_lets_it_run_again_and_the_owner_can_go_on_without(waiting: Talk) -> None:
    waiting.take(replace(talk.approved(waiting.call()), is_staff_decision=True))
    waiting.claim()
    waiting.lose_call()
    assert waiting.call().state is CallState.UNKNOWN
    assert waiting.refused(talk.resolved(waiting.call(), Choice.RUN_AGAIN)) is Refusal.NEEDS_STAFF
    again = replace(talk.resolved(waiting.call(), Choice.RUN_AGAIN), is_staff_decision=True)
    waiting.take(again)
    assert waiting.call().execution_no == 2
    waiting.claim()
    waiting.lose_call()
    waiting.resolve(Choice.CONTINUE)
    assert waiting.call().is_settled


def test_what_does_not_fit_fails_without_asking_anybody() -> None:
    made = Talk()
    made.send("a")
    made.make_calls(replace(GUARDED, problem="The arguments do not fit act."))
    assert made.call().state is CallState.FAILED
