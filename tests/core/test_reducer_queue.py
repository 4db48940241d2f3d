"""What waits, what is held, and what is tried again. Each step is also held against all invariants by `Talk`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from chat.core.events import (
    RetryRequested,
)
from chat.core.ids import run_id
from chat.core.messages import Delivery, MessageState
from chat.core.state import Hold, Idle, Refusal
from tests.core.talk import (
    CONVERSATION_ID,
    FAILURE,
    NOW_MS,
    Talk,
    held_after_failure,
    held_after_stop,
    message_id,
)

DELIVERIES = list(Delivery)


# A held queue


HELD = [held_after_stop, held_after_failure]


def test_a_failure_holds_the_queue_and_keeps_the_reason() -> None:
    talk = held_after_failure()
    assert (talk.queue, talk.held()) == (["b", "c"], Hold.FAILED)
    assert (talk.answer.state, talk.answer.content, talk.answer.failure) == (MessageState.FAILED, "An a", FAILURE)
    assert (talk.state.outcome, talk.state.retryable) == (MessageState.FAILED, message_id("a"))


@pytest.mark.parametrize("held", HELD)
def test_resume_lets_a_held_queue_go_on_in_order(held: Callable[[], Talk]) -> None:
    talk = held()
    talk.resume()
    assert (talk.asked, talk.queue, talk.held()) == (["a", "b"], ["c"], None)
    assert talk.state.retryable is None
    talk.complete()
    assert talk.asked == ["a", "b", "c"]


@pytest.mark.parametrize("held", HELD)
@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_new_message_goes_before_a_held_queue_which_stays_held(held: Callable[[], Talk], delivery: Delivery) -> None:
    talk = held()
    hold = talk.held()
    talk.send("new", delivery=delivery)
    assert (talk.asked, talk.queue, talk.held()) == (["a", "new"], ["b", "c"], hold)
    talk.complete()
    assert (talk.phase(), talk.queue, talk.held()) == (Idle(), ["b", "c"], hold)


@pytest.mark.parametrize("held", HELD)
def test_a_message_that_steers_beside_a_held_queue_goes_after_the_answer(held: Callable[[], Talk]) -> None:
    talk = held()
    talk.send("new")
    talk.steer("more")
    talk.complete()
    assert (talk.asked, talk.queue) == (["a", "new", "more"], ["b", "c"])


def test_a_message_that_steers_behind_held_ones_is_held_with_them_once_the_run_is_over() -> None:
    talk = held_after_stop()
    talk.send("new")
    talk.steer("more")
    talk.move("more", 2)
    talk.complete()
    assert (talk.phase(), talk.queue) == (Idle(), ["b", "c", "more"])
    talk.remove("b")
    talk.remove("c")
    assert (talk.phase(), talk.queue, talk.held()) == (Idle(), ["more"], Hold.STOPPED)


def test_clearing_or_emptying_a_held_queue_ends_the_hold() -> None:
    talk = held_after_stop()
    talk.clear()
    assert (talk.queue, talk.held()) == ([], None)
    talk = held_after_failure()
    talk.remove("b")
    assert talk.held() is Hold.FAILED
    talk.remove("c")
    assert (talk.queue, talk.held()) == ([], None)


def test_resume_while_a_new_message_is_answered_lets_the_queue_go_on_after_it() -> None:
    talk = held_after_stop()
    talk.send("new")
    talk.resume()
    assert talk.orders() == ()
    talk.complete()
    assert talk.asked == ["a", "new", "b"]


@pytest.mark.parametrize("held", HELD)
def test_held_messages_can_be_edited_moved_and_removed_and_stay_held(held: Callable[[], Talk]) -> None:
    talk = held()
    talk.hold("b")
    talk.edit("b", "better")
    talk.move("c", 0)
    assert (talk.phase(), talk.queue) == (Idle(), ["c", "better"])
    talk.remove("c")
    assert (talk.phase(), talk.queue) == (Idle(), ["better"])


# Retry


def test_retry_after_stop_asks_again_and_leaves_the_queue_held() -> None:
    talk = held_after_stop()
    talk.retry()
    assert (talk.run.answering, talk.run.run_id) == (message_id("a"), run_id(CONVERSATION_ID, 2))
    assert (talk.asked, talk.queue, talk.held()) == (["a"], ["b", "c"], Hold.STOPPED)
    talk.complete()
    assert (talk.phase(), talk.queue) == (Idle(), ["b", "c"])


def test_retry_after_a_failure_lets_the_queue_go_on_once_it_has_worked() -> None:
    talk = held_after_failure()
    talk.retry()
    assert (talk.run.answering, talk.queue, talk.held()) == (message_id("a"), ["b", "c"], None)
    talk.complete()
    assert talk.asked == ["a", "b"]


def test_retry_that_fails_as_well_holds_the_queue_again_and_can_be_tried_once_more() -> None:
    talk = held_after_failure()
    talk.retry()
    talk.fail()
    assert (talk.queue, talk.held(), talk.state.retryable) == (["b", "c"], Hold.FAILED, message_id("a"))


def test_retry_after_a_failure_does_not_let_go_what_stop_held() -> None:
    talk = held_after_stop()
    talk.send("new")
    talk.fail()
    assert talk.held() is Hold.STOPPED
    talk.retry()
    talk.complete()
    assert (talk.phase(), talk.queue, talk.held()) == (Idle(), ["b", "c"], Hold.STOPPED)


def test_the_first_try_stays_in_the_transcript_beside_the_second() -> None:
    talk = held_after_stop()
    talk.retry()
    talk.complete("All of it.")
    answers = [message for message in talk.ledger.messages.values() if message.answering == message_id("a")]
    assert [(answer.state, answer.content, answer.position) for answer in answers] == [
        (MessageState.INTERRUPTED, "An ans", 2),
        (MessageState.COMPLETE, "All of it.", 3),
    ]


def test_a_new_message_ends_what_could_be_tried_again() -> None:
    talk = held_after_failure()
    talk.send("new")
    assert talk.state.retryable is None
    talk.complete()
    assert talk.refused(RetryRequested(at_ms=NOW_MS)) is Refusal.NOTHING_TO_RETRY


# What waits


def test_a_waiting_message_can_be_edited_and_goes_with_its_new_words() -> None:
    talk = Talk()
    talk.send("a", "b")
    talk.edit("b", "better")
    talk.complete()
    assert talk.asked == ["a", "better"]


def test_a_message_that_is_being_edited_holds_itself_and_what_waits_behind_it() -> None:
    talk = Talk()
    talk.send("a", "b", "c")
    talk.hold("b")
    talk.complete()
    assert (talk.phase(), talk.queue, talk.held()) == (Idle(), ["b", "c"], None)
    talk.edit("b", "better")
    assert (talk.asked, talk.queue) == (["a", "better"], ["c"])


def test_leaving_off_an_edit_without_a_change_lets_the_message_go() -> None:
    talk = Talk()
    talk.send("a", "b")
    talk.hold("b")
    talk.complete()
    talk.hold("b", is_held=False)
    assert talk.asked == ["a", "b"]


def test_a_new_message_goes_before_one_that_is_being_edited() -> None:
    talk = Talk()
    talk.send("a", "b")
    talk.hold("b")
    talk.complete()
    talk.send("c")
    assert (talk.asked, talk.queue) == (["a", "c"], ["b"])


def test_removing_or_moving_the_message_that_is_being_edited_lets_the_others_go() -> None:
    talk = Talk()
    talk.send("a", "b", "c")
    talk.hold("b")
    talk.complete()
    talk.move("b", 1)
    assert (talk.asked, talk.queue) == (["a", "c"], ["b"])
    talk.complete()
    talk.remove("b")
    assert (talk.phase(), talk.queue) == (Idle(), [])


@pytest.mark.parametrize(
    ("name", "position", "expected"),
    [
        ("b", 0, ["b", "c", "d"]),
        ("b", 1, ["c", "b", "d"]),
        ("b", 2, ["c", "d", "b"]),
        ("b", 3, ["c", "d", "b"]),
        ("d", 0, ["d", "b", "c"]),
        ("d", 999, ["b", "c", "d"]),
    ],
)
def test_a_waiting_message_moves_to_its_new_place(name: str, position: int, expected: list[str]) -> None:
    talk = Talk()
    talk.send("a", "b", "c", "d")
    talk.move(name, position)
    assert talk.queue == expected


def test_removed_and_cleared_messages_are_never_asked() -> None:
    talk = Talk()
    talk.send("a", "b", "c", "d")
    talk.remove("c")
    assert talk.queue == ["b", "d"]
    talk.clear()
    talk.complete()
    assert (talk.asked, talk.phase()) == (["a"], Idle())
