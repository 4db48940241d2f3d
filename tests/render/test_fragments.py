"""What the pieces of the page say of a message."""

from __future__ import annotations

import uuid

import pytest

from chat.core.ids import MessageId
from chat.core.messages import Message, MessageState, Role
from chat.render import fragments


def an_answer(content: str = "", state: MessageState = MessageState.COMPLETE) -> Message:
    return Message(
        message_id=MessageId(uuid.uuid4()),
        position=2,
        role=Role.ASSISTANT,
        state=state,
        content=content,
        created_at_ms=0,
        ended_at_ms=None,
    )


@pytest.mark.parametrize("content", ["", " \n"])
def test_an_answer_without_any_text_says_that_it_was_empty(content: str) -> None:
    for shown in (fragments.message, fragments.message_end):
        assert "The response was empty." in shown(an_answer(content), conversation_id=uuid.uuid4())


@pytest.mark.parametrize("state", [state for state in MessageState if state is not MessageState.COMPLETE])
def test_an_answer_that_may_still_have_a_text_or_ended_otherwise_does_not(state: MessageState) -> None:
    assert "was empty" not in fragments.message(an_answer(state=state), conversation_id=uuid.uuid4())


def test_an_answer_that_made_calls_or_has_a_text_does_not() -> None:
    for shown in (fragments.message, fragments.message_end):
        assert "was empty" not in shown(an_answer(), conversation_id=uuid.uuid4(), made_calls=True)
        assert "was empty" not in shown(an_answer("Yes."), conversation_id=uuid.uuid4())
