"""Messages, runs and Stop. Each step is also held against all invariants by `Talk`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chat.core.effects import CancelRun, StartGeneration
from chat.core.events import (
    Event,
)
from chat.core.ids import answer_id, run_id
from chat.core.messages import Delivery, MessageState, Role
from chat.core.state import Generating, Hold, Idle, Refusal, Run, Stopping
from tests.core.talk import (
    CONVERSATION_ID,
    NOW_MS,
    TOOK,
    Talk,
    completed,
    delayed,
    failed,
    interrupted,
    lost,
    message_id,
    sent,
    started,
    stopped,
)

DELIVERIES = list(Delivery)
ENDS: list[Callable[[Run], Event]] = [completed, interrupted, failed, lost]


# A message while nothing runs


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_message_to_an_idle_conversation_is_asked_at_once(delivery: Delivery) -> None:
    talk = Talk()
    talk.send("hello", delivery=delivery)
    run = run_id(CONVERSATION_ID, 1)
    assert talk.orders() == (StartGeneration(run_id=run, generation_no=1, message_id=answer_id(run, 1)),)
    asked, answer = talk.messages
    assert (asked.role, asked.content, asked.position, asked.state) == (
        Role.USER,
        "hello",
        1,
        MessageState.COMPLETE,
    )
    assert (answer.role, answer.content, answer.position, answer.state) == (
        Role.ASSISTANT,
        "",
        2,
        MessageState.STREAMING,
    )
    assert answer.answering == asked.message_id == message_id("hello")
    assert talk.phase() == Generating(run=talk.run)
    assert talk.state.queue == ()


def test_an_answer_that_completes_is_kept_with_what_it_took() -> None:
    talk = Talk()
    talk.send("hello")
    talk.complete("An answer.")
    assert talk.phase() == Idle()
    assert (talk.answer.state, talk.answer.content, talk.answer.reasoning) == (
        MessageState.COMPLETE,
        "An answer.",
        "It was asked.",
    )
    assert (talk.answer.telemetry, talk.answer.ended_at_ms) == (TOOK, NOW_MS + 5)
    assert (talk.state.outcome, talk.state.retryable) == (MessageState.COMPLETE, None)
    assert talk.orders() == ()


def test_each_run_has_an_id_of_its_own() -> None:
    talk = Talk()
    for count, name in enumerate(["a", "b", "c"], start=1):
        talk.send(name)
        assert talk.run.run_id == run_id(CONVERSATION_ID, count)
        talk.complete()
    assert (talk.state.run_count, talk.state.message_count) == (3, 6)


# A message while the agent is busy


def test_messages_sent_while_busy_wait_and_go_one_by_one_in_order() -> None:
    talk = Talk()
    talk.send("a", "b", "c", "d")
    assert talk.queue == ["b", "c", "d"]
    assert (talk.orders(), talk.messages) == ((), ())
    for rest in (["c", "d"], ["d"], []):
        talk.complete()
        assert talk.queue == rest
        assert [type(effect) for effect in talk.orders()] == [StartGeneration]
    talk.complete()
    assert talk.asked == ["a", "b", "c", "d"]
    assert talk.phase() == Idle()


def test_a_message_that_steers_goes_before_those_that_queue_and_after_others_that_steer() -> None:
    talk = Talk()
    talk.send("a", "b")
    talk.steer("first")
    talk.steer("second")
    assert talk.queue == ["first", "second", "b"]
    assert talk.orders() == ()
    talk.complete()
    assert talk.asked == ["a", "first"]


def test_a_message_that_interrupts_ends_the_run_and_goes_next() -> None:
    talk = Talk()
    talk.send("a", "b")
    talk.interrupt("now")
    assert talk.orders() == (CancelRun(run_id=talk.run.run_id),)
    assert talk.phase() == Stopping(run=talk.run, holds=False, next_id=message_id("now"))
    assert talk.queue == ["now", "b"]
    talk.end_cancelled("An ans")
    assert talk.asked == ["a", "now"]
    assert talk.queue == ["b"]
    assert talk.held() is None
    first, _, _ = talk.messages
    assert (first.state, first.content) == (MessageState.INTERRUPTED, "An ans")


@pytest.mark.parametrize("end", ENDS)
def test_whatever_ends_an_interrupted_run_the_interrupting_message_goes_next(end: Callable[[Run], Event]) -> None:
    talk = Talk()
    talk.send("a", "b")
    talk.interrupt("now")
    talk.take(end(talk.run))
    assert talk.asked == ["a", "now"]
    assert talk.held() is None


def test_the_last_of_several_messages_that_interrupt_goes_next() -> None:
    talk = Talk()
    talk.send("a")
    talk.interrupt("first")
    talk.interrupt("second")
    assert talk.orders() == ()
    talk.end_cancelled()
    assert talk.asked == ["a", "second"]
    talk.complete()
    assert talk.asked == ["a", "second", "first"]


def test_messages_that_queue_or_steer_wait_while_a_run_is_interrupted() -> None:
    talk = Talk()
    talk.send("a")
    talk.interrupt("now")
    talk.send("later")
    talk.steer("soon")
    assert talk.queue == ["now", "soon", "later"]
    talk.end_cancelled()
    talk.complete()
    assert talk.asked == ["a", "now", "soon"]


def test_an_interrupting_message_that_is_withdrawn_lets_the_queue_go_on() -> None:
    talk = Talk()
    talk.send("a", "b")
    talk.interrupt("now")
    talk.remove("now")
    talk.end_cancelled()
    assert talk.asked == ["a", "b"]


def test_an_interrupting_message_that_is_being_edited_is_not_sent() -> None:
    talk = Talk()
    talk.send("a")
    talk.interrupt("now")
    talk.hold("now")
    talk.end_cancelled()
    assert talk.phase() == Idle()
    assert talk.queue == ["now"]
    talk.edit("now", "better")
    assert talk.asked == ["a", "better"]


def test_a_full_queue_takes_no_more_however_a_message_comes() -> None:
    talk = Talk()
    talk.send("a", "b", "c", "d")
    for delivery in DELIVERIES:
        assert talk.refused(sent("e", delivery=delivery, queue_limit=3)) is Refusal.QUEUE_FULL
    talk.complete()
    talk.send("e")
    assert talk.queue == ["c", "d", "e"]


# Stop


def stop_before_the_first_token() -> Talk:
    talk = Talk()
    talk.send("a", "b")
    return talk


def stop_in_mid_stream() -> Talk:
    talk = stop_before_the_first_token()
    talk.take(started(talk.run))
    return talk


def stop_during_back_off() -> Talk:
    talk = stop_in_mid_stream()
    talk.take(delayed(talk.run))
    return talk


def stop_after_it_was_asked_again() -> Talk:
    talk = stop_in_mid_stream()
    talk.lose()
    return talk


BUSY = [stop_before_the_first_token, stop_in_mid_stream, stop_during_back_off, stop_after_it_was_asked_again]


@pytest.mark.parametrize("busy", BUSY)
@pytest.mark.parametrize("names_the_run", [True, False])
def test_stop_cancels_the_run_and_holds_the_queue(busy: Callable[[], Talk], names_the_run: bool) -> None:
    talk = busy()
    run = talk.run
    talk.take(stopped(run.run_id if names_the_run else None))
    assert talk.orders() == (CancelRun(run_id=run.run_id),)
    assert talk.phase() == Stopping(run=run, holds=True, next_id=None)
    talk.end_cancelled("An ans")
    assert talk.phase() == Idle()
    assert (talk.answer.state, talk.answer.content) == (MessageState.INTERRUPTED, "An ans")
    assert (talk.queue, talk.held()) == (["b"], Hold.STOPPED)
    assert talk.state.retryable == message_id("a")
    assert talk.orders() == ()


def test_stop_with_nothing_waiting_holds_nothing() -> None:
    talk = Talk()
    talk.send("a")
    talk.stop()
    talk.end_cancelled()
    assert talk.held() is None


def test_a_second_stop_changes_nothing() -> None:
    talk = Talk()
    talk.send("a")
    talk.stop()
    assert talk.refused(stopped(None)) is Refusal.NOTHING_TO_STOP
    assert talk.refused(stopped(talk.run.run_id)) is Refusal.NOTHING_TO_STOP


def test_stop_while_a_message_interrupts_holds_that_message_too() -> None:
    talk = Talk()
    talk.send("a", "b")
    talk.interrupt("now")
    talk.stop()
    assert talk.orders() == ()
    talk.end_cancelled()
    assert talk.asked == ["a"]
    assert (talk.queue, talk.held()) == (["now", "b"], Hold.STOPPED)
    assert {item.delivery for item in talk.state.queue} == {Delivery.QUEUE}


def test_an_answer_that_completes_while_it_is_being_stopped_is_complete_and_the_queue_is_held() -> None:
    talk = Talk()
    talk.send("a", "b")
    talk.stop()
    talk.complete("All of it.")
    assert (talk.answer.state, talk.answer.content) == (MessageState.COMPLETE, "All of it.")
    assert (talk.state.outcome, talk.state.retryable) == (MessageState.COMPLETE, None)
    assert (talk.queue, talk.held()) == (["b"], Hold.STOPPED)


@pytest.mark.parametrize("end", [failed, lost])
def test_a_fault_while_it_is_being_stopped_is_a_stop(end: Callable[[Run], Event]) -> None:
    talk = Talk()
    talk.send("a", "b")
    talk.stop()
    talk.take(end(talk.run))
    assert (talk.answer.state, talk.answer.failure) == (MessageState.INTERRUPTED, None)
    assert talk.held() is Hold.STOPPED
    assert talk.orders() == ()


@pytest.mark.parametrize("event", [started, delayed])
def test_a_performer_that_begins_while_its_run_is_being_stopped_is_told_so(event: Callable[[Run], Event]) -> None:
    talk = Talk()
    talk.send("a")
    talk.stop()
    assert talk.refused(event(talk.run)) is Refusal.LATE


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_message_sent_after_stop_and_before_the_end_goes_first_and_the_rest_stays_held(delivery: Delivery) -> None:
    talk = Talk()
    talk.send("a", "b")
    talk.stop()
    talk.send("new", delivery=delivery)
    talk.end_cancelled()
    assert talk.asked == ["a", "new"]
    assert (talk.queue, talk.held()) == (["b"], Hold.STOPPED)


def test_stop_after_such_a_message_holds_it_as_well() -> None:
    talk = Talk()
    talk.send("a", "b")
    talk.stop()
    talk.send("new")
    talk.stop()
    assert talk.orders() == ()
    talk.end_cancelled()
    assert (talk.queue, talk.held()) == (["new", "b"], Hold.STOPPED)


def test_an_answer_that_was_cancelled_without_a_wish_counts_as_stopped() -> None:
    talk = Talk()
    talk.send("a", "b")
    talk.end_cancelled()
    assert (talk.queue, talk.held()) == (["b"], Hold.STOPPED)
    assert talk.state.retryable == message_id("a")
