"""What every step writes and reads without the ORM is what the ORM reads and would have written, column by column.

The same on every database; select one by DATABASE_URL.
"""

from __future__ import annotations

import uuid
from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.db.models import AutoField, ForeignKey, Model
from django.test.utils import CaptureQueriesContext

from chat import models
from chat.store import statements
from tests.store.kept import Kept, make_user

pytestmark = pytest.mark.django_db(transaction=True)

WRITTEN: tuple[type[Model], ...] = (
    models.Agent,
    models.AgentVersion,
    models.Conversation,
    models.Event,
    models.Message,
    models.QueuedMessage,
    models.Run,
    models.ToolCall,
    models.Tally,
    models.UsageDay,
    models.AgentUsageDay,
)
FULL: dict[str, Any] = {
    "BooleanField": True,
    "CharField": "it's “ü” 100 %s \\",
    "DateField": date(2024, 2, 29),
    "DateTimeField": datetime(2024, 2, 29, 23, 59, 59, 123456, tzinfo=UTC),
    "JSONField": [{"name": "ü's \" %s", "size": 3, "is": None}],
    "PositiveBigIntegerField": 2**62,
    "PositiveIntegerField": 2**31 - 1,
    "PositiveSmallIntegerField": 2**15 - 1,
    "TextField": "it's\n“ü” 🙂 %(x)s ? \\" * 1000,
}


def new(model: type[Model], *, is_full: bool = True) -> Model:
    """A row that is not stored, with something in every column; or with nothing in those that can be empty."""
    values: dict[str, Any] = {}
    for field in model._meta.concrete_fields:
        if isinstance(field, AutoField):
            continue
        if not is_full and (field.null or field.blank or field.has_default()) and not field.primary_key:
            continue
        if isinstance(field, ForeignKey):
            values[field.attname] = parent(field.related_model)
        elif field.get_internal_type() == "UUIDField":
            values[field.attname] = uuid.uuid4()
        else:
            values[field.attname] = FULL[field.get_internal_type()]
            if isinstance(values[field.attname], str) and field.max_length:
                values[field.attname] = values[field.attname][: field.max_length]
    return model(**values)


def parent(model: Any) -> Any:
    """The key of a row to which another can refer."""
    if model._meta.model_name == "user":
        return make_user(uuid.uuid4().hex)
    row = new(model)
    if isinstance(row, models.Agent):
        row.name = uuid.uuid4().hex
        row.is_default = False
    row.save()
    return row.pk


def columns(row: Model) -> dict[str, Any]:
    """All that is in a row, but for the key that the database gives."""
    return {
        field.attname: getattr(row, field.attname)
        for field in row._meta.concrete_fields
        if not isinstance(field, AutoField)
    }


def first_condition(row: Model) -> dict[str, Any]:
    """What names a row that was made by `new`."""
    field = next(field for field in row._meta.concrete_fields if not isinstance(field, AutoField))
    return {field.attname: getattr(row, field.attname)}


@pytest.mark.parametrize("is_full", [True, False], ids=["full", "empty"])
@pytest.mark.parametrize("model", WRITTEN, ids=lambda model: model.__name__)
def test_each_column_that_is_inserted_comes_back_from_both(model: type[Model], is_full: bool) -> None:
    row = new(model, is_full=is_full)
    statements.insert(row)
    by_orm = model._default_manager.get(**first_condition(row))
    (found,) = statements.select(model, **first_condition(row))
    assert columns(by_orm) == columns(row)
    assert columns(found) == columns(row)
    assert found == by_orm  # the same key
    assert [type(value) for value in columns(found).values()] == [type(value) for value in columns(by_orm).values()]


@pytest.mark.parametrize("model", WRITTEN, ids=lambda model: model.__name__)
def test_each_column_can_be_changed(model: type[Model]) -> None:
    row = new(model, is_full=False)
    statements.insert(row)
    kept = first_condition(row)
    wanted = columns(new(model)) | kept
    changes = {name: value for name, value in wanted.items() if name not in kept}
    assert statements.update(model, changes, **kept) == 1
    assert columns(model._default_manager.get(**kept)) == wanted
    emptied = {field.attname: None for field in model._meta.concrete_fields if field.null}
    if emptied:
        statements.update(model, emptied, **kept)
        assert columns(model._default_manager.get(**kept)) == wanted | emptied


def test_only_rows_to_which_all_conditions_apply_are_read_changed_and_removed() -> None:
    kept = Kept(make_user())
    kept.send("a")
    kept.complete("b")
    of_it: dict[str, Any] = {"conversation_id": kept.conversation_id}
    events = list(models.Event.objects.filter(**of_it).order_by("seq"))
    assert statements.select(models.Event, order_by="seq", **of_it) == events
    assert statements.select(models.Event, order_by="-seq", limit=2, **of_it) == events[:-3:-1]
    assert statements.select(models.Event, order_by="seq", seq__gte=3, **of_it) == events[2:]
    assert statements.select(models.Event, seq=2, name="none", **of_it) == []
    # An empty column is no value that could be equal.
    assert statements.select(models.Event, seq=1, actor_id=None, **of_it) == []
    assert statements.select(models.Event, seq=3, actor_id=None, **of_it) == [events[2]]
    assert statements.update(models.Run, {"owner": uuid.uuid4()}, ended_at=None, **of_it) == 0
    statements.delete(models.Event, seq=2, **of_it)
    assert [event.seq for event in models.Event.objects.filter(**of_it).order_by("seq")] == [
        1,
        *range(3, len(events) + 1),
    ]


def test_rows_are_inserted_together_in_one_statement() -> None:
    conversation_id = parent(models.Conversation)
    rows = [new(models.Message) for _ in range(3)]
    for position, row in enumerate(rows):
        vars(row).update(conversation_id=conversation_id, position=position)
    with CaptureQueriesContext(connection) as queries:
        statements.insert(*rows)
        statements.insert()
    assert len(queries) == 1
    found = statements.select(models.Message, order_by="position", conversation_id=conversation_id)
    assert list(map(columns, found)) == list(map(columns, rows))


def test_a_row_that_is_there_stays_as_it_is_where_that_is_wanted() -> None:
    this: dict[str, Any] = {"user_id": make_user(), "day": date(2024, 2, 29)}
    for tokens in (1, 2):
        statements.insert(models.UsageDay(prompt_tokens=tokens, **this), ignores_conflicts=True)
    assert models.UsageDay.objects.get().prompt_tokens == 1


def test_what_is_added_is_added_to_what_is_there_now() -> None:
    this: dict[str, Any] = {"user_id": make_user(), "day": date(2024, 2, 29)}
    assert statements.update(models.UsageDay, {"prompt_tokens": 1}, more=True, **this) == 0
    models.UsageDay.objects.create(prompt_tokens=2**40, **this)
    assert statements.update(models.UsageDay, {"prompt_tokens": 1, "completion_tokens": 2}, more=True, **this) == 1
    day = models.UsageDay.objects.get()
    assert (day.prompt_tokens, day.completion_tokens) == (2**40 + 1, 2)


def test_what_the_database_refuses_is_the_same_fault_as_with_the_orm() -> None:
    row = new(models.Tally)
    statements.insert(row)
    with pytest.raises(IntegrityError), transaction.atomic():
        statements.insert(row)
    with pytest.raises(KeyError):
        statements.select(models.Tally, count__between=1)


def test_nothing_goes_on_in_a_transaction_that_is_lost() -> None:
    with transaction.atomic():
        transaction.set_rollback(True)
        with pytest.raises(transaction.TransactionManagementError):
            statements.select(models.Tally, key="a")


def test_who_looks_on_sees_the_same_as_who_does_not() -> None:
    conversation_id = parent(models.Conversation)
    first, second = new(models.Message), new(models.Message)
    for position, row in enumerate((first, second)):
        vars(row).update(conversation_id=conversation_id, position=position)
    with CaptureQueriesContext(connection):
        statements.insert(first)
        (seen,) = statements.select(models.Message, conversation_id=conversation_id)
    statements.insert(second)
    found = statements.select(models.Message, order_by="position", conversation_id=conversation_id)
    assert columns(seen) == columns(first)
    assert list(map(columns, found)) == [columns(first), columns(second)]


def test_a_row_is_locked_where_the_database_has_locks() -> None:
    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        statements.select(models.Tally, locks=True, key="a")
    assert queries[0]["sql"].endswith("FOR UPDATE") == connection.features.has_select_for_update
