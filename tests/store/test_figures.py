"""What is counted as it happens is what the rows say afterwards."""

from __future__ import annotations

import pytest

from chat import metrics, models
from tests.admin.staff import busy
from tests.store.kept import Kept, make_user

ENDED = ("succeeded", "failed", "rejected", "stopped", "unknown")


def figure(name: str, **labels: str) -> float:
    return metrics.REGISTRY.get_sample_value(f"agentsite_{name}", labels) or 0.0


def figures() -> dict[str, float]:
    answers = {state: figure("answers_total", state=state, fault="") for state in ("complete", "interrupted")}
    answers["failed"] = sum(
        sample.value
        for metric in metrics.REGISTRY.collect()
        for sample in metric.samples
        if sample.name == "agentsite_answers_total" and sample.labels["state"] == "failed"
    )
    return {
        **answers,
        **{f"call {state}": figure("tool_calls_total", state=state) for state in ENDED},
        "prompt": figure("tokens_total", kind="prompt"),
        "completion": figure("tokens_total", kind="completion"),
    }


@pytest.mark.django_db
def test_answers_calls_and_tokens_are_counted_once_each() -> None:
    kept = Kept(make_user())
    before, seqs = figures(), {kept.row.seq}
    for _ in busy(kept, 10):
        assert kept.announcement.seq not in seqs
        seqs.add(kept.announcement.seq)
        metrics.count(kept.announcement)
    counted = {name: value - before[name] for name, value in figures().items()}
    answers = models.Message.objects.filter(conversation=kept.row, role="assistant")
    states = [*answers.values_list("state", flat=True)]
    calls = [*models.ToolCall.objects.filter(conversation=kept.row).values_list("state", flat=True)]
    assert len(states) > 10
    assert len(calls) > 5
    assert counted == {
        **{state: states.count(state) for state in ("complete", "interrupted", "failed")},
        **{f"call {state}": calls.count(state) for state in ENDED},
        "prompt": kept.row.prompt_tokens,
        "completion": kept.row.completion_tokens,
    }
