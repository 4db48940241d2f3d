"""The migration that makes the groups: on a fresh database, on one that was there before, and twice."""

from __future__ import annotations

from pathlib import Path

from tests.server import ServerProcess

SHOW = """
from django.contrib.auth.models import Group, Permission
for group in Group.objects.order_by("name"):
    print(group.name, *sorted(group.permissions.values_list("codename", flat=True)))
print("twice", Permission.objects.filter(content_type__app_label="chat").count()
      - Permission.objects.filter(content_type__app_label="chat").values("codename").distinct().count())
"""
REVIEWER = ["review_conversation", "view_conversation", "view_event", "view_review", "view_toolcall"]
ADMIN = [
    *("add_agent", "change_agent", "close_conversation", "decide_toolcall", "delete_agent"),
    "export_conversation",
    *("stop_conversation", "view_accesstrace", "view_agent", "view_process"),
]
EXPECTED = [
    " ".join(["admin", *sorted([*REVIEWER, *ADMIN])]),
    " ".join(["approver", *sorted([*REVIEWER, "decide_toolcall"])]),
    " ".join(["reviewer", *REVIEWER]),
    "twice 0",
]


def shown(site: ServerProcess) -> list[str]:
    result = site.manage("shell", "-v", "0", "-c", SHOW)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def migrated(site: ServerProcess, *words: str) -> None:
    result = site.manage("migrate", *words)
    assert result.returncode == 0, result.stderr


def site_in(folder: Path) -> ServerProcess:
    """A database of its own, on SQLite whatever the others use."""
    site = ServerProcess(folder)
    site.environ["DATABASE_URL"] = f"sqlite:///{folder / 'db.sqlite3'}"
    return site


def test_a_fresh_database_has_the_groups_with_what_they_may(tmp_path: Path) -> None:
    site = site_in(tmp_path)
    migrated(site)
    assert shown(site) == EXPECTED


def test_a_database_that_was_there_before_gets_them_and_can_give_them_back(tmp_path: Path) -> None:
    site = site_in(tmp_path)
    migrated(site, "chat", "0001")
    assert shown(site) == ["twice 0"]
    migrated(site)
    assert shown(site) == EXPECTED
    migrated(site, "chat", "0001")
    assert shown(site) == ["twice 0"]
    migrated(site)
    assert shown(site) == EXPECTED
