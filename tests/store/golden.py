"""Golden logs as they are in a database: between them they hold every event there is."""

from __future__ import annotations

import json
import uuid
from pathlib import Path
from unittest import mock
from uuid import UUID

from django.contrib.auth import get_user_model

from chat import codec, models
from chat.core.events import ConversationStarted, Event, ToolApproved, ToolRejected, UnknownOutcomeResolved
from chat.store import agents
from chat.store.commits import Committed, commit, start_conversation
from tests.core.talk import CONVERSATION_ID, USER_ID
from tests.store.kept import OWNER

LOGS = sorted((Path(__file__).parents[1] / "golden").glob("*.jsonl"))


def events_of(log: Path) -> list[Event]:
    """The events of a golden log, in order."""
    found = [json.loads(line) for line in log.read_text().splitlines()]
    return [codec.decode_event(line["name"], line["version"], json.dumps(line["payload"])) for line in found]


def keep(log: Path) -> UUID:
    """Write a golden log into the database, wishes as those of the user with id 1; the conversation's id."""
    get_user_model().objects.get_or_create(id=USER_ID, defaults={"username": "ann"})
    first, *others = events_of(log)
    agent = first.agent if isinstance(first, ConversationStarted) else None
    if agent is not None:
        agents.save(models.Agent(id=agent.agent_id, name=agent.name), {}, by_id=USER_ID)
    with mock.patch.object(uuid, "uuid4", return_value=CONVERSATION_ID):
        start_conversation(user_id=USER_ID, at_ms=first.at_ms, agent_id=agent.agent_id if agent else None)
    for event in others:
        is_wish = not hasattr(event, "run_id")
        # A decision of staff is not the owner's.
        actor_id = USER_ID
        if isinstance(event, ToolApproved | ToolRejected | UnknownOutcomeResolved) and event.is_staff_decision:
            actor_id = event.user_id
        get_user_model().objects.get_or_create(id=actor_id, defaults={"username": f"user {actor_id}"})
        result = commit(CONVERSATION_ID, event, actor_id=actor_id if is_wish else None, process_id=OWNER)
        assert isinstance(result, Committed), event
    return CONVERSATION_ID
