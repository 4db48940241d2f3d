"""Figures: each counts what it says, and no label holds what anybody said."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from chat import metrics
from chat.core.announcement import Announcement
from chat.core.ids import ConversationId
from tests.core import talk as talks
from tests.core.talk import Talk


def figure(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(f"agentsite_{name}", labels) or 0.0


def tell(talk: Talk, event_type: str, *, seq: int = 1) -> None:
    told = Announcement(
        user_id=1,
        seq=seq,
        event_type=event_type,
        state=talk.state,
        messages=talk.messages,
        calls=tuple(talk.ledger.calls.values()),
    )
    metrics.count(told)
    metrics.watch(told)


@pytest.fixture
def before() -> dict[str, float]:
    """Figures before the test; the registry is the process's."""
    return {name: figure(name) for name in ("first_token_seconds_count", "answer_seconds_count", "stop_seconds_count")}


def test_an_answer_counts_with_its_state_tokens_and_times(before: dict[str, float]) -> None:
    answers, tokens = figure("answers_total", state="complete", fault=""), figure("tokens_total", kind="completion")
    talk = Talk()
    talk.send("a")
    took = replace(talks.TOOK, completion_tokens=7, first_token_ms=20, total_ms=900)
    talk.take(replace(talks.completed(talk.run, "secret words"), telemetry=took))
    tell(talk, "llm_response_completed")
    assert figure("answers_total", state="complete", fault="") == answers + 1
    assert figure("tokens_total", kind="completion") == tokens + 7
    assert figure("first_token_seconds_count") == before["first_token_seconds_count"] + 1
    assert figure("answer_seconds_count") == before["answer_seconds_count"] + 1
    assert b"secret words" not in metrics.text()


def test_a_stop_lasts_until_its_run_has_ended_wherever_that_was(before: dict[str, float]) -> None:
    talk = Talk()
    talk.send("a")
    talk.take(talks.stopped(None))
    tell(talk, "stop_requested")
    assert figure("stop_seconds_count") == before["stop_seconds_count"]
    talk.take(talks.interrupted(talk.run))
    other = replace(talk.state, conversation_id=ConversationId(UUID(int=3)))
    metrics.watch(Announcement(user_id=1, seq=2, event_type="x", state=other, messages=()))
    assert figure("stop_seconds_count") == before["stop_seconds_count"]
    metrics.watch(Announcement(user_id=1, seq=2, event_type="x", state=talk.state, messages=()))
    assert figure("stop_seconds_count") == before["stop_seconds_count"] + 1


def test_a_gauge_is_read_when_it_is_asked_for_by_whoever_came_last() -> None:
    values = [1.0]
    metrics.gauge("of_a_test", "A figure.", lambda: 99.0)
    metrics.gauge("of_a_test", "A figure.", lambda: values[0])
    assert figure("of_a_test") == 1.0
    values[0] = 2.0
    assert figure("of_a_test") == 2.0
