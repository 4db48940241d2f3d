"""Agents: who may talk with whom, and that no change reaches what was said before."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db.models import ProtectedError

from chat import models
from chat.core.agents import AgentRef, Profile, strictest
from chat.core.calls import Policy
from chat.core.events import QueueResumed, RetryRequested
from chat.core.messages import Telemetry
from chat.core.state import Refusal, Refused
from chat.store import agents, reads, replay
from chat.store.agents import AgentChangedError, AgentMissingError
from chat.store.commits import Committed, start_conversation
from tests.core import talk
from tests.core.talk import NOW_MS
from tests.store.kept import Kept, make_user, sent

NOTHING_OWN = Profile(policies={}).digest
DAY_MS = 86_400_000

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def user_id() -> int:
    return make_user()


def make_agent(by_id: int, name: str = "Analyst", *, groups: tuple[Group, ...] = (), **said: Any) -> models.Agent:
    columns = {name: said.pop(name) for name in ("is_default", "is_enabled") if name in said}
    agent = models.Agent(name=name, **columns)
    agents.save(agent, said, by_id=by_id)
    agent.groups.set(groups)
    return agent


def started_with(user_id: int, agent: models.Agent | None = None) -> AgentRef | None:
    return start_conversation(user_id=user_id, at_ms=NOW_MS, agent_id=agent.pk if agent else None).state.agent


def test_without_any_agent_the_settings_say_all_of_it(user_id: int) -> None:
    kept = Kept(user_id)
    assert (kept.state.agent, kept.row.agent_version_id) == (None, None)
    assert agents.choices(user_id) == ()


def test_a_conversation_starts_with_whom_was_chosen_or_with_the_default(user_id: int) -> None:
    analyst, writer = make_agent(user_id, "Analyst"), make_agent(user_id, "Writer", is_default=True)
    assert [choice.name for choice in agents.choices(user_id)] == ["Writer", "Analyst"]
    assert started_with(user_id) == AgentRef(agent_id=writer.pk, version=1, name="Writer", digest=NOTHING_OWN)
    assert started_with(user_id, analyst) == AgentRef(
        agent_id=analyst.pk, version=1, name="Analyst", digest=NOTHING_OWN
    )


def test_a_change_is_a_version_for_those_who_start_after_it(user_id: int) -> None:
    agent = make_agent(user_id, instructions="Be brief.", policies={"execute_python": "never"})
    before = Kept(user_id)
    agents.save(agent, {"instructions": "Be long.", "model": "big"}, by_id=user_id)
    after = Kept(user_id)
    assert before.state.agent
    assert after.state.agent
    assert agents.profile(before.state.agent) == Profile(
        instructions="Be brief.", policies={"execute_python": Policy.NEVER}
    )
    assert agents.profile(after.state.agent) == Profile(model="big", instructions="Be long.", policies={})
    assert [version.number for version in agent.versions.all()] == [2, 1]
    assert [kept.row.agent_version and kept.row.agent_version.number for kept in (before, after)] == [1, 2]
    for kept in (before, after):
        assert replay.check(kept.conversation_id) == (1, [])


def test_a_row_that_names_another_agent_than_the_log_is_found(user_id: int) -> None:
    make_agent(user_id)
    kept = Kept(user_id)
    models.Conversation.objects.update(agent_version=None)
    assert replay.check(kept.conversation_id)[1] == ["the row has another agent than the log"]


CHANGES: tuple[dict[str, Any], ...] = (
    {"model": "other"},
    {"instructions": "Obey."},
    {"policies": {"execute_python": "auto"}},
    {"policies": {"execute_python": "no such"}},
    {"tool_rounds_max": 9},
    {"answer_timeout_s": 9},
    {"tokens_max_per_day": 9},
)


@pytest.mark.parametrize("change", CHANGES, ids=str)
def test_a_version_that_somebody_wrote_over_is_found(user_id: int, change: dict[str, Any]) -> None:
    make_agent(user_id, instructions="Be brief.", policies={"execute_python": "never"}, tokens_max_per_day=1_000)
    kept = Kept(user_id)
    assert replay.check(kept.conversation_id) == (1, [])
    models.AgentVersion.objects.update(**change)
    _, (wrong,) = replay.check(kept.conversation_id)
    assert "version 1 of agent Analyst is not what it was" in wrong or "can't be read" in wrong


def spend(kept: Kept, tokens: int, *, later_ms: int = 0) -> None:
    """An answer that takes so many."""
    took = Telemetry(model="m", finish_reason="stop", prompt_tokens=tokens - 1, completion_tokens=1)
    end = talk.completed(kept.run, "An answer.")
    kept.take(replace(end, telemetry=took, at_ms=NOW_MS + later_ms))


def test_the_tokens_of_a_day_are_counted_for_each_person_and_agent(user_id: int) -> None:
    agent = make_agent(user_id, tokens_max_per_day=1_000)
    first, second, of_another = Kept(user_id), Kept(user_id), Kept(make_user("bob"))
    for kept in (first, second, of_another):
        kept.send("a")
    spend(first, 600)
    assert isinstance(first.commit(sent("b"), actor_id=user_id), Committed)
    spend(second, 400)
    before = second.rows()
    for event in (sent("c"), RetryRequested(at_ms=NOW_MS), QueueResumed(at_ms=NOW_MS)):
        refused = second.commit(event, actor_id=user_id)
        assert isinstance(refused, Refused)
        assert refused.code is Refusal.NO_TOKENS_LEFT
        assert "1,000 tokens of today with Analyst are used up" in refused.words
        assert "There are new ones in" in refused.words
    assert second.rows() == before
    assert isinstance(of_another.commit(sent("b"), actor_id=of_another.user_id), Committed)
    assert isinstance(second.commit(replace(sent("c"), at_ms=NOW_MS + DAY_MS), actor_id=user_id), Committed)
    days = models.AgentUsageDay.objects.filter(user_id=user_id).values_list("agent", "tokens")
    assert list(days) == [(agent.pk, 1_000)]


def test_the_limit_of_tokens_is_that_of_the_version_a_conversation_started_with(user_id: int) -> None:
    agent = make_agent(user_id, tokens_max_per_day=1_000)
    before = Kept(user_id)
    agents.save(agent, {"tokens_max_per_day": None}, by_id=user_id)
    after = Kept(user_id)
    before.send("a")
    spend(before, 1_000)
    assert isinstance(before.commit(sent("b"), actor_id=user_id), Refused)
    assert isinstance(after.commit(sent("b"), actor_id=user_id), Committed)


def test_without_an_agent_no_tokens_are_counted_for_one(user_id: int) -> None:
    kept = Kept(user_id)
    kept.send("a")
    spend(kept, 600)
    assert (models.UsageDay.objects.count(), models.AgentUsageDay.objects.count()) == (1, 0)


def test_what_was_not_changed_makes_no_version(user_id: int) -> None:
    agent = make_agent(user_id, instructions="Be brief.")
    agent.description = "For short answers"
    assert agents.save(agent, {"instructions": "Be brief."}, by_id=user_id) is None
    assert agent.versions.count() == 1


def test_of_two_who_change_one_agent_at_the_same_time_the_second_is_told_and_keeps_nothing(user_id: int) -> None:
    agent = make_agent(user_id, instructions="Be brief.")
    agents.save(agent, {"instructions": "Be long."}, by_id=user_id, after=1)
    agent.description = "Mine"
    with pytest.raises(AgentChangedError, match="save again"):
        agents.save(agent, {"instructions": "Be kind."}, by_id=user_id, after=1)
    assert list(agent.versions.values_list("number", "instructions")) == [(2, "Be long."), (1, "Be brief.")]
    assert models.Agent.objects.get().description == ""


def test_of_two_who_make_agents_of_one_name_the_second_is_told(user_id: int) -> None:
    make_agent(user_id, "Analyst")
    with pytest.raises(AgentChangedError):
        make_agent(user_id, "Analyst", is_default=True)
    assert [(row.name, row.is_default) for row in models.Agent.objects.all()] == [("Analyst", False)]


def test_a_list_names_the_agent_as_it_was_called_at_the_start(user_id: int) -> None:
    agent = make_agent(user_id, "Analyst")
    kept = Kept(user_id)
    agent.name = "Somebody else"
    agents.save(agent, {}, by_id=user_id)
    assert [entry.agent for entry in reads.entries(user_id=user_id, limit=9)] == ["Analyst"]
    models.Conversation.objects.update(agent_name="Writer")
    assert replay.check(kept.conversation_id)[1] == ["the row has another agent than the log"]


def test_there_is_one_default(user_id: int) -> None:
    make_agent(user_id, "Analyst", is_default=True)
    make_agent(user_id, "Writer", is_default=True)
    assert list(models.Agent.objects.filter(is_default=True).values_list("name", flat=True)) == ["Writer"]


def test_an_agent_for_a_group_is_there_for_its_members_alone(user_id: int) -> None:
    group = Group.objects.create(name="analysts")
    analyst = make_agent(user_id, groups=(group,))
    assert agents.choices(user_id) == ()
    with pytest.raises(AgentMissingError):
        started_with(user_id, analyst)
    assert started_with(user_id) is None
    User.objects.get(pk=user_id).groups.add(group)
    assert started_with(user_id, analyst) is not None


@pytest.mark.parametrize("is_known", [True, False])
def test_who_is_not_there_can_not_be_started_with(user_id: int, is_known: bool) -> None:
    agent = make_agent(user_id, is_enabled=False) if is_known else models.Agent(id=uuid.uuid4())
    with pytest.raises(AgentMissingError):
        started_with(user_id, agent)
    assert not models.Conversation.objects.exists()


def test_who_was_switched_off_is_asked_no_more_and_what_was_said_stays(user_id: int) -> None:
    agent = make_agent(user_id)
    kept = Kept(user_id)
    kept.send("a", "b")
    kept.stop()
    models.Agent.objects.update(is_enabled=False)
    before = kept.rows()
    for event in (sent("c"), RetryRequested(at_ms=NOW_MS), QueueResumed(at_ms=NOW_MS)):
        refused = kept.commit(event, actor_id=user_id)
        assert isinstance(refused, Refused)
        assert refused.code is Refusal.AGENT_OFF
        assert refused.words == agents.why_off(kept.state.agent, user_id)
        assert "new conversation" in refused.words
    assert kept.rows() == before
    models.Agent.objects.filter(pk=agent.pk).update(is_enabled=True)
    assert agents.why_off(kept.state.agent, user_id) == ""
    assert isinstance(kept.commit(sent("c"), actor_id=user_id), Committed)


def test_who_has_conversations_can_not_be_removed(user_id: int) -> None:
    agent = make_agent(user_id)
    Kept(user_id)
    with pytest.raises(ProtectedError):
        agent.delete()


@pytest.mark.parametrize(
    ("policies", "wins"),
    [
        ((Policy.AUTO, Policy.ASK), Policy.ASK),
        ((Policy.ASK, Policy.AUTO), Policy.ASK),
        ((Policy.STAFF, Policy.ASK), Policy.STAFF),
        ((Policy.NEVER, Policy.STAFF), Policy.NEVER),
        ((Policy.AUTO, Policy.AUTO), Policy.AUTO),
    ],
)
def test_the_policy_that_lets_the_least_happen_wins(policies: tuple[Policy, ...], wins: Policy) -> None:
    assert strictest(*policies) is wins
