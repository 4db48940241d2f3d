"""A site in which every table has rows: people, sessions, groups, what staff did, and all that can happen in a chat.

`manage.py shell` calls `fill` on a database that was just migrated. Must not know what is done with it afterwards.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import uuid4

from django.apps import apps
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import Group, Permission
from django.test.utils import setup_test_environment

from chat import models
from chat.core.calls import Artifact
from chat.core.ids import ArtifactId
from chat.store import agents, erasure, quotas
from chat.store.quotas import Counted
from tests.admin.staff import busy, client_of, member, waiting_for_staff
from tests.store.kept import Kept, make_user, sent

# Who runs, which no site takes along.
EMPTY = {"chat_process", "chat_socketcount"}
# What looks like the one character that PostgreSQL does not take and is none; and characters of four bytes.
NO_NUL = "🦓 \\u0000 שלום"


def fill() -> None:
    """Let all of it happen. Fails when a table is left empty."""
    setup_test_environment()
    boss = member("boss", group="admin", is_superuser=True)
    boss.user_permissions.add(*Permission.objects.filter(content_type__app_label="auth"))
    kept = Kept(make_user("ann"))
    file = Artifact(artifact_id=ArtifactId(uuid4()), name=NO_NUL, mime="text/plain", size=7)
    models.Artifact.objects.create(
        id=file.artifact_id,
        conversation=kept.row,
        name=file.name,
        mime=file.mime,
        size=file.size,
        file="2026/06/a",
        created_at=datetime.now(UTC),
    )
    kept.take(replace(sent("first", content=NO_NUL), attachments=(file,)))
    kept.complete(NO_NUL)
    for _ in busy(kept, 10):
        pass
    kept.send("runs", "waits")
    waiting_for_staff("bea")
    gone = Kept(make_user("cid"))
    gone.send("goodbye")
    gone.complete()
    erasure.erase(gone.conversation_id, by="boss", remove_folder=lambda: None)
    quotas.take(Counted.LOGIN_FAILURES_OF_NAME, "ann", limit=9, window_s=60, at=datetime.now(UTC))
    agent = models.Agent(name="Analyst")
    agents.save(agent, {"instructions": NO_NUL, "policies": {"run_shell": "never"}}, by_id=boss.pk)
    agent.groups.set(Group.objects.all())
    models.AgentUsageDay.objects.create(user=boss, agent=agent, day=datetime.now(UTC).date(), tokens=1)
    client, page = client_of(boss), f"/admin/chat/conversation/{kept.conversation_id}"
    assert client.get(f"{page}/change/").status_code == 200
    assert client.post(f"{page}/review/", {"state": "flagged", "note": "Look."}).status_code == 302
    LogEntry.objects.log_actions(boss.pk, [boss], CHANGE, "Changed.", single_object=True)
    every = apps.get_models(include_auto_created=True)
    empty = {model._meta.db_table for model in every if not model._default_manager.exists()}
    assert empty == EMPTY, f"nothing is in {empty}"
