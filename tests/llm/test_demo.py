from __future__ import annotations

import time

import pytest

from chat.core.prompt import PromptMessage
from chat.llm import demo
from chat.llm.port import Chunk, ModelFault
from chat.llm.scripted_steps import Pause, Refuse, Say, ScriptedRequest, Step, tokens
from tests.llm.asking import World, collect, end_of, text_of


def steps_for(question: str) -> tuple[Step, ...]:
    messages = [{"role": "user", "content": "long"}, {"role": "assistant", "content": "code"}]
    messages.append({"role": "user", "content": question})
    request = ScriptedRequest(number=0, body={"messages": messages}, headers={}, client_port=1, arrived_at_s=0.0)
    steps = tuple(demo.demo_script(request))
    assert steps == tuple(demo.demo_script(request))
    return steps


def text_for(question: str) -> str:
    return "".join(step.text for step in steps_for(question) if isinstance(step, Say))


@pytest.mark.parametrize(
    "question", ["Hello!", "short", "long", "code", "a table", "MATH", "fail", "What is rain?", ""]
)
def test_every_answer_says_that_a_demo_answers(question: str) -> None:
    assert "demo model" in text_for(question)


@pytest.mark.parametrize("question", ["Hello!", "Hi", "What is rain?"])
def test_a_newcomer_is_told_how_to_connect_a_real_model_and_what_can_be_asked(question: str) -> None:
    text = " ".join(text_for(question).split())
    assert "set `OPENAI_API_KEY` (or `OPENAI_BASE_URL`" in text
    assert "`.env` and restart" in text
    for word in ("short", "long", "code", "table", "math", "fail", "rate limit"):
        assert f"**{word}**" in text


def test_the_long_answer_is_long_and_has_every_kind_of_markdown() -> None:
    text = text_for("Tell me a long story with code")
    assert len(tokens(text)) > 400
    for part in ("\n## ", "\n1. ", "\n- ", "\n> ", "```python\n", "\n|:--|", "$$"):
        assert part in text


def test_the_short_answer_is_short() -> None:
    assert len(tokens(text_for("A short answer, please"))) < 30


def test_a_question_that_it_can_not_answer_is_quoted_and_cut() -> None:
    assert "> What is rain?\n" in text_for("What\nis   rain?")
    assert f"> {'x' * 199}…\n" in text_for("x" * 1_000)


def test_words_inside_of_other_words_are_not_meant() -> None:
    assert text_for("Is this stable, unfailing, decoded?").startswith("You wrote:")


@pytest.mark.parametrize("question", ["Hello!", "long", "What is rain?"])
def test_it_speaks_at_a_human_pace(question: str) -> None:
    pause, say = steps_for(question)
    assert pause == Pause(seconds=0.3)
    assert isinstance(say, Say)
    assert 30 <= 1 / say.delay_s <= 50


def test_a_rate_limit_is_refused_with_a_delay() -> None:
    (refusal,) = steps_for("rate limit")
    assert isinstance(refusal, Refuse)
    assert refusal.status == 429
    assert refusal.headers == (("retry-after", "2"),)


async def test_the_demo_is_reached_through_the_real_adapter(world: World) -> None:
    world.server.script = demo.demo_script
    chunks: list[Chunk] = []
    asked_at_s = time.monotonic()
    await collect(world.model(), chunks, (PromptMessage(role="user", content="short"),))
    assert text_of(chunks) == demo.SHORT
    assert end_of(chunks).finish_reason == "stop"
    first_byte_at_s = world.server.exchanges[0].first_byte_at_s
    assert first_byte_at_s is not None
    assert first_byte_at_s - asked_at_s >= demo.FIRST_TOKEN_S


async def test_its_failures_are_real_ones(world: World) -> None:
    chunks: list[Chunk] = []
    error = await world.failure(*(faster(step) for step in steps_for("fail")), chunks=chunks)
    assert error.fault is ModelFault.UNAVAILABLE
    assert demo.FAILURE in error.words
    assert text_of(chunks) == demo.BEFORE_FAILURE.rstrip()
    error = await world.failure(*steps_for("rate limit"))
    assert error.fault is ModelFault.RATE_LIMIT
    assert error.retry_after_s == 2


def faster(step: Step) -> Step:
    return Say(text=step.text) if isinstance(step, Say) else step
