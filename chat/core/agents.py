"""Agents: whom a conversation talks with, as values.

Knows what names an agent, what a version of one says, and which of several policies wins. Must not know who keeps them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from uuid import UUID

from chat.core.calls import Policy

# From the one that lets the most happen to the one that lets nothing.
STRICTNESS = (Policy.AUTO, Policy.ASK, Policy.STAFF, Policy.NEVER)


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentRef:
    """The agent with which a conversation started. version: from 1, and never changed. name: as it was then."""

    agent_id: UUID
    version: int
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """What a conversation's answers are made with.

    model: the name that is sent upstream; empty for the site's. instructions: what the model is told first.
    policies: of tools by their names, where they differ from those of the site.
    tool_rounds_max: orders to the model in one run in which it may call tools; None for the site's.
    answer_timeout_s: for one whole answer; None for the site's.
    """

    model: str = ""
    instructions: str = ""
    policies: Mapping[str, Policy]
    tool_rounds_max: int | None = None
    answer_timeout_s: float | None = None


def strictest(*policies: Policy) -> Policy:
    """The one that lets the least happen: no agent can let run what the site does not."""
    return max(policies, key=STRICTNESS.index)
