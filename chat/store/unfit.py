"""Finds values that a SQLite file holds and the database of a site would refuse.

SQLite keeps no length of a text and no range of a number, and takes characters that others do not. Knows columns. Must
not know what they mean, and says where a value is, never what it is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.db import connections, models
from django.db.models import Case, Value, When
from django.db.models.functions import Cast, Length, Replace, StrIndex
from django.db.models.lookups import GreaterThan, LessThan


def first_fault(model: type[models.Model], *, source: str, target: str) -> str:
    """Where and what it is, in words; empty when every row is fit. Reads the table once.

    source, target: the aliases of the two databases.
    """
    faults = [fault for field in model._meta.concrete_fields for fault in _faults(field, target)]
    if not faults:
        return ""
    marks = Case(
        *(When(condition, then=Value(number)) for number, (_, condition) in enumerate(faults)),
        output_field=models.IntegerField(),
    )
    rows = model._base_manager.using(source).annotate(unfit=marks).filter(unfit__isnull=False)
    found = rows.values_list("pk", "unfit").first()
    return "" if found is None else f"{model._meta.db_table} {found[0]}: {faults[found[1]][0]}"


def _faults(field: models.Field[Any, Any], target: str) -> Iterator[tuple[str, GreaterThan | LessThan]]:
    """What can be wrong with a column, in words and as a condition."""
    name = field.attname
    if isinstance(field, models.JSONField):
        # An escape counts when the backslash before it is not itself escaped.
        text = Replace(Cast(name, models.TextField()), Value("\\\\"), Value(""))
        yield f"{field.name} has a NUL character", GreaterThan(StrIndex(text, Value("\\u0000")), 0)
    elif isinstance(field, models.CharField | models.TextField | models.FileField):
        yield f"{field.name} has a NUL character", GreaterThan(StrIndex(name, Value("\0")), 0)
        if field.max_length is not None:
            too_long = f"{field.name} has more than {field.max_length} characters"
            yield too_long, GreaterThan(Length(name), field.max_length)
    elif isinstance(field, models.IntegerField):
        low, high = connections[target].ops.integer_field_range(field.get_internal_type())
        for bound, condition in ((low, LessThan), (high, GreaterThan)):
            if bound is not None:
                yield f"{field.name} is beyond {bound}", condition(models.F(name), bound)
