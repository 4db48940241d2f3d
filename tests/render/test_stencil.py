"""What is filled in looks as Django's engine would have made it."""

from __future__ import annotations

import uuid
from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from django.template.loader import get_template

from chat.core.ids import MessageId
from chat.core.messages import Failure, Message, MessageState, Role, Telemetry
from chat.render import fragments, stencil
from chat.render.fragments import Drawn
from chat.render.stencil import SHAPES_KEPT, Stencil

HOSTILE = ("", "words", "<b>&amp;'\"</b>", "{{ message.id }}", "id", "\0")
TOOK = Telemetry(model="<m>", prompt_tokens=3, first_token_ms=20, notice="N <i>", finish_reason="length")


def a_message(**facts: Any) -> Message:
    facts = {"role": Role.USER, "state": MessageState.COMPLETE, "content": "text", **facts}
    return Message(
        message_id=MessageId(uuid.uuid4()),
        position=1_234,
        created_at_ms=1_700_000_000_000,
        ended_at_ms=None,
        **facts,
    )


def engine(template: str, value: Message, text: Drawn | None, conversation_id: uuid.UUID, oob: str) -> str:
    shown = fragments.message_context(value, text)
    context = {"message": shown, "conversation": {"id": conversation_id}, "oob": oob}
    return str(get_template(template).render(context))


@pytest.mark.parametrize("oob", ["", "upsert:#messages"])
@pytest.mark.parametrize("state", MessageState)
@pytest.mark.parametrize("words", HOSTILE)
def test_a_message_is_what_the_engine_makes_of_it(words: str, state: MessageState, oob: str) -> None:
    conversation_id = uuid.uuid4()
    failure = Failure(fault="timeout", words=words) if state is MessageState.FAILED else None
    for role, took, reasoning in product(Role, (Telemetry(), TOOK), HOSTILE):
        value = a_message(role=role, state=state, content=words, reasoning=reasoning, telemetry=took, failure=failure)
        text = Drawn(settled=f"<p>{reasoning and 'p'}</p>", tail=words and "<i>tail</i>")
        made = fragments.message(value, conversation_id=conversation_id, text=text, oob=oob)
        assert made == engine("chat/message.html", value, text, conversation_id, oob)


def test_the_end_of_a_message_is_what_the_engine_makes_of_it() -> None:
    conversation_id = uuid.uuid4()
    for number in range(3):
        value = a_message(role=Role.ASSISTANT, telemetry=replace(TOOK, total_ms=number))
        foot = engine("chat/message_foot.html", value, None, conversation_id, "true")
        assert fragments.message_end(value, conversation_id=conversation_id).endswith(foot)


@pytest.mark.parametrize(("title", "agent"), [(title, agent) for title in HOSTILE for agent in HOSTILE])
@pytest.mark.parametrize("phase", ["idle", "generating", "awaiting_approval"])
def test_a_line_of_the_list_is_what_the_engine_makes_of_it(title: str, agent: str, phase: str) -> None:
    conversation_id = uuid.uuid4()
    shown = fragments.entry_context(conversation_id, title, phase, agent)
    made = fragments.entry(conversation_id, title, phase, agent, oob="true")
    assert made == get_template("chat/entry.html").render({"entry": shown, "oob": "true"})


def test_the_engine_is_asked_once_for_each_shape_and_forgets_when_there_are_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []

    def noted(name: str) -> object:
        asked.append(name)
        return get_template(name)

    monkeypatch.setattr(stencil, "get_template", noted)
    one = Stencil("chat/title.html")

    def fill(shape: int, title: str) -> str:
        return one.filled(shape, {"title": title}, lambda places: {"conversation": {"id": 1, **places}, "oob": "true"})

    assert "A title" in fill(0, "A title")
    assert "Another" in fill(0, "Another")
    assert len(asked) == 1
    fill(0, "")
    assert len(asked) == 2
    for shape in range(SHAPES_KEPT + 1):
        fill(shape, "A title")
    assert len(one._shapes) <= SHAPES_KEPT
