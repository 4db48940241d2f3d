"""Agents: who may talk with whom, and that no change reaches what was said before."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db.models import ProtectedError

from chat import models
from chat.core.agents import AgentRef, Profile, strictest
from chat.core.calls import Policy
from chat.core.events import QueueResumed, RetryRequested
from chat.core.state import Refusal, Refused
from chat.store import agents, replay
from chat.store.agents import AgentMissingError
from chat.store.commits import Committed, start_conversation
from tests.core.talk import NOW_MS
from tests.store.kept import Kept, make_user, sent

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
    assert agents.profile(kept.conversation_id) is None
    assert agents.choices(user_id) == ()


def test_a_conversation_starts_with_whom_was_chosen_or_with_the_default(user_id: int) -> None:
    analyst, writer = make_agent(user_id, "Analyst"), make_agent(user_id, "Writer", is_default=True)
    assert [choice.name for choice in agents.choices(user_id)] == ["Writer", "Analyst"]
    assert started_with(user_id) == AgentRef(agent_id=writer.pk, version=1, name="Writer")
    assert started_with(user_id, analyst) == AgentRef(agent_id=analyst.pk, version=1, name="Analyst")


def test_a_change_is_a_version_for_those_who_start_after_it(user_id: int) -> None:
    agent = make_agent(user_id, instructions="Be brief.", policies={"execute_python": "never"})
    before = Kept(user_id)
    agents.save(agent, {"instructions": "Be long.", "model": "big"}, by_id=user_id)
    after = Kept(user_id)
    assert agents.profile(before.conversation_id) == Profile(
        instructions="Be brief.", policies={"execute_python": Policy.NEVER}
    )
    assert agents.profile(after.conversation_id) == Profile(model="big", instructions="Be long.", policies={})
    assert [version.number for version in agent.versions.all()] == [2, 1]
    assert [kept.row.agent_version and kept.row.agent_version.number for kept in (before, after)] == [1, 2]
    for kept in (before, after):
        assert replay.check(kept.conversation_id) == (1, [])


def test_a_row_that_names_another_agent_than_the_log_is_found(user_id: int) -> None:
    make_agent(user_id)
    kept = Kept(user_id)
    models.Conversation.objects.update(agent_version=None)
    assert replay.check(kept.conversation_id)[1] == ["the row has another agent than the log"]


def test_what_was_not_changed_makes_no_version(user_id: int) -> None:
    agent = make_agent(user_id, instructions="Be brief.")
    agent.description = "For short answers"
    assert agents.save(agent, {"instructions": "Be brief."}, by_id=user_id) is None
    assert agent.versions.count() == 1


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
        assert "new conversation" in refused.words
    assert kept.rows() == before
    models.Agent.objects.filter(pk=agent.pk).update(is_enabled=True)
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
