"""The few statements that every step needs, on one table each: their text is made once from the fields of the model.

The ORM builds and compiles a statement anew each time, which costs ten times what the database itself takes. Values
go in and out through the same conversions of the fields as with the ORM. What is rare, or on several tables, is the
ORM's. Conditions are columns and what they equal, or, with `__gte` behind the name, are not less than.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import AutoField, Model

M = TypeVar("M", bound=Model)
T = TypeVar("T")
# The columns of conditions, and whether each is to be empty: all that makes their text.
_Where = tuple[tuple[str, bool], ...]
# The positions of columns that the database has in another form, and what makes values of them.
_Converters = tuple[tuple[int, Any, tuple[Callable[..., Any], ...]], ...]

# What a field may pass on as it is; and which field did so with which of them, in which database.
_PLAIN = (str, int, bool, type(None))
_PASSED_ON: set[tuple[int, type, str]] = set()

_COMPARISONS = {"": "=", "gte": ">="}


def insert(*rows: Model, ignores_conflicts: bool = False) -> None:
    """New rows of one table, as `bulk_create`, but that they do not learn what keys the database gave them.

    ignores_conflicts: a row that is there already stays as it is; who else inserts it just now is waited for.
    """
    if not rows:
        return
    # The one of this thread, looked up once: `django.db.connection` does so at each touch.
    database = connections[DEFAULT_DB_ALIAS]
    text, fields = _insert(type(rows[0]), database.vendor, len(rows), ignores_conflicts)
    values = [_saved(field, field.pre_save(row, True), database) for row in rows for field in fields]
    _execute(database, text, values, _row_count)


def update(model: type[Model], changes: Mapping[str, Any], /, *, more: bool = False, **where: Any) -> int:
    """Change columns of the rows to which the conditions apply; how many there are.

    more: the changes are added to what is there, which may have grown since it was read.
    """
    database = connections[DEFAULT_DB_ALIAS]
    text, fields = _update(model, database.vendor, tuple(changes), _names(where), more)
    values = [_saved(field, value, database) for field, value in zip(fields, changes.values(), strict=True)]
    return _execute(database, text, values + _given(model, where, database), _row_count)


def delete(model: type[Model], /, **where: Any) -> None:
    """Remove the rows to which the conditions apply, of a table to which no other refers."""
    database = connections[DEFAULT_DB_ALIAS]
    text = _delete(model, database.vendor, _names(where))
    _execute(database, text, _given(model, where, database), _row_count)


def select(
    model: type[M], /, *, order_by: str = "", limit: int | None = None, locks: bool = False, **where: Any
) -> list[M]:
    """The rows to which the conditions apply.

    order_by: a column, with `-` before it from the greatest down; without one they come as the database has them.
    locks: nobody else changes them before the end of this transaction.
    """
    database = connections[DEFAULT_DB_ALIAS]
    text, names, converters = _select(model, database.vendor, _names(where), order_by, limit, locks)
    rows = _execute(database, text, _given(model, where, database), _all_rows)
    return [model.from_db(database.alias, names, _converted(row, converters, database)) for row in rows]


def _execute(database: Any, text: str, values: list[Any], take: Callable[[Any], T]) -> T:
    """Execute a statement, and take what there is of it.

    What Django's cursors do beside each takes longer than SQLite, so that they are left out unless somebody looks on.
    """
    if database.vendor == "sqlite" and not database.execute_wrappers and not database.queries_logged:
        database.validate_no_broken_transaction()
        database.ensure_connection()
        with database.wrap_database_errors:
            return take(database.connection.execute(_as_sqlite_writes_it(text), values))
    with database.cursor() as cursor:
        cursor.execute(text, values)
        return take(cursor)


def _row_count(cursor: Any) -> int:
    return int(cursor.rowcount)


def _all_rows(cursor: Any) -> list[tuple[Any, ...]]:
    return list(cursor.fetchall())


@cache
def _as_sqlite_writes_it(text: str) -> str:
    return text.replace("%s", "?")


def _saved(field: Any, value: Any, database: Any) -> Any:
    """A value as the database takes it."""
    kind = type(value)
    if (id(field), kind, database.vendor) in _PASSED_ON:
        return value
    saved = field.get_db_prep_save(value, database)
    # To learn that again for each value would be a tenth of a step.
    if saved is value and kind in _PLAIN:
        _PASSED_ON.add((id(field), kind, database.vendor))
    return saved


def _converted(row: Iterable[Any], converters: _Converters, database: Any) -> list[Any]:
    values = list(row)
    for position, column, functions in converters:
        for function in functions:
            values[position] = function(values[position], column, database)
    return values


def _names(where: Mapping[str, Any]) -> _Where:
    return tuple((name, value is None) for name, value in where.items())


def _given(model: type[Model], where: Mapping[str, Any], database: Any) -> list[Any]:
    return [
        _saved(_field(model, name.partition("__")[0]), value, database)
        for name, value in where.items()
        if value is not None
    ]


@cache
def _insert(model: type[Model], _vendor: str, count: int, ignores_conflicts: bool) -> tuple[str, list[Any]]:
    fields = [field for field in model._meta.concrete_fields if not isinstance(field, AutoField)]
    columns = ", ".join(_column(model, field.name) for field in fields)
    row = f"({', '.join(['%s'] * len(fields))})"
    text = f"INSERT INTO {_table(model)} ({columns}) VALUES {', '.join([row] * count)}"  # noqa: S608 - names of the models
    return f"{text} ON CONFLICT DO NOTHING" if ignores_conflicts else text, fields


@cache
def _update(
    model: type[Model], _vendor: str, changes: tuple[str, ...], where: _Where, more: bool
) -> tuple[str, list[Any]]:
    columns = [_column(model, name) for name in changes]
    sets = ", ".join(f"{column} = {f'{column} + ' if more else ''}%s" for column in columns)
    text = f"UPDATE {_table(model)} SET {sets}{_where(model, where)}"  # noqa: S608 - names of the models
    return text, [_field(model, name) for name in changes]


@cache
def _delete(model: type[Model], _vendor: str, where: _Where) -> str:
    return f"DELETE FROM {_table(model)}{_where(model, where)}"  # noqa: S608 - names of the models


@cache
def _select(
    model: type[Model], _vendor: str, where: _Where, order_by: str, limit: int | None, locks: bool
) -> tuple[str, list[str], _Converters]:
    database, fields = connections[DEFAULT_DB_ALIAS], model._meta.concrete_fields
    text = f"SELECT {', '.join(_column(model, field.name) for field in fields)} FROM {_table(model)}"  # noqa: S608
    text += _where(model, where)
    if order_by:
        text += f" ORDER BY {_column(model, order_by.removeprefix('-'))} {'DESC' if order_by[0] == '-' else 'ASC'}"
    if limit is not None:
        text += f" LIMIT {limit}"
    # SQLite has one writer at a time, and no word for it.
    if locks and database.features.has_select_for_update:
        text += f" {database.ops.for_update_sql()}"
    columns = [field.get_col(model._meta.db_table) for field in fields]
    functions = [(*database.ops.get_db_converters(one), *one.get_db_converters(database)) for one in columns]
    converters = tuple(found for found in zip(range(len(fields)), columns, functions, strict=True) if found[2])
    return text, [field.attname for field in fields], converters


def _where(model: type[Model], where: _Where) -> str:
    conditions = []
    for name, is_empty in where:
        column, _, comparison = name.partition("__")
        condition = "IS NULL" if is_empty else f"{_COMPARISONS[comparison]} %s"
        conditions.append(f"{_column(model, column)} {condition}")
    return f" WHERE {' AND '.join(conditions)}"


def _field(model: type[Model], name: str) -> Any:
    return model._meta.get_field(name)


def _column(model: type[Model], name: str) -> str:
    return connections[DEFAULT_DB_ALIAS].ops.quote_name(_field(model, name).column)


def _table(model: type[Model]) -> str:
    return connections[DEFAULT_DB_ALIAS].ops.quote_name(model._meta.db_table)
