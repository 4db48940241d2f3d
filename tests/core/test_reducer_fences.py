"""Names, deletion, lost performers, refusals. Each step is also held against all invariants by `Talk`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from chat.core.effects import CancelRun, StartGeneration
from chat.core.events import (
    ConversationDeleted,
    ConversationRenamed,
    ConversationRestored,
    ConversationStarted,
    Event,
    QueueCleared,
    QueueItemEdited,
    QueueItemHeld,
    QueueItemMoved,
    QueueItemRemoved,
    QueueResumed,
    RetryRequested,
)
from chat.core.ids import RunId, run_id
from chat.core.messages import MessageState
from chat.core.reducer import step
from chat.core.runs import LOST
from chat.core.state import Generating, Hold, Idle, Refusal, Refused, Run
from tests.core.talk import (
    CONVERSATION_ID,
    FAILURE,
    NOW_MS,
    Talk,
    completed,
    delayed,
    failed,
    held_after_failure,
    held_after_stop,
    interrupted,
    lost,
    message_id,
    sent,
    started,
    stopped,
)
from tests.core.world import FOREIGN_RUN

ENDS: list[Callable[[Run], Event]] = [completed, interrupted, failed, lost]
RUN_EVENTS: list[Callable[[Run], Event]] = [started, delayed, completed, interrupted, failed, lost]


# Name, deletion


def test_the_first_message_names_the_conversation_and_later_ones_do_not() -> None:
    talk = Talk()
    assert talk.state.title == ""
    talk.send("hello", "more")
    assert talk.state.title == "hello"


def test_a_name_that_a_person_gave_is_never_replaced() -> None:
    talk = Talk()
    talk.rename("Mine")
    talk.send("hello")
    assert talk.state.title == "Mine"
    talk.rename("")
    talk.send("more")
    assert talk.state.title == ""


def test_deletion_stops_what_runs_and_holds_what_waits() -> None:
    talk = Talk()
    talk.send("a", "b")
    talk.delete()
    assert talk.orders() == (CancelRun(run_id=talk.run.run_id),)
    talk.end_cancelled()
    assert (talk.phase(), talk.queue, talk.held()) == (Idle(), ["b"], Hold.STOPPED)
    talk.restore()
    assert talk.orders() == ()
    talk.resume()
    assert talk.asked == ["a", "b"]


def test_deletion_while_a_message_interrupts_lets_nothing_go_on() -> None:
    talk = Talk()
    talk.send("a")
    talk.interrupt("now")
    talk.delete()
    talk.end_cancelled()
    assert (talk.phase(), talk.queue) == (Idle(), ["now"])


def test_deleting_and_restoring_an_idle_conversation_changes_nothing_else() -> None:
    talk = held_after_failure()
    before = talk.state
    talk.delete()
    assert talk.state == replace(before, is_deleted=True)
    talk.restore()
    assert talk.state == before


def test_a_conversation_restored_before_its_run_has_ended_still_stops() -> None:
    talk = Talk()
    talk.send("a", "b")
    talk.delete()
    talk.restore()
    talk.end_cancelled()
    assert (talk.phase(), talk.queue, talk.held()) == (Idle(), ["b"], Hold.STOPPED)


# Back-off and lost performers


def test_back_off_is_shown_until_the_model_is_asked_again() -> None:
    talk = Talk()
    talk.send("a")
    talk.take(started(talk.run))
    talk.take(delayed(talk.run))
    phase = talk.phase()
    assert isinstance(phase, Generating)
    assert phase.delay is not None
    assert (phase.delay.attempt, phase.delay.failure, phase.delay.until_ms) == (1, FAILURE, NOW_MS + 2_000)
    talk.take(started(talk.run, attempt=2))
    assert talk.phase() == Generating(run=talk.run)


def test_a_lost_answer_is_asked_for_again_from_its_beginning() -> None:
    talk = Talk()
    talk.send("a", "b")
    answer = talk.run.answer
    talk.take(delayed(talk.run))
    talk.lose()
    assert talk.orders() == (StartGeneration(run_id=talk.run.run_id, generation_no=2, message_id=answer.message_id),)
    assert talk.messages == (answer,)
    assert talk.phase() == Generating(run=talk.run)
    assert talk.queue == ["b"]
    talk.complete()
    assert talk.asked == ["a", "b"]


def test_whoever_was_held_to_be_dead_is_not_heard_any_more() -> None:
    talk = Talk()
    talk.send("a")
    old = talk.run
    talk.lose()
    for event in RUN_EVENTS:
        assert talk.refused(event(old)) is Refusal.LATE


def test_an_answer_that_was_lost_too_often_fails_and_keeps_what_was_saved() -> None:
    talk = Talk()
    talk.send("a", "b")
    talk.lose(can_ask_again=False)
    assert (talk.answer.state, talk.answer.content, talk.answer.failure) == (MessageState.FAILED, "An", LOST)
    assert (talk.queue, talk.held(), talk.state.retryable) == (["b"], Hold.FAILED, message_id("a"))
    assert talk.orders() == ()


# What is refused


@pytest.mark.parametrize("event", RUN_EVENTS)
@pytest.mark.parametrize("is_stopping", [True, False])
def test_events_of_other_runs_and_orders_are_refused(event: Callable[[Run], Event], is_stopping: bool) -> None:
    talk = Talk()
    talk.send("a")
    over = talk.run
    talk.complete()
    assert talk.refused(event(over)) is Refusal.LATE
    talk.send("b")
    if is_stopping:
        talk.stop()
    assert talk.refused(event(over)) is Refusal.LATE
    assert talk.refused(event(replace(talk.run, run_id=FOREIGN_RUN))) is Refusal.LATE
    for generation_no in (0, 2, 7):
        assert talk.refused(event(replace(talk.run, generation_no=generation_no))) is Refusal.LATE


@pytest.mark.parametrize("end", ENDS)
def test_an_end_that_comes_twice_ends_nothing_twice(end: Callable[[Run], Event]) -> None:
    talk = Talk()
    talk.send("a")
    event = end(talk.run)
    talk.take(event)
    assert talk.refused(event) is Refusal.LATE


ON_THE_QUEUE: list[Event] = [
    QueueItemEdited(message_id=message_id("x"), content="words", at_ms=NOW_MS),
    QueueItemHeld(message_id=message_id("x"), is_held=True, at_ms=NOW_MS),
    QueueItemMoved(message_id=message_id("x"), position=0, at_ms=NOW_MS),
    QueueItemRemoved(message_id=message_id("x"), at_ms=NOW_MS),
]


@pytest.mark.parametrize("event", ON_THE_QUEUE)
def test_what_does_not_wait_can_not_be_changed(event: Event) -> None:
    talk = Talk()
    assert talk.refused(event) is Refusal.NOT_QUEUED
    talk.send("x")
    assert talk.refused(event) is Refusal.NOT_QUEUED
    talk.send("b")
    assert talk.refused(event) is Refusal.NOT_QUEUED


def test_wishes_that_are_fulfilled_already_are_refused() -> None:
    talk = Talk()
    talk.send("a", "b")
    assert talk.refused(ConversationRestored(at_ms=NOW_MS)) is Refusal.UNCHANGED
    let_go = QueueItemHeld(message_id=message_id("b"), is_held=False, at_ms=NOW_MS)
    assert talk.refused(let_go) is Refusal.UNCHANGED
    talk.hold("b")
    assert talk.refused(replace(let_go, is_held=True)) is Refusal.UNCHANGED


def test_there_is_nothing_to_stop_retry_resume_or_clear_in_a_new_conversation() -> None:
    talk = Talk()
    assert talk.refused(stopped(None)) is Refusal.NOTHING_TO_STOP
    assert talk.refused(RetryRequested(at_ms=NOW_MS)) is Refusal.NOTHING_TO_RETRY
    assert talk.refused(QueueResumed(at_ms=NOW_MS)) is Refusal.NOT_HELD
    assert talk.refused(QueueCleared(at_ms=NOW_MS)) is Refusal.NOTHING_QUEUED


@pytest.mark.parametrize("run", [FOREIGN_RUN, run_id(CONVERSATION_ID, 1)])
def test_stop_of_a_run_that_is_over_or_unknown_does_not_stop_the_next(run: RunId) -> None:
    talk = Talk()
    talk.send("a", "b")
    talk.complete()
    assert talk.refused(stopped(run)) is Refusal.NOTHING_TO_STOP


def test_nothing_is_tried_again_while_an_answer_is_on_its_way() -> None:
    talk = held_after_stop()
    talk.retry()
    assert talk.refused(RetryRequested(at_ms=NOW_MS)) is Refusal.BUSY
    talk.stop()
    assert talk.refused(RetryRequested(at_ms=NOW_MS)) is Refusal.BUSY


@pytest.mark.parametrize(
    "event",
    [
        sent("x"),
        stopped(None),
        RetryRequested(at_ms=NOW_MS),
        QueueResumed(at_ms=NOW_MS),
        QueueCleared(at_ms=NOW_MS),
        ConversationRenamed(title="x", at_ms=NOW_MS),
        ConversationDeleted(at_ms=NOW_MS),
        *ON_THE_QUEUE,
    ],
)
def test_a_deleted_conversation_takes_no_wish_but_to_be_restored(event: Event) -> None:
    talk = held_after_stop()
    talk.delete()
    assert talk.refused(event) is Refusal.GONE


def test_a_conversation_starts_once_and_before_all_else() -> None:
    start = ConversationStarted(conversation_id=CONVERSATION_ID, at_ms=NOW_MS)
    assert Talk().refused(start) is Refusal.LATE
    result = step(None, sent("a"))
    assert isinstance(result, Refused)
    assert result.code is Refusal.GONE
