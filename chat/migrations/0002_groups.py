"""The groups of staff who review: what each may see and do.

Django makes permissions after all migrations, so on a fresh database they are not there yet: those that are given
here are made here, as Django would make them, and are found by it later.
"""

from __future__ import annotations

from django.apps.registry import Apps
from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

REVIEWER = (
    ("conversation", "view_conversation", "Can view conversation"),
    ("conversation", "review_conversation", "Can mark conversations as reviewed or flagged"),
    ("toolcall", "view_toolcall", "Can view tool call"),
    ("event", "view_event", "Can view event"),
    ("review", "view_review", "Can view review"),
)
APPROVER = (*REVIEWER, ("toolcall", "decide_toolcall", "Can decide tool calls that wait for a member of staff"))
ADMIN = (
    *APPROVER,
    ("conversation", "stop_conversation", "Can stop what runs in a conversation"),
    ("conversation", "close_conversation", "Can put a conversation away"),
    ("conversation", "export_conversation", "Can export conversations of others"),
    ("accesstrace", "view_accesstrace", "Can view access trace"),
    ("agent", "view_agent", "Can view agent"),
    ("agent", "add_agent", "Can add agent"),
    ("agent", "change_agent", "Can change agent"),
    ("agent", "delete_agent", "Can delete agent"),
    ("process", "view_process", "Can view process"),
)
GROUPS = {"reviewer": REVIEWER, "approver": APPROVER, "admin": ADMIN}


def make_groups(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Make what is missing; what is there stays."""
    alias = schema_editor.connection.alias
    types = apps.get_model("contenttypes", "ContentType")._default_manager.using(alias)
    permissions = apps.get_model("auth", "Permission")._default_manager.using(alias)
    groups = apps.get_model("auth", "Group")._default_manager.using(alias)
    for name, granted in GROUPS.items():
        group, _ = groups.get_or_create(name=name)
        for model, codename, words in granted:
            kind, _ = types.get_or_create(app_label="chat", model=model)
            permission, _ = permissions.get_or_create(content_type=kind, codename=codename, defaults={"name": words})
            group.permissions.add(permission)


def remove_groups(apps: Apps, schema_editor: BaseDatabaseSchemaEditor) -> None:
    """Take the groups back."""
    groups = apps.get_model("auth", "Group")._default_manager.using(schema_editor.connection.alias)
    groups.filter(name__in=GROUPS).delete()


class Migration(migrations.Migration):
    dependencies = [
        ("chat", "0001_initial"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]
    operations = [migrations.RunPython(make_groups, remove_groups)]
