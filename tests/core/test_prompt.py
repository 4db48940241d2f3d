from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from chat.core.calls import Choice, ToolCall
from chat.core.ids import MessageId
from chat.core.messages import Message, Role
from chat.core.orders import NEVER_RESULT, STOPPED_RESULT, UNKNOWN_RESULT
from chat.core.prompt import EDITED_NOTE, FAILED_NOTE, STOPPED_NOTE, PromptCall, PromptMessage, build
from tests.core.talk import Talk, proposal
from tests.core.test_tool_calls import ASK, AUTO, BROKEN, NEVER, asked, running
from tests.core.turns import calls_by_answer, in_order, malformed
from tests.core.wandering import wander
from tests.core.world import World


def prompt_of(talk: Talk, instructions: str = "") -> list[tuple[str, str]]:
    """What is sent for the newest answer, as roles and words."""
    return [
        (line.role, line.content)
        for line in build(
            in_order(talk.ledger.messages),
            calls_by_answer(talk.ledger.calls),
            instructions=instructions,
            answer_id=talk.answer.message_id,
        )
    ]


def test_the_first_prompt_is_the_instructions_and_the_message() -> None:
    talk = Talk()
    talk.send("hello")
    assert prompt_of(talk, "Be brief.") == [("system", "Be brief."), ("user", "hello")]
    assert prompt_of(talk) == [("user", "hello")]


def test_earlier_turns_come_first_and_what_waits_does_not_come() -> None:
    talk = Talk()
    talk.send("a", "b", "c")
    talk.complete("one")
    assert prompt_of(talk) == [("user", "a"), ("assistant", "one"), ("user", "b")]


def test_a_stopped_answer_is_sent_as_far_as_it_came_with_a_note() -> None:
    talk = Talk()
    talk.send("a")
    talk.stop()
    talk.end_cancelled("An ans")
    talk.send("b")
    assert prompt_of(talk)[1] == ("assistant", f"An ans\n\n{STOPPED_NOTE}")


def test_an_answer_stopped_before_its_first_token_still_takes_its_turn() -> None:
    talk = Talk()
    talk.send("a")
    talk.stop()
    talk.end_cancelled("")
    talk.send("b")
    assert prompt_of(talk) == [("user", "a"), ("assistant", STOPPED_NOTE), ("user", "b")]


def test_a_failed_answer_is_sent_with_a_note_but_not_with_its_fault() -> None:
    talk = Talk()
    talk.send("a")
    talk.fail()
    talk.send("b")
    assert prompt_of(talk)[1] == ("assistant", f"An a\n\n{FAILED_NOTE}")


def test_a_retry_asks_anew_without_the_earlier_try() -> None:
    talk = Talk()
    talk.send("a")
    talk.complete("one")
    talk.send("b")
    talk.fail()
    talk.retry()
    assert prompt_of(talk) == [("user", "a"), ("assistant", "one"), ("user", "b")]
    talk.complete("two")
    talk.send("c")
    assert prompt_of(talk)[2:] == [("user", "b"), ("assistant", "two"), ("user", "c")]


def test_the_answer_of_a_performer_that_was_lost_is_not_its_own_prompt() -> None:
    talk = Talk()
    talk.send("a")
    talk.lose()
    assert prompt_of(talk) == [("user", "a")]


@pytest.mark.parametrize("seed", range(100))
def test_whatever_happened_the_prompt_of_each_answer_is_well_formed(seed: int) -> None:
    world = World()
    world.start()
    wander(world, Random(seed), steps=80)
    transcript, calls = in_order(world.ledger.messages), calls_by_answer(world.ledger.calls)
    for answer in transcript:
        if answer.role is Role.ASSISTANT:
            check_turns(transcript, calls, answer)


def check_turns(transcript: list[Message], calls: dict[MessageId, list[ToolCall]], answer: Message) -> None:
    before = [message for message in transcript if message.position < answer.position]
    known = {message.message_id for message in before}
    # At the time of this answer there were no later calls.
    then = {key: made for key, made in calls.items() if key in known}
    prompt = build(transcript, then, instructions="Be brief.", answer_id=answer.message_id)
    assert malformed(prompt) == []
    assert prompt[0].role == "system"
    asked = next(message for message in transcript if message.message_id == answer.answering)
    assert asked.content in "\n".join([line.content for line in prompt if line.role == "user"])
    said = {call.call_id for line in prompt for call in line.calls}
    wanted = {
        str(call.call_id)
        for message in before
        for call in then.get(message.message_id, ())
        if message.run_id == answer.run_id
    }
    assert wanted <= said


# Tool calls


def lines_of(talk: Talk) -> tuple[PromptMessage, ...]:
    return build(
        in_order(talk.ledger.messages),
        calls_by_answer(talk.ledger.calls),
        instructions="",
        answer_id=talk.answer.message_id,
    )


def result_of(talk: Talk) -> str:
    """What the model is told of the newest call."""
    lines = lines_of(talk)
    assert malformed(lines) == []
    [result] = [line.content for line in lines if line.call_id == str(talk.call().call_id)]
    return result


def test_a_call_is_followed_by_its_result() -> None:
    talk = running()
    talk.end_call(result="42")
    name = str(talk.call().call_id)
    assert lines_of(talk) == (
        PromptMessage(role="user", content="a"),
        PromptMessage(
            role="assistant",
            content="Let me see.",
            calls=(PromptCall(call_id=name, name="do", arguments='{"n":1}'),),
        ),
        PromptMessage(role="tool", content="42", call_id=name),
    )


def test_calls_without_words_need_none() -> None:
    talk = Talk()
    talk.send("a")
    talk.make_calls(AUTO, text="")
    talk.claim()
    talk.end_call()
    assert lines_of(talk)[1].content == ""


def test_the_results_of_several_calls_come_in_their_order_whatever_became_of_each() -> None:
    talk = asked(ASK, AUTO, BROKEN, NEVER, ASK, AUTO)
    talk.claim(2)
    talk.end_call(2, "failed", "It broke.")
    talk.reject(5, "Not now.")
    talk.claim(6)
    talk.lose_call(6)
    talk.resolve(Choice.CONTINUE, 6)
    talk.approve(1)
    talk.claim(1)
    talk.end_call(1, result="yes")
    lines = lines_of(talk)
    assert malformed(lines) == []
    assert [line.content for line in lines if line.role == "tool"] == [
        "yes",
        "It broke.",
        BROKEN.problem,
        NEVER_RESULT,
        "The user rejected this call. Their reason: Not now.",
        UNKNOWN_RESULT,
    ]
    assert [call.call_id for call in lines[1].calls] == [line.call_id for line in lines if line.role == "tool"]


def stopped_while_asked() -> Talk:
    talk = asked()
    talk.stop()
    return talk


def stopped_while_running() -> Talk:
    talk = running()
    talk.stop()
    talk.end_call(1, "stopped", STOPPED_RESULT)
    return talk


def stopped_at_the_very_end() -> Talk:
    talk = Talk()
    talk.send("a")
    talk.stop()
    talk.make_calls(AUTO)
    return talk


def lost_while_stopping() -> Talk:
    talk = running()
    talk.stop()
    talk.lose_call()
    return talk


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (stopped_while_asked, STOPPED_RESULT),
        (stopped_while_running, STOPPED_RESULT),
        (stopped_at_the_very_end, STOPPED_RESULT),
        (lost_while_stopping, UNKNOWN_RESULT),
    ],
)
def test_the_next_turn_sees_what_became_of_a_call_that_was_stopped(make: Callable[[], Talk], told: str) -> None:
    talk = make()
    talk.send("b")
    assert result_of(talk) == told
    assert lines_of(talk)[-1] == PromptMessage(role="user", content="b")


@pytest.mark.parametrize("written", ["", "{", "[1]", "7", "null", "not JSON", '{"a":', "[" * 100_000, "9" * 5_000])
def test_arguments_that_are_no_object_are_sent_as_an_empty_one_with_the_reason_as_their_result(written: str) -> None:
    talk = asked(proposal(arguments=written, problem="They do not fit."))
    assert lines_of(talk)[1].calls[0].arguments == "{}"
    assert result_of(talk) == "They do not fit."


def test_arguments_that_do_not_fit_are_sent_as_they_were_when_they_are_an_object() -> None:
    talk = asked(proposal(arguments='{"n":"x"}', problem="They do not fit."))
    assert lines_of(talk)[1].calls[0].arguments == '{"n":"x"}'


def test_the_model_is_told_that_a_person_changed_the_arguments() -> None:
    talk = asked()
    talk.approve(arguments='{"n":2}')
    talk.claim()
    talk.end_call(result="four")
    assert result_of(talk) == f"{EDITED_NOTE}\nfour"
    assert lines_of(talk)[1].calls[0].arguments == '{"n":2}'


def test_the_same_arguments_written_otherwise_are_no_change() -> None:
    talk = asked(proposal(arguments='{"n": 1,  "m": "é"}'))
    talk.approve(arguments='{"m":"\\u00e9","n":1}')
    talk.claim()
    talk.end_call(result="two")
    assert result_of(talk) == "two"


def test_calls_of_an_earlier_try_are_left_out_with_it() -> None:
    talk = asked()
    talk.stop()
    talk.retry()
    assert prompt_of(talk) == [("user", "a")]


def test_messages_that_joined_come_after_the_results_as_one_turn() -> None:
    talk = running()
    talk.steer("s")
    talk.steer("t")
    talk.end_call()
    assert [role for role, _ in prompt_of(talk)] == ["user", "assistant", "tool", "user"]
    assert prompt_of(talk)[-1] == ("user", "s\n\nt")


def test_a_retry_after_a_message_joined_asks_both_at_once() -> None:
    talk = running()
    talk.steer("s")
    talk.end_call()
    talk.fail()
    talk.retry()
    assert prompt_of(talk) == [("user", "a\n\ns")]
