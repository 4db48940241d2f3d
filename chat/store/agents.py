"""Agents and their versions: who may talk with whom, and what a conversation's answers are made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import ProtectedError, Q, QuerySet

from chat import models
from chat.core.agents import AgentRef, Profile
from chat.core.calls import Policy
from chat.core.events import Event, MessageSubmitted, QueueResumed, RetryRequested
from chat.core.state import Refusal, Refused
from chat.errors import AgentsiteError
from chat.store import quotas, statements
from chat.store.rows import when

# What an agent is asked for its conversations to go on.
_ASKING = MessageSubmitted | RetryRequested | QueueResumed
AGENT_OFF_WORDS = "This agent is not there for you any more. What was said stays; start a new conversation to go on."


class AgentMissingError(AgentsiteError):
    """There is no such agent, or not for you. Choose one from the list."""


class AgentUsedError(AgentsiteError):
    """There are conversations with this agent, which need it. Switch it off instead: nobody can use it then."""


class AgentChangedError(AgentsiteError):
    """Somebody else saved meanwhile, and nothing of yours was kept. Look at what is there now, and save again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Choice:
    """An agent that somebody can start a conversation with."""

    agent_id: UUID
    name: str
    description: str
    is_default: bool


def choices(user_id: int) -> tuple[Choice, ...]:
    """Those that this user may talk with, the default first."""
    return tuple(
        Choice(agent_id=row.pk, name=row.name, description=row.description, is_default=row.is_default)
        for row in _usable(user_id)
    )


def _usable(user_id: int) -> QuerySet[models.Agent]:
    is_theirs = Q(groups=None) | Q(groups__user=user_id)
    return models.Agent.objects.filter(is_theirs, is_enabled=True, versions__isnull=False).distinct()


def to_start_with(user_id: int, agent_id: UUID | None) -> models.AgentVersion | None:
    """The newest version of the agent that a user chose, or of the first that they may use; None when there is none.

    Raises AgentMissingError when they chose one that is not there for them.
    """
    agent = None
    # Most sites have no agent, which is found out at a tenth of the cost of asking who may use them.
    if statements.select(models.Agent, limit=1, is_enabled=True):
        usable = _usable(user_id)
        agent = usable.first() if agent_id is None else usable.filter(id=agent_id).first()
    if agent is None:
        if agent_id is not None:
            raise AgentMissingError
        return None
    return agent.versions.select_related("agent").first()


def ref_of(version: models.AgentVersion) -> AgentRef:
    """How events and snapshots name it."""
    return AgentRef(
        agent_id=version.agent_id,
        version=version.number,
        name=version.agent.name,
        digest=profile_of(version).digest,
    )


def refusal(row: models.Conversation, event: Event) -> Refused | None:
    """Why an agent is not to be asked any more; None when it may be, or is not asked by this event."""
    if row.agent_version_id is None or not isinstance(event, _ASKING):
        return None
    (version,) = statements.select(models.AgentVersion, id=row.agent_version_id)
    agent = _usable_one(version.agent_id, row.user_id)
    if agent is None:
        return Refused(code=Refusal.AGENT_OFF, words=AGENT_OFF_WORDS)
    limit = version.tokens_max_per_day
    at = when(event.at_ms)
    if limit is None or quotas.used_tokens_with(agent.pk, row.user_id, at) < limit:
        return None
    return quotas.no_tokens_left(f"Your {limit:,} tokens of today with {agent.name} are used up.", at)


def _usable_one(agent_id: UUID, user_id: int) -> models.Agent | None:
    """An agent, when this user may talk with it. Each message asks: groups are looked at only where there are any."""
    found = statements.select(models.Agent, id=agent_id, is_enabled=True)
    if not found:
        return None
    groups = statements.select(models.Agent.groups.through, limit=1, agent_id=agent_id)
    return _usable(user_id).filter(id=agent_id).first() if groups else found[0]


def why_off(ref: AgentRef | None, user_id: int) -> str:
    """Why the agent of a conversation answers this user no more, in words; empty when it does."""
    is_there = ref is None or _usable(user_id).filter(pk=ref.agent_id).exists()
    return "" if is_there else AGENT_OFF_WORDS


def profile(agent: AgentRef) -> Profile:
    """What the answers of an agent are made with."""
    (version,) = statements.select(models.AgentVersion, agent_id=agent.agent_id, number=agent.version)
    return profile_of(version)


def profile_of(version: models.AgentVersion) -> Profile:
    """The value that a row holds. Raises ValueError when somebody wrote a policy into it that there is not."""
    return Profile(
        model=version.model,
        instructions=version.instructions,
        policies={name: Policy(policy) for name, policy in version.policies.items()},
        tool_rounds_max=version.tool_rounds_max,
        answer_timeout_s=version.answer_timeout_s,
        tokens_max_per_day=version.tokens_max_per_day,
    )


def save(
    agent: models.Agent, made_of: Mapping[str, Any], *, by_id: int, after: int | None = None
) -> models.AgentVersion | None:
    """Keep an agent; what it is made of becomes its next version when it differs from the newest. That version.

    made_of: the columns of a version. A new default takes the place of the one before.
    after: the number of the version that this was made from, which must be the newest still; None for any.
    Raises AgentChangedError, and keeps nothing, when somebody else was faster.
    """
    try:
        with transaction.atomic():
            return _save(agent, made_of, by_id=by_id, after=after)
    except IntegrityError:
        # The same name, or another default, of an agent that was not there to be locked.
        raise AgentChangedError from None


def _save(
    agent: models.Agent, made_of: Mapping[str, Any], *, by_id: int, after: int | None
) -> models.AgentVersion | None:
    # One after the other, in one order: a default changes others too.
    list(models.Agent.objects.select_for_update().order_by("pk").values_list("pk"))
    newest = agent.versions.first()
    if after is not None and (newest is None or newest.number != after):
        raise AgentChangedError
    if agent.is_default:
        models.Agent.objects.exclude(pk=agent.pk).update(is_default=False)
    agent.save()
    if newest is not None and all(getattr(newest, name) == value for name, value in made_of.items()):
        return None
    number = 1 if newest is None else newest.number + 1
    return models.AgentVersion.objects.create(
        agent=agent, number=number, made_by_id=by_id, made_at=datetime.now(UTC), **made_of
    )


def is_used(agent: models.Agent) -> bool:
    """Whether there is any conversation with it, also one that was put away."""
    return models.Conversation.objects.filter(agent_version__agent=agent).exists()


def remove(agent: models.Agent) -> None:
    """Remove one, with its versions. Raises AgentUsedError."""
    try:
        agent.delete()
    except ProtectedError:
        raise AgentUsedError from None
