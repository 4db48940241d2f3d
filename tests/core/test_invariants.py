"""Each invariant reports what it is for: values that are wrong in exactly one way, and the words that it finds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from chat.core.effects import CancelRun, StartGeneration
from chat.core.events import (
    ConversationStarted,
    Event,
    GenerationCompleted,
    QueueItemEdited,
    QueueItemHeld,
    QueueItemRemoved,
    RetryRequested,
)
from chat.core.invariants import Ledger, of_state, of_transcript
from chat.core.messages import Delivery, Message, MessageState
from chat.core.reducer import step
from chat.core.state import Conversation, Generating, Hold, Idle, Refusal, Refused, Step, Stopping
from tests.core.talk import (
    ANALYST,
    CONVERSATION_ID,
    FAILURE,
    NOW_MS,
    Talk,
    completed,
    interrupted,
    message_id,
    sent,
    stopped,
)
from tests.core.world import FOREIGN_RUN


def idle_and_held() -> Talk:
    talk = Talk()
    talk.send("a", "b", "c")
    talk.stop()
    talk.end_cancelled()
    return talk


def busy() -> Talk:
    talk = Talk()
    talk.send("a", "b", "c")
    return talk


def with_queue(talk: Talk, **changes: Any) -> Conversation:
    first, *others = talk.state.queue
    return replace(talk.state, queue=(replace(first, **changes), *others))


def deleted_while(phase: type[Generating | Stopping]) -> Conversation:
    talk = busy()
    state = replace(talk.state, is_deleted=True)
    return state if phase is Generating else replace(state, phase=Stopping(run=talk.run, holds=False, next_id=None))


WRONG_STATES: dict[str, Callable[[], Conversation]] = {
    "a message waits twice": lambda: replace(busy().state, queue=busy().state.queue * 2),
    "an empty queue is held": lambda: replace(idle_and_held().state, queue=()),
    "nothing runs although a message could go": lambda: replace(idle_and_held().state, held=None),
    "a held message still wants to join or end a run that is over": lambda: with_queue(
        idle_and_held(), delivery=Delivery.STEER
    ),
    "the message that is being answered still waits": lambda: with_queue(busy(), message_id=message_id("a")),
    "the answer of the active run has ended": lambda: replace(
        busy().state,
        phase=Generating(run=replace(busy().run, answer=replace(busy().run.answer, state=MessageState.COMPLETE))),
    ),
    "there is something to retry while a run is active": lambda: replace(busy().state, retryable=message_id("a")),
    "an outcome is known while a run is active": lambda: replace(busy().state, outcome=MessageState.COMPLETE),
    "a deleted conversation will go on after the stop": lambda: deleted_while(Stopping),
    "a deleted conversation is being answered": lambda: deleted_while(Generating),
}


@pytest.mark.parametrize("words", WRONG_STATES)
def test_a_wrong_snapshot_is_reported(words: str) -> None:
    assert of_state(WRONG_STATES[words]()) == [words]


def test_right_snapshots_are_not_reported() -> None:
    assert of_state(idle_and_held().state) == []
    assert of_state(busy().state) == []
    assert of_state(Conversation(conversation_id=CONVERSATION_ID)) == []


def transcript(talk: Talk, **of_the_last: Any) -> dict[str, Message]:
    messages = sorted(talk.ledger.messages.values(), key=lambda message: message.position)
    messages[-1] = replace(messages[-1], **of_the_last)
    return {str(message.message_id): message for message in messages}


A, B = message_id("a"), message_id("b")
WRONG_TRANSCRIPTS: list[tuple[str, Callable[[], Talk], dict[str, Any]]] = [
    ("positions have gaps", idle_and_held, {"position": 3}),
    ("the messages that stream are not those of the active run", busy, {"state": MessageState.COMPLETE}),
    (f"message {B} is in the queue and in the transcript", busy, {"message_id": B}),
    ("failed without a reason, or has one without failing", idle_and_held, {"failure": FAILURE}),
    ("answers nothing", idle_and_held, {"answering": B}),
    ("the outcome is not that of the last answer", idle_and_held, {"state": MessageState.COMPLETE}),
    ("what can be tried again is not what the last answer left open", idle_and_held, {"answering": B}),
]


@pytest.mark.parametrize(("words", "make", "changes"), WRONG_TRANSCRIPTS)
def test_a_wrong_transcript_is_reported(words: str, make: Callable[[], Talk], changes: dict[str, Any]) -> None:
    talk = make()
    messages = {message.message_id: message for message in transcript(talk, **changes).values()}
    assert any(words in fault for fault in of_transcript(talk.state, messages, {}))


# What spans steps


def recorded(talk: Talk, event: Event, change: Callable[[Step], Step | Refused]) -> list[str]:
    """What the ledger says when a step does what `change` makes of it."""
    result = step(talk.state, event)
    assert isinstance(result, Step)
    return talk.ledger.record(talk.state, event, change(result))


def without_effects(result: Step) -> Step:
    return replace(result, effects=())


def test_another_agent_than_the_one_at_the_start_is_reported() -> None:
    wrong = "the conversation has another agent than it started with"
    start = ConversationStarted(conversation_id=CONVERSATION_ID, agent=ANALYST, at_ms=NOW_MS)
    forgetful = Step(state=Conversation(conversation_id=CONVERSATION_ID))
    assert Ledger().record(None, start, forgetful) == [wrong]
    talk = busy()
    changed = recorded(talk, stopped(None), lambda it: replace(it, state=replace(it.state, agent=ANALYST)))
    assert changed == [wrong]


def test_an_event_of_an_order_that_is_not_open_is_reported() -> None:
    talk = idle_and_held()
    late = interrupted(replace(busy().run, generation_no=1))
    assert any("which is not open" in words for words in talk.ledger.record(talk.state, late, Step(state=talk.state)))


def test_an_end_that_is_refused_is_reported() -> None:
    talk = busy()
    refused = Refused(code=Refusal.LATE, words="No.")
    assert talk.ledger.record(talk.state, completed(talk.run), refused) == ["the end of an open order was refused"]


def test_a_stop_that_is_refused_while_something_runs_is_reported() -> None:
    talk = busy()
    refused = Refused(code=Refusal.NOTHING_TO_STOP, words="No.")
    expected = ["Stop was refused while something ran"]
    assert talk.ledger.record(talk.state, stopped(None), refused) == expected
    assert talk.ledger.record(talk.state, stopped(talk.run.run_id), refused) == expected
    assert talk.ledger.record(talk.state, stopped(FOREIGN_RUN), refused) == []


def test_a_stop_of_another_run_that_is_taken_is_reported() -> None:
    talk = busy()
    result = step(talk.state, stopped(None))
    assert "Stop was taken for a run that is not active" in talk.ledger.record(talk.state, stopped(FOREIGN_RUN), result)


def test_two_open_orders_are_reported() -> None:
    talk = busy()
    second = StartGeneration(run_id=FOREIGN_RUN, generation_no=1, message_id=A)
    wrong = recorded(talk, sent("d"), lambda result: replace(result, effects=(second,)))
    assert wrong == ["two orders are open at once", "the open orders are not those of the active run"]


def test_an_order_that_is_given_twice_is_reported() -> None:
    talk = idle_and_held()
    old = StartGeneration(run_id=talk.answer.run_id or FOREIGN_RUN, generation_no=1, message_id=A)
    wrong = recorded(talk, RetryRequested(at_ms=NOW_MS), lambda result: replace(result, effects=(old,)))
    assert any("was given twice" in words for words in wrong)
    assert "a run that was cancelled came back to life" in wrong


def test_a_run_without_an_order_is_reported() -> None:
    wrong = recorded(idle_and_held(), RetryRequested(at_ms=NOW_MS), without_effects)
    assert wrong == ["the open orders are not those of the active run"]


def test_a_run_that_is_stopped_without_being_told_is_reported() -> None:
    wrong = recorded(busy(), stopped(None), without_effects)
    assert wrong == ["the run is being stopped and was not told so, or was told so and goes on"]


def test_the_cancelling_of_what_does_not_run_is_reported() -> None:
    foreign = CancelRun(run_id=FOREIGN_RUN)
    wrong = recorded(busy(), stopped(None), lambda result: replace(result, effects=(*result.effects, foreign)))
    assert wrong == ["a run was cancelled that does not run"]


def test_a_message_that_changes_after_its_end_is_reported() -> None:
    talk = idle_and_held()
    again = replace(talk.answer, content="Something else.")
    wrong = recorded(
        talk, RetryRequested(at_ms=NOW_MS), lambda result: replace(result, messages=(*result.messages, again))
    )
    assert wrong == [f"message {again.message_id} changed after it had ended"]


def test_a_message_without_a_fate_is_reported() -> None:
    wrong = recorded(
        busy(), sent("d"), lambda result: replace(result, state=replace(result.state, queue=result.state.queue[:2]))
    )
    assert wrong == [f"message {message_id('d')} has 0 fates instead of one"]


def test_a_message_with_two_fates_is_reported() -> None:
    talk = busy()
    gone = QueueItemRemoved(message_id=B, at_ms=NOW_MS)
    wrong = recorded(talk, gone, lambda result: replace(result, state=talk.state))
    assert wrong == [f"message {B} has 2 fates instead of one"]


def test_a_message_that_was_never_asked_is_reported() -> None:
    talk = Talk()
    wrong = recorded(
        talk,
        sent("a"),
        lambda result: Step(
            state=replace(result.state, phase=Idle(), message_count=1, run_count=0, outcome=MessageState.COMPLETE),
            messages=result.messages[:1],
        ),
    )
    assert wrong == [f"message {A} was never asked"]


def test_a_message_that_nobody_sent_is_reported() -> None:
    talk = busy()
    event = QueueItemHeld(message_id=B, is_held=True, at_ms=NOW_MS)
    wrong = recorded(
        talk,
        event,
        lambda result: replace(
            result,
            state=replace(
                result.state, queue=(*result.state.queue, replace(talk.state.queue[0], message_id=message_id("x")))
            ),
        ),
    )
    assert wrong[0] == "a message waits that nobody sent"


def test_words_that_nobody_wrote_are_reported() -> None:
    talk = busy()
    edit = QueueItemEdited(message_id=B, content="better", at_ms=NOW_MS)
    assert recorded(talk, edit, lambda result: replace(result, state=talk.state)) == [
        f"message {B} waits with words that nobody wrote"
    ]
    talk = busy()
    wrong = recorded(
        talk,
        completed(talk.run),
        lambda result: replace(
            result,
            messages=(result.messages[0], replace(result.messages[1], content="b\n\nc"), result.messages[2]),
        ),
    )
    assert wrong == [f"message {B} went with words that nobody wrote"]


def skipping(talk: Talk, *, to: Conversation) -> list[str]:
    """What the ledger says when the run's end is applied to another snapshot than the one before it."""
    event: GenerationCompleted = completed(talk.run)
    return talk.ledger.record(talk.state, event, step(to, event))


def test_a_message_that_goes_while_it_is_being_edited_is_reported() -> None:
    talk = busy()
    before = talk.state
    talk.hold("b")
    assert skipping(talk, to=before) == [f"message {B} went while a person had it open"]


def test_a_message_that_goes_out_of_turn_is_reported() -> None:
    talk = busy()
    turned = replace(talk.state, queue=talk.state.queue[::-1])
    assert skipping(talk, to=turned) == [f"message {message_id('c')} went before those ahead of it"]


@pytest.mark.parametrize("hold", Hold)
def test_a_held_message_that_goes_by_itself_is_reported(hold: Hold) -> None:
    talk = busy()
    if hold is Hold.STOPPED:
        talk.stop()
        talk.end_cancelled()
    else:
        talk.fail()
    talk.send("new")
    assert skipping(talk, to=replace(talk.state, held=None)) == [f"message {B} went although it was held"]
