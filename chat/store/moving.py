"""Moves everything from a SQLite file to the database of this site, in one transaction.

Knows Django's models, of all apps. Must not know what their rows mean.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from graphlib import TopologicalSorter
from itertools import islice
from pathlib import Path

import dj_database_url
from django.apps import apps
from django.contrib.contenttypes.models import ContentType
from django.core.management.color import no_style
from django.core.management.sql import emit_post_migrate_signal
from django.db import DEFAULT_DB_ALIAS, DatabaseError, connections, models, transaction
from django.db.migrations.recorder import MigrationRecorder
from django.db.models.functions import Now

from chat.errors import AgentsiteError
from chat.models import Process, SocketCount
from chat.store import unfit

SOURCE = "source"
# Rows that are read, and written, at once: so much lies in memory, however large the tables are.
BATCH = 500
# Jobs are made anew on the target.
LEFT_OUT_APPS = frozenset({"procrastinate"})
# Made by every migration: the target's own give way, so that all ids stay as they were.
MADE_BY_MIGRATIONS = frozenset({"contenttypes.contenttype", "auth.permission", "auth.group"})

Table = type[models.Model]


class MoveError(AgentsiteError):
    """The data can't be moved."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """How far a table is. total: its rows in the source."""

    table: str
    done: int
    total: int


def move(source_url: str, *, silent_for_s: float) -> Iterator[Progress]:
    """Move all rows from a file into the empty database of this site, telling how far it is.

    silent_for_s: after which a process of the site is held to have ended; none may run. Nothing is changed when it
    fails, nor when whoever listens ends it. Raises MoveError.
    """
    target = connections[DEFAULT_DB_ALIAS]
    connections.databases[SOURCE] = {**target.settings_dict, **_parsed(source_url)}
    try:
        # One view of the source from the first look to the last, whatever happens to it meanwhile.
        with transaction.atomic(using=SOURCE):
            tables = _tables()
            _check_versions()
            _check_rest(silent_for_s)
            _check_empty(tables)
            _check_values(tables)
            with transaction.atomic():
                yield from _move_all(tables)
    except DatabaseError as fault:
        raise MoveError(f"A database refuses: {_first_line(fault)}.") from fault
    finally:
        connections[SOURCE].close()
        del connections[SOURCE], connections.databases[SOURCE]


def _parsed(source_url: str) -> dict[str, object]:
    if not source_url.startswith("sqlite:///"):
        raise MoveError(f"{source_url.partition(':')[0]}: the source must be a file, such as sqlite:///var/db.sqlite3.")
    found = dj_database_url.parse(source_url)
    file = Path(found["NAME"])
    if not file.is_file():
        raise MoveError(f"There is no file {file}.")
    if str(connections[DEFAULT_DB_ALIAS].settings_dict["NAME"]) == str(file):
        raise MoveError("Source and target are the same database. Set DATABASE_URL to the target.")
    return {**found, "OPTIONS": {}}


def _tables() -> list[Table]:
    """Every table, each behind those that it refers to."""
    known = [model for model in apps.get_models(include_auto_created=True) if _is_moved(model)]
    order: TopologicalSorter[Table] = TopologicalSorter()
    for model in known:
        related = (field.related_model for field in model._meta.concrete_fields)
        order.add(model, *(other for other in related if isinstance(other, type) and other is not model))
    return list(order.static_order())


def _is_moved(model: Table) -> bool:
    # Who runs now runs on the target.
    is_left_out = model._meta.app_label in LEFT_OUT_APPS or model in (Process, SocketCount)
    return model._meta.managed and not model._meta.proxy and not is_left_out


def _check_versions() -> None:
    applied = [
        {name for name in MigrationRecorder(connections[alias]).applied_migrations() if name[0] not in LEFT_OUT_APPS}
        for alias in (SOURCE, DEFAULT_DB_ALIAS)
    ]
    for words, lacking in (("source", applied[1] - applied[0]), ("target", applied[0] - applied[1])):
        if lacking:
            name = ".".join(min(lacking))
            first = "Run `python manage.py migrate` on it first, with this version of the program."
            raise MoveError(f"The {words} lacks migration {name}. {first}")


def _check_rest(silent_for_s: float) -> None:
    """What a running site writes after it was read would be lost."""
    for alias, words in ((SOURCE, "source"), (DEFAULT_DB_ALIAS, "target")):
        heard = Process.objects.using(alias).filter(beat_at__gte=Now() - timedelta(seconds=silent_for_s))
        if count := heard.count():
            wait = f"Stop the site; what was killed is forgotten after {silent_for_s:g} s."
            raise MoveError(f"The {words} is in use by {count} processes. {wait}")


def _check_empty(tables: list[Table]) -> None:
    for model in tables:
        is_made = model._meta.label_lower in MADE_BY_MIGRATIONS or model._meta.auto_created
        if not is_made and model._base_manager.exists():
            raise MoveError(f"The target is not empty: {model._meta.db_table} has rows. Take a new database.")


def _check_values(tables: list[Table]) -> None:
    """Before anything is written: what SQLite holds is not always what other databases take."""
    for model in tables:
        found = unfit.first_fault(model, source=SOURCE, target=DEFAULT_DB_ALIAS)
        if found:
            raise MoveError(f"{found}. Correct it in the source first.")


def _move_all(tables: list[Table]) -> Iterator[Progress]:
    target = connections[DEFAULT_DB_ALIAS]
    for model in reversed(tables):
        if model._meta.label_lower in MADE_BY_MIGRATIONS:
            model._base_manager.all().delete()
    with target.cursor() as cursor:
        if target.features.can_defer_constraint_checks and target.vendor == "postgresql":
            # Each row's references are checked as it is written: those of millions of rows would be kept in memory.
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        for model in tables:
            yield from _move_table(model)
        for statement in target.ops.sequence_reset_sql(no_style(), tables):
            cursor.execute(statement)
    ContentType.objects.clear_cache()
    emit_post_migrate_signal(verbosity=0, interactive=False, db=DEFAULT_DB_ALIAS)


def _move_table(model: Table) -> Iterator[Progress]:
    rows = model._base_manager.using(SOURCE).order_by("pk")
    total, done, table = rows.count(), 0, model._meta.db_table
    found = rows.iterator(chunk_size=BATCH)
    while True:
        try:
            batch = list(islice(found, BATCH))
        except (DatabaseError, ValueError) as fault:
            raise MoveError(f"{table}: what comes after row {done} can't be read: {_first_line(fault)}.") from fault
        if not batch:
            return
        try:
            model._base_manager.bulk_create(batch)
        except (DatabaseError, ValueError) as fault:
            where = f"{table}: rows from {batch[0].pk} to {batch[-1].pk}"
            raise MoveError(f"{where} can't be written: {_first_line(fault)}.") from fault
        done += len(batch)
        yield Progress(table=table, done=done, total=total)


def _first_line(fault: Exception) -> str:
    # What follows it can hold a whole row, with all that was said.
    return str(fault).strip().partition("\n")[0]
