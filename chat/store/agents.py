"""Agents and their versions: who may talk with whom, and what a conversation's answers are made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.db import transaction
from django.db.models import Max, Q, QuerySet

from chat import models
from chat.core.agents import AgentRef, Profile
from chat.core.calls import Policy
from chat.core.events import Event, MessageSubmitted, QueueResumed, RetryRequested
from chat.core.ids import ConversationId
from chat.core.state import Refusal, Refused
from chat.errors import AgentsiteError

# What an agent is asked for its conversations to go on.
_ASKING = MessageSubmitted | RetryRequested | QueueResumed


class AgentMissingError(AgentsiteError):
    """There is no such agent, or not for you. Choose one from the list."""


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
    usable = _usable(user_id)
    agent = usable.first() if agent_id is None else usable.filter(id=agent_id).first()
    if agent is None:
        if agent_id is not None:
            raise AgentMissingError
        return None
    return agent.versions.select_related("agent").first()


def ref_of(version: models.AgentVersion) -> AgentRef:
    """How events and snapshots name it."""
    return AgentRef(agent_id=version.agent_id, version=version.number, name=version.agent.name)


def refusal(row: models.Conversation, event: Event) -> Refused | None:
    """Why an agent is not to be asked any more; None when it may be, or is not asked by this event."""
    if row.agent_version_id is None or not isinstance(event, _ASKING):
        return None
    if _usable(row.user_id).filter(versions=row.agent_version_id).exists():
        return None
    words = "This agent is not there for you any more. What was said stays; start a new conversation to go on."
    return Refused(code=Refusal.AGENT_OFF, words=words)


def profile(conversation_id: ConversationId) -> Profile | None:
    """What a conversation's answers are made with; None where the settings of the site say all of it."""
    version = models.AgentVersion.objects.filter(conversations=conversation_id).first()
    if version is None:
        return None
    return Profile(
        model=version.model,
        instructions=version.instructions,
        policies={name: Policy(policy) for name, policy in version.policies.items()},
        tool_rounds_max=version.tool_rounds_max,
        answer_timeout_s=version.answer_timeout_s,
    )


@transaction.atomic
def save(agent: models.Agent, made_of: Mapping[str, Any], *, by_id: int) -> models.AgentVersion | None:
    """Keep an agent; what it is made of becomes its next version when it differs from the newest. That version.

    made_of: the columns of a version. A new default takes the place of the one before.
    """
    if agent.is_default:
        models.Agent.objects.exclude(pk=agent.pk).update(is_default=False)
    agent.save()
    newest = agent.versions.first()
    if newest is not None and all(getattr(newest, name) == value for name, value in made_of.items()):
        return None
    number = (agent.versions.aggregate(newest=Max("number"))["newest"] or 0) + 1
    return models.AgentVersion.objects.create(
        agent=agent, number=number, made_by_id=by_id, made_at=datetime.now(UTC), **made_of
    )
