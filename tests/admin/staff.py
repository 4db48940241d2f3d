"""Members of staff, and conversations for them to look at.

Knows the groups as the migration makes them, and a conversation in which everything happens once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib import import_module

from django.apps import apps
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Group, User
from django.db import connection
from django.test import Client

from chat.core.calls import Policy, Scope
from chat.core.events import Event, QueueCleared, QueueResumed
from chat.core.messages import Delivery
from chat.core.permissions import Decided
from tests.core import talk
from tests.core.talk import NOW_MS
from tests.store.kept import Kept, make_user, sent

ASK, AUTO = talk.proposal(), talk.proposal("do", policy=Policy.AUTO)
GUARDED = talk.proposal("guarded", policy=Policy.STAFF, arguments='{"code":"print(1)"}')
GROUPS = ("reviewer", "approver", "admin")


def make_groups() -> None:
    """As the migration does; a flushed database has none."""
    migration = import_module("chat.migrations.0002_groups")
    migration.make_groups(apps, connection.schema_editor())


def member(name: str, *, group: str = "", is_superuser: bool = False) -> User:
    """Somebody of the staff."""
    user = get_user_model().objects.create(username=name, is_staff=True, is_superuser=is_superuser)
    assert isinstance(user, User)
    if group:
        user.groups.add(Group.objects.get(name=group))
    return user


def client_of(user: User) -> Client:
    """Their browser."""
    client = Client()
    client.force_login(user)
    return client


def waiting_for_staff(name: str = "ann") -> Kept:
    """A conversation in which a call waits for a member of staff."""
    kept = Kept(make_user(name))
    kept.send("a")
    kept.take(talk.completed(kept.run, "Let me see.", calls=(GUARDED,)))
    return kept


def busy(kept: Kept, turns: int) -> Iterator[None]:
    """Let so many turns happen, one event at a time: answers, tools, a queue, stops, failures."""

    for turn in range(kept.state.run_count, kept.state.run_count + turns):
        for make in _turn(kept, f"turn {turn}", turn):
            kept.take(make())
            yield


def _turn(kept: Kept, name: str, turn: int) -> Iterator[Callable[[], Event]]:
    text = f"# Answer {turn}\n\nSome **text**, `code` and a list:\n\n- one\n- two\n\n```python\nprint({turn})\n```\n"
    yield lambda: sent(name)
    yield lambda: talk.started(kept.run)
    match turn % 5:
        case 0:
            yield lambda: talk.completed(kept.run, text, calls=(ASK, AUTO))
            yield lambda: talk.claimed(kept.call(2))
            yield lambda: _owned(kept, talk.approved(kept.call(1), arguments='{"n":2}', scope=Scope.ONCE))
            yield lambda: talk.ended(kept.call(2), "failed", "It broke.")
            yield lambda: talk.claimed(kept.call(1))
            yield lambda: talk.ended(kept.call(1))
            yield lambda: talk.completed(kept.run, text)
        case 1:
            yield lambda: sent(f"{name} later")
            yield lambda: sent(f"{name} joins", delivery=Delivery.STEER)
            yield lambda: talk.stopped(None)
            yield lambda: talk.interrupted(kept.run, text[:20])
            yield lambda: QueueCleared(at_ms=NOW_MS)
        case 2:
            yield lambda: talk.delayed(kept.run)
            yield lambda: sent(f"{name} later")
            yield lambda: talk.failed(kept.run)
            yield lambda: QueueResumed(at_ms=NOW_MS)
            yield lambda: talk.completed(kept.run, text)
        case 3:
            yield lambda: talk.completed(kept.run, text, calls=(GUARDED,))
            yield lambda: _owned(kept, talk.rejected(kept.call(), "not today"))
            yield lambda: talk.completed(kept.run, text)
        case _:
            yield lambda: talk.completed(kept.run, text)


def _owned(kept: Kept, event: Decided) -> Event:
    """The same, decided by the owner of the conversation."""
    return replace(event, user_id=kept.user_id)
