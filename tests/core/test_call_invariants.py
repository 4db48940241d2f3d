"""What is promised of tool calls is reported when it is broken: one thing wrong at a time, and the words for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from chat.core.calls import CallState, Choice, Policy
from chat.core.effects import RunTool, StartGeneration
from chat.core.events import Event
from chat.core.invariants import joined, of_state, of_transcript
from chat.core.messages import MessageState
from chat.core.permissions import is_right, of_step
from chat.core.reducer import step
from chat.core.state import AwaitingApproval, Conversation, Generating, Refusal, Refused, RunningTools, Step, Stopping
from tests.core.talk import (
    Talk,
    approved,
    claimed,
    completed,
    ended,
    lost_call,
    message_id,
    proposal,
    rejected,
    resolved,
    revoked,
    stopped,
)
from tests.core.test_tool_calls import ASK, AUTO, EDITED, NEVER, asked, order, running, unknown

REFUSED = Refused(code=Refusal.LATE, words="No.")


def generating_among_tools() -> Conversation:
    talk = running()
    run = replace(talk.run, answer=replace(talk.run.answer, state=MessageState.STREAMING))
    return replace(talk.state, phase=Stopping(run=run, holds=True, next_id=None, calls=talk.state.calls))


WRONG_STATES: dict[str, Callable[[], Conversation]] = {
    "the model is asked while a call is under way": generating_among_tools,
    "nothing waits for a person": lambda: replace(
        running().state, phase=AwaitingApproval(run=running().run, calls=running().state.calls)
    ),
    "no call is under way, or one waits for a person": lambda: replace(
        asked().state, phase=RunningTools(run=asked().run, calls=asked().state.calls)
    ),
    "nothing is left to be stopped, or a call waits in vain": lambda: replace(
        asked().state, phase=Stopping(run=asked().run, holds=True, next_id=None, calls=asked().state.calls)
    ),
    "the answer of the active run has ended": lambda: replace(asked().state, phase=Generating(run=asked().run)),
    "a call is open that the newest answer did not make": lambda: replace(
        asked().state,
        phase=AwaitingApproval(
            run=asked().run, calls=tuple(replace(call, message_id=message_id("a")) for call in asked().state.calls)
        ),
    ),
    "a deleted conversation is being answered": lambda: replace(asked().state, is_deleted=True),
}


@pytest.mark.parametrize("words", WRONG_STATES)
def test_a_wrong_snapshot_is_reported(words: str) -> None:
    assert of_state(WRONG_STATES[words]()) == [words]


@pytest.mark.parametrize("right", [asked, running, unknown])
def test_right_snapshots_are_not_reported(right: Callable[[], Talk]) -> None:
    assert of_state(right().state) == []


def test_a_call_that_is_open_in_a_turn_that_is_over_is_reported() -> None:
    talk = asked()
    before = talk.call()
    talk.stop()
    wrong = of_transcript(talk.state, talk.ledger.messages, {before.call_id: before})
    assert wrong == [f"call {before.call_id} is open in a turn that is over"]


def recorded(talk: Talk, event: Event, change: Callable[[Step], Step | Refused]) -> list[str]:
    """What the ledger says when a step does what `change` makes of it."""
    result = step(talk.state, event)
    assert isinstance(result, Step)
    return talk.ledger.record(talk.state, event, change(result))


def said(wrong: list[str], words: str) -> bool:
    return any(words in line for line in wrong)


def test_a_claim_that_is_taken_twice_is_reported() -> None:
    talk = running()
    event = claimed(talk.call())
    assert said(talk.ledger.record(talk.state, event, Step(state=talk.state)), "was claimed twice")


def test_a_claim_while_the_run_is_being_stopped_is_reported() -> None:
    talk = asked(AUTO)
    talk.stop()
    event = claimed(talk.call())
    assert said(talk.ledger.record(talk.state, event, Step(state=talk.state)), "although its run is being stopped")


def test_an_end_by_somebody_without_the_claim_is_reported() -> None:
    talk = running()
    taken = step(talk.state, ended(talk.call()))
    wrong = talk.ledger.record(talk.state, ended(talk.call(), is_claimed=False), taken)
    assert said(wrong, "was ended by somebody who did not perform it")


def test_a_success_that_nobody_claimed_is_reported() -> None:
    talk = asked(AUTO)
    wrong = recorded(talk, ended(talk.call()), lambda result: result)
    assert said(wrong, "has an outcome although nobody had claimed it")


@pytest.mark.parametrize(
    ("talk", "event"),
    [
        (asked(), lambda talk: approved(talk.call())),
        (asked(), lambda talk: rejected(talk.call())),
        (unknown(), lambda talk: resolved(talk.call(), Choice.CONTINUE)),
    ],
)
def test_a_right_decision_that_is_refused_is_reported(talk: Talk, event: Callable[[Talk], Event]) -> None:
    wrong = talk.ledger.record(talk.state, event(talk), REFUSED)
    assert wrong == ["a decision that a call waits for was refused"]


def test_a_first_claim_that_is_refused_is_reported() -> None:
    talk = asked(AUTO)
    wrong = talk.ledger.record(talk.state, claimed(talk.call()), REFUSED)
    assert wrong == ["the first claim of an open order was refused"]


def test_a_decision_that_changes_nothing_is_reported() -> None:
    talk = unknown()
    event = resolved(talk.call(), Choice.CONTINUE)
    assert said(talk.ledger.record(talk.state, event, Step(state=talk.state)), "who has decided")


@pytest.mark.parametrize(
    "event",
    [
        lambda talk: approved(talk.call(), digest="x"),
        lambda talk: resolved(talk.call(), Choice.RUN_AGAIN),
        lambda talk: rejected(replace(talk.call(), call_id=talk.call(2).call_id)),
    ],
)
def test_a_decision_that_no_call_waits_for_is_reported(event: Callable[[Talk], Event]) -> None:
    talk = asked(ASK, AUTO)
    taken = event(talk)
    wrong = of_step(talk.state, taken, Step(state=talk.state), claimed=())
    assert said(wrong, "was taken that it does not wait for")


def test_a_decision_is_right_for_a_call_that_waits_for_just_that() -> None:
    talk = asked()
    right = approved(talk.call())
    assert is_right(talk.state, right)
    assert not is_right(replace(talk.state, is_deleted=True), right)
    assert not is_right(talk.state, approved(talk.call(), digest="x"))
    talk.stop()
    assert not is_right(talk.state, right)


def ordering(talk: Talk, event: Event, **changes: object) -> list[str]:
    """What is wrong about a step that orders the talk's first call, with these changes to the order."""
    result = step(talk.state, event)
    taken = result if isinstance(result, Step) else Step(state=talk.state)
    run = replace(order(talk), execution_no=talk.call().execution_no + 1, **changes)  # type: ignore[arg-type]
    orders = tuple(effect for effect in taken.effects if not isinstance(effect, RunTool))
    return of_step(talk.state, event, replace(taken, effects=(*orders, run)), claimed=talk.ledger.claimed)


NOT_ALLOWED = "runs although nobody allowed it so"


def test_orders_that_a_person_or_the_policy_allowed_are_not_reported() -> None:
    talk = asked()
    assert ordering(talk, approved(talk.call())) == []
    assert ordering(talk, approved(talk.call(), arguments=EDITED), arguments=EDITED) == []
    talk = asked(AUTO)
    assert ordering(talk, lost_call(talk.call())) == []
    talk = running()
    assert ordering(talk, lost_call(talk.call(), can_run_again=True)) == []
    talk = unknown()
    assert ordering(talk, resolved(talk.call(), Choice.RUN_AGAIN)) == []


def test_orders_that_nobody_allowed_are_reported() -> None:
    talk = asked()
    assert said(ordering(talk, rejected(talk.call())), NOT_ALLOWED)
    assert said(ordering(talk, stopped(None)), NOT_ALLOWED)
    assert said(ordering(talk, approved(talk.call(), arguments=EDITED)), NOT_ALLOWED)
    assert said(ordering(talk, approved(talk.call()), arguments=EDITED), NOT_ALLOWED)
    assert said(ordering(talk, approved(talk.call()), tool="other"), NOT_ALLOWED)
    talk = running()
    assert said(ordering(talk, lost_call(talk.call())), NOT_ALLOWED)
    assert said(ordering(talk, ended(talk.call(), "failed")), NOT_ALLOWED)
    talk = unknown()
    assert said(ordering(talk, resolved(talk.call(), Choice.CONTINUE)), NOT_ALLOWED)


@pytest.mark.parametrize("made", [ASK, NEVER, proposal(policy=Policy.AUTO, problem="It does not fit.")])
def test_a_call_that_runs_at_once_although_its_policy_or_its_arguments_forbid_it_is_reported(made: object) -> None:
    talk = Talk()
    talk.send("a")
    allowed = step(talk.state, completed(talk.run, calls=(AUTO,)))
    assert isinstance(allowed, Step)
    event = completed(talk.run, calls=(made,))  # type: ignore[arg-type]
    assert said(of_step(talk.state, event, allowed, claimed=()), NOT_ALLOWED)


def test_a_rejection_that_the_model_does_not_hear_of_is_reported() -> None:
    talk = asked()
    wrong = recorded(
        talk,
        rejected(talk.call(), "No."),
        lambda result: replace(result, calls=tuple(replace(call, result="Yes.") for call in result.calls)),
    )
    assert said(wrong, "was rejected and the model is not told so")


def test_an_allowance_that_nobody_gave_or_that_was_taken_back_is_reported() -> None:
    words = "the tools that run without being asked for are not those that a person allowed"
    talk = asked()
    assert words in recorded(
        talk,
        approved(talk.call()),
        lambda result: replace(result, state=replace(result.state, allowed_tools=("act",))),
    )
    allowing = replace(asked().state, allowed_tools=("act",))
    assert words in of_step(allowing, revoked("act"), Step(state=allowing), claimed=())


def test_a_call_that_changes_after_it_was_settled_is_reported() -> None:
    talk = asked(ASK, ASK)
    talk.reject(1)
    again = replace(talk.call(1), state=CallState.APPROVED)
    wrong = recorded(talk, rejected(talk.call(2)), lambda result: replace(result, calls=(*result.calls, again)))
    assert said(wrong, "changed after it was settled")


def test_a_settled_call_of_which_the_model_is_told_nothing_is_reported() -> None:
    talk = running()
    wrong = recorded(
        talk,
        ended(talk.call()),
        lambda result: replace(result, calls=tuple(replace(call, result="") for call in result.calls)),
    )
    assert said(wrong, "the model is told nothing of it")


def test_asking_the_model_while_an_order_to_a_tool_is_open_is_reported() -> None:
    talk = running(AUTO, AUTO)
    early = StartGeneration(run_id=talk.run.run_id, generation_no=2, message_id=message_id("x"))
    wrong = recorded(talk, ended(talk.call(1)), lambda result: replace(result, effects=(*result.effects, early)))
    assert "two orders are open at once" in wrong


def test_a_message_that_wanted_to_join_and_is_left_behind_is_reported() -> None:
    talk = running()
    talk.steer("s")
    result = step(replace(talk.state, queue=()), ended(talk.call()))
    assert isinstance(result, Step)
    left = replace(result, state=replace(result.state, queue=talk.state.queue))
    assert said(talk.ledger.record(talk.state, ended(talk.call()), left), "wanted to join the run and was left behind")


def test_messages_that_joined_are_those_between_two_answers_of_a_run() -> None:
    talk = running()
    talk.steer("s")
    talk.end_call()
    talk.complete()
    talk.send("b")
    talk.complete()
    assert joined(talk.ledger.messages.values()) == {message_id("s")}
