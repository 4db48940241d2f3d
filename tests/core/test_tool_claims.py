"""Claims, ends and losses of tool calls. Each step is also held against all invariants by `Talk`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

import pytest

from chat.core.calls import Artifact, CallState, Choice
from chat.core.events import Event
from chat.core.ids import ArtifactId, CallId
from chat.core.orders import NO_RESULT
from chat.core.state import AwaitingApproval, Idle, Refusal
from tests.core.talk import NOW_MS, Talk, approved, claimed, completed, ended, lost_call, rejected, resolved, started
from tests.core.test_tool_calls import ASK, AUTO, asked, next_order, order, running, unknown
from tests.core.world import FOREIGN_RUN

# Claim and end


def test_a_call_is_claimed_once() -> None:
    talk = running()
    assert talk.call().state is CallState.RUNNING
    assert talk.call().started_at_ms == NOW_MS + 20
    assert talk.refused(claimed(talk.call())) is Refusal.LATE


def test_whoever_did_not_get_the_claim_does_not_end_the_call() -> None:
    talk = running()
    assert talk.refused(ended(talk.call(), "stopped", is_claimed=False)) is Refusal.LATE
    talk.end_call()
    assert talk.call().state is CallState.SUCCEEDED


def test_an_order_that_nobody_claimed_is_ended_by_whoever_gave_up() -> None:
    talk = asked(AUTO)
    talk.stop()
    assert talk.refused(claimed(talk.call())) is Refusal.LATE
    talk.take(ended(talk.call(), "stopped", is_claimed=False))
    assert (talk.phase(), talk.call().state) == (Idle(), CallState.STOPPED)


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "stopped"])
def test_a_call_ends_once_and_keeps_what_it_printed_and_brought(outcome: str) -> None:
    talk = running(AUTO, ASK)
    file = Artifact(artifact_id=ArtifactId(UUID(int=1)), name="plot.png", mime="image/png", size=7)
    event = ended(talk.call(), outcome, "a chart", artifacts=(file,))
    talk.take(event)
    call = talk.call()
    assert (call.state.value, call.is_settled, call.ended_at_ms) == (outcome, True, NOW_MS + 30)
    assert (call.output, call.result, call.artifacts) == ("printed", "a chart", (file,))
    assert talk.refused(event) is Refusal.LATE
    assert talk.refused(claimed(call)) is Refusal.LATE
    assert talk.refused(lost_call(call)) is Refusal.LATE
    # The snapshot keeps that it is settled, and not what it brought.
    kept = talk.state.calls[0]
    assert (kept.state, kept.is_settled, kept.output, kept.result, kept.artifacts) == (call.state, True, "", "", ())


def test_a_tool_without_a_word_has_a_result_all_the_same() -> None:
    talk = running()
    talk.end_call(result="")
    assert talk.call().result == NO_RESULT


@pytest.mark.parametrize("event", [claimed, ended, lost_call])
def test_events_of_other_runs_calls_and_executions_are_refused(event: Callable[..., Event]) -> None:
    talk = running(AUTO, ASK)
    call = talk.call()
    for foreign in (
        replace(call, run_id=FOREIGN_RUN),
        replace(call, call_id=CallId(UUID(int=7))),
        replace(call, execution_no=0),
        replace(call, execution_no=2),
        talk.call(2),
    ):
        assert talk.refused(event(foreign)) is Refusal.LATE


@pytest.mark.parametrize("event", [claimed, ended, lost_call])
def test_events_of_calls_come_too_late_once_the_model_is_asked(event: Callable[..., Event]) -> None:
    talk = running()
    talk.end_call()
    late = event(talk.call())
    assert talk.refused(late) is Refusal.LATE
    talk.complete()
    assert talk.refused(late) is Refusal.LATE


@pytest.mark.parametrize("busy", [asked, running, unknown])
def test_the_model_says_nothing_while_its_calls_are_open(busy: Callable[[], Talk]) -> None:
    talk = busy()
    assert talk.refused(completed(talk.run)) is Refusal.LATE
    assert talk.refused(started(talk.run)) is Refusal.LATE


# A process dies


def test_a_call_lost_before_its_claim_is_ordered_again_under_a_new_number() -> None:
    talk = asked(AUTO)
    old = talk.call()
    talk.lose_call()
    assert (talk.call().state, talk.call().execution_no) == (CallState.APPROVED, 2)
    assert talk.orders() == (order(talk),)
    for event in (claimed(old), ended(old), ended(old, is_claimed=False), lost_call(old)):
        assert talk.refused(event) is Refusal.LATE
    talk.claim()
    talk.end_call()


def test_a_call_lost_while_it_ran_is_unknown_and_a_person_decides() -> None:
    talk = unknown()
    call = talk.call()
    assert (call.state, call.is_settled, call.waits_for_person) == (CallState.UNKNOWN, False, True)
    assert isinstance(talk.phase(), AwaitingApproval)
    assert talk.orders() == ()
    assert "not known" in call.result
    for event in (approved(call), rejected(call)):
        assert talk.refused(event) is Refusal.ALREADY_DECIDED
    for late in (claimed(call), ended(call), lost_call(call)):
        assert talk.refused(late) is Refusal.LATE


def test_what_a_lost_call_had_printed_is_kept_until_it_runs_again() -> None:
    talk = running()
    talk.take(replace(lost_call(talk.call()), output="so far"))
    assert talk.call().output == "so far"
    talk.resolve(Choice.CONTINUE)
    assert talk.call().output == "so far"
    talk = running()
    talk.take(replace(lost_call(talk.call()), output="so far"))
    talk.resolve(Choice.RUN_AGAIN)
    assert talk.call().output == ""


def test_a_call_that_does_no_harm_twice_is_ordered_again_by_itself() -> None:
    talk = running()
    talk.lose_call(can_run_again=True)
    assert talk.orders() == (order(talk),)
    call = talk.call()
    assert (call.state, call.execution_no, call.started_at_ms) == (CallState.APPROVED, 2, None)


def test_an_unknown_outcome_is_run_again_when_a_person_says_so() -> None:
    talk = unknown(ASK)
    talk.resolve(Choice.RUN_AGAIN)
    assert talk.orders() == (order(talk),)
    call = talk.call()
    assert (call.state, call.execution_no, call.result, call.ended_at_ms) == (CallState.APPROVED, 2, "", None)
    talk.claim()
    talk.end_call()
    assert talk.call().state is CallState.SUCCEEDED
    assert talk.orders() == (next_order(talk),)


def test_an_unknown_outcome_that_is_lost_again_is_unknown_again() -> None:
    talk = unknown()
    talk.resolve(Choice.RUN_AGAIN)
    talk.claim()
    talk.lose_call()
    talk.resolve(Choice.RUN_AGAIN)
    assert talk.call().execution_no == 3


def test_a_person_goes_on_without_an_unknown_outcome_and_the_model_is_told() -> None:
    talk = unknown()
    talk.resolve(Choice.CONTINUE)
    call = talk.call()
    assert (call.state, call.is_settled) == (CallState.UNKNOWN, True)
    assert "not known" in call.result
    assert talk.orders() == (next_order(talk),)


@pytest.mark.parametrize("choice", Choice)
def test_an_unknown_outcome_is_resolved_once(choice: Choice) -> None:
    talk = unknown(AUTO, ASK)
    talk.resolve(choice)
    for other in Choice:
        assert talk.refused(resolved(talk.call(), other)) is Refusal.ALREADY_DECIDED
