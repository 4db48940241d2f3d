"""A conversation in the database, as tests of the store write it down.

Knows `commit` and the rows. A message's content is its name.
"""

from __future__ import annotations

import uuid
from typing import Any
from uuid import UUID, uuid5

from django.contrib.auth import get_user_model
from django.db.models import Model

from chat import models
from chat.core.calls import ToolCall
from chat.core.events import ConversationStarted, Event, MessageSubmitted
from chat.core.ids import ConversationId, MessageId
from chat.core.messages import Delivery, Message
from chat.core.state import Conversation, Refused, Run, Step
from chat.store import texts, transcripts
from chat.store.commits import Committed, Repeated, commit, start_conversation
from chat.store.texts import Checkpoint
from tests.core import talk
from tests.core.talk import NOW_MS

NAMESPACE = UUID("00000000-0000-4000-8000-000000000001")
OWNER = UUID("00000000-0000-4000-8000-0000000000aa")
TABLES: tuple[type[Model], ...] = (
    models.Conversation,
    models.Event,
    models.Message,
    models.QueuedMessage,
    models.Run,
    models.ToolCall,
)


def make_user(name: str = "ann") -> int:
    """A user's id."""
    user = get_user_model().objects.create(username=name)
    assert isinstance(user.pk, int)
    return user.pk


def message_id(name: str) -> MessageId:
    """The id of the message of this name."""
    return MessageId(uuid5(NAMESPACE, name))


def sent(name: str, *, content: str = "", delivery: Delivery = Delivery.QUEUE) -> MessageSubmitted:
    """The wish to send the message of this name."""
    return MessageSubmitted(
        message_id=message_id(name), content=content or name, delivery=delivery, queue_limit=50, at_ms=NOW_MS
    )


def said_in(conversation_id: ConversationId) -> tuple[tuple[Message, ...], dict[MessageId, list[ToolCall]]]:
    """Every message, in order, and the calls of each answer."""
    transcript = transcripts.read(conversation_id)
    return transcript.messages, transcript.calls


class Kept:
    """One conversation in the database."""

    def __init__(self, user_id: int) -> None:
        self.user_id = user_id
        self.announcement = start_conversation(user_id=user_id, at_ms=NOW_MS)
        self.state: Conversation = self.announcement.state
        self.conversation_id = self.state.conversation_id

    @property
    def row(self) -> models.Conversation:
        return models.Conversation.objects.get(id=self.conversation_id)

    @property
    def run(self) -> Run:
        assert self.state.run is not None
        return self.state.run

    def call(self, number: int = 1) -> ToolCall:
        """The n-th call of the newest answer that made any."""
        transcript, calls = said_in(self.conversation_id)
        made = [calls[message.message_id] for message in transcript if message.message_id in calls]
        return made[-1][number - 1]

    def commit(
        self, event: Event, *, actor_id: int | None = None, owner: uuid.UUID = OWNER
    ) -> Committed | Repeated | Refused:
        result = commit(self.conversation_id, event, actor_id=actor_id, process_id=owner)
        if isinstance(result, Committed):
            self.announcement = result.announcement
            self.state = result.announcement.state
        return result

    def take(self, *events: Event, owner: uuid.UUID = OWNER) -> None:
        for event in events:
            assert isinstance(self.commit(event, owner=owner), Committed)

    def send(self, *names: str) -> None:
        self.take(*(sent(name) for name in names))

    def save_text(self, run: Run, text: str, reasoning: str = "", *, generation_no: int = 1) -> bool:
        """Keep what the answer of a run has so far, as of one of its orders."""
        checkpoint = Checkpoint(
            conversation_id=self.conversation_id,
            message_id=run.answer.message_id,
            run_id=run.run_id,
            generation_no=generation_no,
            text=text,
            reasoning=reasoning,
        )
        [is_current] = texts.save([checkpoint])
        return is_current

    def complete(self, text: str = "An answer.") -> None:
        self.take(talk.completed(self.run, text))

    def stop(self) -> None:
        self.take(talk.stopped(None), talk.interrupted(self.run))

    def rows(self) -> list[tuple[str, dict[str, Any]]]:
        """Every row of every conversation, as it is."""
        return [(table.__name__, row) for table in TABLES for row in table._default_manager.order_by("pk").values()]

    def step(self, state: Conversation | None, event: Event) -> Step | Refused:
        """The step of a simulated world, done by the database."""
        if isinstance(event, ConversationStarted):
            return Step(state=self.state)
        result = self.commit(event)
        if isinstance(result, Refused):
            return result
        assert isinstance(result, Committed)
        told = result.announcement
        return Step(state=told.state, effects=result.effects, messages=told.messages, calls=told.calls)
