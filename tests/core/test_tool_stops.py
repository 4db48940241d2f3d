"""Stop, interrupt, steer, queue and deletion while calls are open. `Talk` holds each step against all invariants."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chat.core.calls import CallState
from chat.core.effects import CancelRun, StartGeneration
from chat.core.messages import Delivery, MessageState
from chat.core.orders import STOPPED_RESULT, UNKNOWN_RESULT
from chat.core.state import AwaitingApproval, Generating, Hold, Idle, Refusal, Stopping
from tests.core.talk import Talk, claimed, ended, lost_call, message_id, stopped
from tests.core.test_tool_calls import ASK, AUTO, BROKEN, asked, running, unknown

CALM: list[Callable[[], Talk]] = [asked, unknown]
BUSY: list[Callable[[], Talk]] = [lambda: asked(AUTO), running, lambda: running(AUTO, ASK)]


# Stop


@pytest.mark.parametrize("calm", CALM)
def test_stop_while_only_persons_are_waited_for_ends_the_run_at_once(calm: Callable[[], Talk]) -> None:
    talk = calm()
    talk.send("b")
    talk.stop()
    assert talk.orders() == ()
    assert (talk.phase(), talk.queue, talk.held()) == (Idle(), ["b"], Hold.STOPPED)
    assert (talk.state.outcome, talk.state.retryable) == (MessageState.INTERRUPTED, message_id("a"))
    assert talk.call().is_settled
    assert talk.answer.state is MessageState.COMPLETE


def test_stop_closes_a_call_that_waits_and_leaves_an_unknown_outcome_unknown() -> None:
    talk = asked()
    talk.stop()
    assert (talk.call().state, talk.call().result) == (CallState.STOPPED, STOPPED_RESULT)
    talk = unknown()
    talk.stop()
    assert (talk.call().state, talk.call().result) == (CallState.UNKNOWN, UNKNOWN_RESULT)


@pytest.mark.parametrize("names_the_run", [True, False])
def test_stop_cancels_what_runs_closes_what_waits_and_is_idle_only_when_all_has_ended(names_the_run: bool) -> None:
    talk = running(AUTO, AUTO, ASK)
    talk.send("b")
    run = talk.run
    talk.take(stopped(run.run_id if names_the_run else None))
    assert talk.orders() == (CancelRun(run_id=run.run_id),)
    assert isinstance(talk.phase(), Stopping)
    assert [talk.call(number).state.value for number in (1, 2, 3)] == ["running", "approved", "stopped"]
    assert talk.refused(stopped(None)) is Refusal.NOTHING_TO_STOP
    assert talk.refused(claimed(talk.call(2))) is Refusal.LATE
    talk.take(ended(talk.call(2), "stopped", is_claimed=False))
    assert isinstance(talk.phase(), Stopping)
    talk.end_call(1, "stopped")
    assert (talk.phase(), talk.queue, talk.held()) == (Idle(), ["b"], Hold.STOPPED)
    assert talk.state.retryable == message_id("a")


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "stopped"])
def test_however_a_call_ends_while_it_is_being_stopped_the_model_is_not_asked(outcome: str) -> None:
    talk = running()
    talk.stop()
    talk.end_call(1, outcome)
    assert (talk.phase(), talk.call().state.value) == (Idle(), outcome)
    assert talk.orders() == ()


@pytest.mark.parametrize("can_run_again", [True, False])
def test_a_call_lost_while_it_is_being_stopped_is_not_run_again(can_run_again: bool) -> None:
    talk = running()
    talk.stop()
    talk.lose_call(can_run_again=can_run_again)
    assert (talk.phase(), talk.call().state, talk.call().is_settled) == (Idle(), CallState.UNKNOWN, True)
    talk = asked(AUTO)
    talk.stop()
    talk.lose_call(can_run_again=can_run_again)
    assert (talk.phase(), talk.call().state, talk.orders()) == (Idle(), CallState.STOPPED, ())


def test_a_call_of_an_answer_that_completes_while_it_is_being_stopped_never_runs() -> None:
    talk = Talk()
    talk.send("a", "b")
    talk.stop()
    talk.make_calls(ASK, AUTO, BROKEN)
    assert [talk.call(number).state.value for number in (1, 2, 3)] == ["stopped", "stopped", "failed"]
    assert all(talk.call(number).is_settled and talk.call(number).execution_no == 0 for number in (1, 2, 3))
    assert talk.orders() == ()
    assert (talk.phase(), talk.queue, talk.held()) == (Idle(), ["b"], Hold.STOPPED)
    assert (talk.state.outcome, talk.state.retryable) == (MessageState.INTERRUPTED, message_id("a"))


def test_retry_after_a_stop_among_calls_begins_anew() -> None:
    talk = asked()
    talk.stop()
    talk.retry()
    assert talk.state.run_count == 2
    talk.make_calls(ASK)
    assert [call.state.value for call in talk.ledger.calls.values()] == ["stopped", "proposed"]


# Interrupt


@pytest.mark.parametrize("calm", CALM)
def test_a_message_that_interrupts_while_only_persons_are_waited_for_goes_at_once(calm: Callable[[], Talk]) -> None:
    talk = calm()
    talk.send("b")
    talk.interrupt("now")
    assert (talk.asked, talk.queue, talk.held()) == (["a", "now"], ["b"], None)
    assert [type(effect) for effect in talk.orders()] == [StartGeneration]
    assert talk.call().is_settled


@pytest.mark.parametrize("busy", BUSY)
def test_a_message_that_interrupts_tools_goes_when_they_have_ended(busy: Callable[[], Talk]) -> None:
    talk = busy()
    run = talk.run
    talk.send("b")
    talk.interrupt("now")
    assert talk.orders() == (CancelRun(run_id=run.run_id),)
    assert talk.asked == ["a"]
    talk.end_call(1, "stopped")
    assert (talk.asked, talk.queue, talk.held()) == (["a", "now"], ["b"], None)
    assert all(call.is_settled for call in talk.ledger.calls.values())


# Queue and steer


@pytest.mark.parametrize("busy", [*CALM, *BUSY])
def test_messages_sent_while_calls_are_open_wait_behind_the_run(busy: Callable[[], Talk]) -> None:
    talk = busy()
    before = talk.phase()
    talk.send("b", "c")
    assert (talk.phase(), talk.queue, talk.asked) == (before, ["b", "c"], ["a"])


def test_a_message_that_queues_waits_for_the_end_of_the_run() -> None:
    talk = running()
    talk.send("b")
    talk.end_call()
    assert (talk.asked, talk.queue) == (["a"], ["b"])
    talk.complete()
    assert talk.asked == ["a", "b"]
    assert talk.state.run_count == 2


def test_a_message_that_steers_joins_the_run_before_the_model_is_asked_next() -> None:
    talk = running(AUTO, ASK)
    talk.send("b")
    talk.steer("s")
    talk.end_call(1)
    assert (talk.asked, talk.queue) == (["a"], ["s", "b"])
    talk.reject(2)
    assert (talk.asked, talk.queue) == (["a", "s"], ["b"])
    assert isinstance(talk.phase(), Generating)
    assert (talk.state.run_count, talk.run.answering, talk.run.answer.position) == (1, message_id("a"), 4)
    talk.complete()
    assert talk.asked == ["a", "s", "b"]


def test_all_messages_that_steer_join_in_their_order() -> None:
    talk = running()
    talk.steer("first")
    talk.steer("second")
    talk.end_call()
    assert (talk.asked, talk.queue) == (["a", "first", "second"], [])
    assert [message.content for message in talk.messages] == ["first", "second", ""]


def test_a_message_that_steers_while_the_model_answers_joins_after_its_calls() -> None:
    talk = Talk()
    talk.send("a")
    talk.steer("s")
    talk.make_calls(AUTO)
    assert talk.queue == ["s"]
    talk.claim()
    talk.end_call()
    assert talk.asked == ["a", "s"]
    talk = Talk()
    talk.send("a")
    talk.steer("s")
    talk.make_calls(BROKEN)
    assert talk.asked == ["a", "s"]


def test_a_message_that_steers_and_is_being_edited_does_not_join_nor_do_those_behind_it() -> None:
    talk = running()
    talk.steer("s")
    talk.steer("t")
    talk.hold("s")
    talk.end_call()
    assert (talk.asked, talk.queue) == (["a"], ["s", "t"])
    talk.edit("s", "better")
    talk.complete()
    assert talk.asked == ["a", "better"]


def test_a_message_that_steers_joins_although_the_queue_is_held() -> None:
    talk = Talk()
    talk.send("x", "b")
    talk.stop()
    talk.end_cancelled()
    talk.send("a")
    talk.make_calls(AUTO)
    talk.steer("s")
    talk.claim()
    talk.end_call()
    assert (talk.asked, talk.queue, talk.held()) == (["x", "a", "s"], ["b"], Hold.STOPPED)


def test_a_failure_after_a_message_joined_can_be_tried_again() -> None:
    talk = running()
    talk.steer("s")
    talk.end_call()
    talk.fail()
    assert talk.state.retryable == message_id("a")
    talk.retry()
    talk.complete()
    assert (talk.phase(), talk.asked) == (Idle(), ["a", "s"])


def test_stop_makes_a_message_that_steers_an_ordinary_one_that_is_held() -> None:
    talk = asked()
    talk.steer("s")
    talk.stop()
    assert (talk.queue, talk.held()) == (["s"], Hold.STOPPED)
    assert talk.state.queue[0].delivery is Delivery.QUEUE


# Deletion


@pytest.mark.parametrize("busy", BUSY)
def test_deletion_cancels_tools_and_nothing_goes_on(busy: Callable[[], Talk]) -> None:
    talk = busy()
    talk.send("b")
    talk.steer("s")
    talk.delete()
    assert talk.orders() == (CancelRun(run_id=talk.run.run_id),)
    talk.end_call(1, "stopped")
    assert (talk.phase(), talk.queue, talk.held()) == (Idle(), ["s", "b"], Hold.STOPPED)
    talk.restore()
    assert (talk.phase(), talk.orders()) == (Idle(), ())


@pytest.mark.parametrize("calm", CALM)
def test_deletion_closes_what_waits_for_a_person(calm: Callable[[], Talk]) -> None:
    talk = calm()
    talk.send("b")
    talk.delete()
    assert (talk.phase(), talk.call().is_settled, talk.held()) == (Idle(), True, Hold.STOPPED)


def test_a_tool_that_is_lost_while_another_waits_for_a_person_waits_as_well() -> None:
    talk = running(AUTO, ASK)
    talk.take(lost_call(talk.call(1)))
    assert isinstance(talk.phase(), AwaitingApproval)
    talk.approve(2)
    assert isinstance(talk.phase(), AwaitingApproval)
