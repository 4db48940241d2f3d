"""Agents: whom a conversation talks with, as values.

Knows what names an agent, what a version of one says, and which of several policies wins. Must not know who keeps them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from uuid import UUID

from chat.core.calls import Policy

# From the one that lets the most happen to the one that lets nothing.
STRICTNESS = (Policy.AUTO, Policy.ASK, Policy.STAFF, Policy.NEVER)


@dataclass(frozen=True, kw_only=True, slots=True)
class AgentRef:
    """The agent with which a conversation started.

    version: from 1, and never changed. name: as it was then. digest: names what that version is made of.
    """

    agent_id: UUID
    version: int
    name: str
    digest: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """What a conversation's answers are made with.

    model: the name that is sent upstream; empty for the site's. instructions: what the model is told first.
    policies: of tools by their names, where they differ from those of the site.
    tool_rounds_max: orders to the model in one run in which it may call tools; None for the site's.
    answer_timeout_s: for one whole answer; None for the site's.
    tokens_max_per_day: that one person may use with it on one day (UTC); None for as many as the site gives.
    """

    model: str = ""
    instructions: str = ""
    policies: Mapping[str, Policy]
    tool_rounds_max: int | None = None
    answer_timeout_s: int | None = None
    tokens_max_per_day: int | None = None

    @property
    def digest(self) -> str:
        """Names all of it. What is left to the site does not count, so that a new field leaves old ones as they are."""
        held = {field.name: getattr(self, field.name) for field in fields(self)}
        held["policies"] = dict(self.policies)
        said = {name: value for name, value in held.items() if value}
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def policy_for(own: Policy, *, of_site: Policy | None, of_agent: Policy | None) -> Policy:
    """Who lets a tool run, by what the tool says itself, the site's settings and the agent.

    The settings take the place of what the tool says, also where they let more happen: who runs the site answers for
    it. An agent can only let less happen.
    """
    holds = own if of_site is None else of_site
    return holds if of_agent is None else strictest(holds, of_agent)


def strictest(*policies: Policy) -> Policy:
    """The one that lets the least happen: no agent can let run what the site does not."""
    return max(policies, key=STRICTNESS.index)
