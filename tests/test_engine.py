"""The door through which every event comes in."""

from __future__ import annotations

import asyncio
import threading
import uuid

import pytest
from django.contrib.auth.models import User

from chat.clock import now_ms
from chat.core.announcement import Announcement
from chat.core.effects import Effect, StartGeneration
from chat.core.events import MessageSubmitted
from chat.core.ids import MessageId
from chat.core.messages import Delivery
from chat.core.state import Conversation
from chat.engine import Engine
from chat.store import commits
from chat.store.threads import in_thread

pytestmark = pytest.mark.django_db(transaction=True)


class Door:
    """An engine, and what came out of it in order."""

    def __init__(self) -> None:
        self.told: list[str | Effect] = []
        self.engine = Engine(process_id=uuid.uuid4(), announce=self._announce, dispatch=self._dispatch)

    def _announce(self, announcement: Announcement) -> None:
        self.told.append(announcement.event_type)

    def _dispatch(self, state: Conversation, effects: tuple[Effect, ...]) -> None:
        self.told.extend(effects)


def submitted() -> MessageSubmitted:
    return MessageSubmitted(
        message_id=MessageId(uuid.uuid4()),
        content="Hello",
        delivery=Delivery.QUEUE,
        queue_limit=5,
        at_ms=now_ms(),
    )


async def test_an_event_is_announced_before_its_effects_are_dispatched() -> None:
    door = Door()
    user = await in_thread(User.objects.create_user, "ada")
    conversation = await door.engine.start(user_id=user.pk)
    await door.engine.apply(conversation, submitted(), actor_id=user.pk)
    assert door.told[:2] == ["conversation_started", "user_message"]
    assert isinstance(door.told[2], StartGeneration)


async def test_who_asked_may_be_cancelled_in_mid_commit_and_the_effect_is_dispatched_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    door = Door()
    user = await in_thread(User.objects.create_user, "ada")
    conversation = await door.engine.start(user_id=user.pk)
    is_committing, may_go_on = threading.Event(), threading.Event()
    commit = commits.commit

    def slow_commit(*args: object, **kwargs: object) -> object:
        is_committing.set()
        may_go_on.wait(10)
        return commit(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(commits, "commit", slow_commit)
    asking = asyncio.create_task(door.engine.apply(conversation, submitted(), actor_id=user.pk))
    await asyncio.to_thread(is_committing.wait, 10)
    asking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asking
    may_go_on.set()
    await door.engine.settle()
    assert isinstance(door.told[-1], StartGeneration)
