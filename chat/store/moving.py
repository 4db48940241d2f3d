"""Moves everything from one database to another, in one transaction of the target.

Knows Django's models, of all apps. Must not know what their rows mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import dj_database_url
from django.apps import apps
from django.core import serializers
from django.core.management.color import no_style
from django.core.management.sql import emit_post_migrate_signal
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, models, transaction

from chat.errors import AgentsiteError

SOURCE = "source"
# Rows that are read, and written, at once: so much lies in memory, however large the tables are.
BATCH = 500
# Who runs now runs on the target; jobs are made there.
LEFT_OUT = frozenset({"chat.process"})
LEFT_OUT_APPS = frozenset({"procrastinate"})
# Made by every migration: the target's own give way, so that all ids stay as they were.
MADE_BY_MIGRATIONS = frozenset({"contenttypes.contenttype", "auth.permission", "auth.group"})


class MoveError(AgentsiteError):
    """The data can't be moved."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a table is. total: its rows in the source."""

    table: str
    done: int
    total: int


def move(source_url: str) -> Iterator[Progress]:
    """Move all rows from a database into the empty one of this site, telling how far it is.

    Nothing is changed when it fails, nor when whoever listens ends it. Raises MoveError.
    """
    source = dj_database_url.parse(source_url)
    target = connections[DEFAULT_DB_ALIAS]
    if source["ENGINE"] == target.settings_dict["ENGINE"] and source["NAME"] == target.settings_dict["NAME"]:
        raise MoveError("Source and target are the same database. Set DATABASE_URL to the target.")
    if source["ENGINE"].endswith("sqlite3") and not Path(source["NAME"]).is_file():
        raise MoveError(f"There is no file {source['NAME']}.")
    connections.databases[SOURCE] = {**target.settings_dict, "OPTIONS": {}, **source}
    try:
        tables = _tables()
        _check(tables)
        with transaction.atomic():
            for model in reversed(tables):
                if model._meta.label_lower in MADE_BY_MIGRATIONS:
                    model._base_manager.all().delete()
            for model in tables:
                yield from _move_table(model)
            with target.cursor() as cursor:
                for statement in target.ops.sequence_reset_sql(no_style(), tables):
                    cursor.execute(statement)
            emit_post_migrate_signal(verbosity=0, interactive=False, db=DEFAULT_DB_ALIAS)
    finally:
        connections[SOURCE].close()
        del connections[SOURCE], connections.databases[SOURCE]


def _tables() -> list[type[models.Model]]:
    """Every table, those first that others refer to; those between two tables behind both."""
    by_app = [(config, None) for config in apps.get_app_configs() if config.label not in LEFT_OUT_APPS]
    known = [model for model in serializers.sort_dependencies(by_app) if model._meta.label_lower not in LEFT_OUT]
    between = (field.remote_field.through for model in known for field in model._meta.local_many_to_many)
    return [*known, *(model for model in between if model is not None and model._meta.auto_created)]


def _check(tables: list[type[models.Model]]) -> None:
    for alias, words in ((SOURCE, "the source"), (DEFAULT_DB_ALIAS, "the target")):
        present = set(connections[alias].introspection.table_names())
        missing = sorted(model._meta.db_table for model in tables if model._meta.db_table not in present)
        if missing:
            first = "Run `python manage.py migrate` on it first, with this version of the program."
            raise MoveError(f"{words.capitalize()} has no table {missing[0]}. {first}")
    for model in tables:
        is_made = model._meta.label_lower in MADE_BY_MIGRATIONS or model._meta.auto_created
        if not is_made and model._base_manager.exists():
            raise MoveError(f"The target is not empty: {model._meta.db_table} has rows. Take a new database.")


def _move_table(model: type[models.Model]) -> Iterator[Progress]:
    rows = model._base_manager.using(SOURCE).order_by("pk")
    total, done, table = rows.count(), 0, model._meta.db_table
    found = rows.iterator(chunk_size=BATCH)
    while batch := list(islice(found, BATCH)):
        try:
            model._base_manager.using(DEFAULT_DB_ALIAS).bulk_create(batch)
        except (DatabaseError, ValueError) as fault:
            raise MoveError(f"{_where(batch, table)} can't be written: {str(fault).strip()}") from fault
        done += len(batch)
        yield Progress(table=table, done=done, total=total)


def _where(batch: list[models.Model], table: str) -> str:
    """The row, when one of them holds what no row of PostgreSQL can; else the batch."""
    for row in batch:
        for field in row._meta.concrete_fields:
            value: Any = getattr(row, field.attname)
            if isinstance(value, str) and "\0" in value:
                return f"{table} {row.pk}: {field.name} has a NUL character, which"
    return f"{table}: a row from {batch[0].pk} to {batch[-1].pk}"
