from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.llm.arguments import as_json, is_object, typed_arguments


def typed(text: str, schema: object, root: dict[str, object] | None = None) -> object:
    return typed_arguments({"x": text}, {"type": "object", "properties": {"x": schema}} | (root or {}))["x"]


@pytest.mark.parametrize(
    ("text", "schema", "value"),
    [
        ("5", {"type": "integer"}, 5),
        (" -5\n", {"type": "integer"}, -5),
        ("5.0", {"type": "integer"}, "5.0"),
        ("five", {"type": "integer"}, "five"),
        ("1_000", {"type": "integer"}, "1_000"),
        ("9" * 400, {"type": "integer"}, "9" * 400),
        ("5", {"type": "number"}, 5),
        ("5.5e1", {"type": "number"}, 55.0),
        ("1e999", {"type": "number"}, "1e999"),
        ("nan", {"type": "number"}, "nan"),
        ("true", {"type": "boolean"}, True),
        ("False", {"type": "boolean"}, False),
        ("yes", {"type": "boolean"}, "yes"),
        ("1", {"type": "boolean"}, "1"),
        ("null", {"type": ["integer", "null"]}, None),
        ("null", {"type": ["string", "null"]}, "null"),
        ("5", {"type": "string"}, "5"),
        ("5", {"type": ["string", "integer"]}, "5"),
        ("5", {}, "5"),
        ("5", True, "5"),
        ("[1, 2]", {"type": "array"}, [1, 2]),
        ('{"a": null}', {"type": "object"}, {"a": None}),
        ("[1]", {"type": "object"}, "[1]"),
        ("[NaN]", {"type": "array"}, "[NaN]"),
        ("[1", {"type": "array"}, "[1"),
        ("[" * 5_000, {"type": "array"}, "[" * 5_000),
        ("5", {"anyOf": [{"type": "integer"}, {"type": "null"}]}, 5),
        ("None", {"anyOf": [{"type": "integer"}, {"type": "null"}]}, None),
        ("5", {"anyOf": [{"type": "integer"}, {"type": "string"}]}, "5"),
        ("5", {"allOf": [{"type": "integer"}]}, 5),
        ("2", {"enum": [1, 2]}, 2),
        ("2", {"enum": ["1", "2"]}, "2"),
        ("true", {"const": True}, True),
        ("5", {"$ref": "#/$defs/Count"}, 5),
        ("5", {"$ref": "#/$defs/Loop"}, "5"),
        ("5", {"$ref": "#/$defs/Missing"}, "5"),
    ],
)
def test_words_become_values_only_where_the_schema_leaves_no_doubt(text: str, schema: object, value: object) -> None:
    root: dict[str, object] = {"$defs": {"Count": {"type": "integer"}, "Loop": {"$ref": "#/$defs/Loop"}}}
    found = typed(text, schema, root)
    assert found == value
    assert type(found) is type(value)


def test_parameters_that_the_schema_does_not_know_stay_strings() -> None:
    assert typed_arguments({"a": "1"}, {}) == {"a": "1"}
    assert typed_arguments({"a": "1"}, {"properties": {"b": {"type": "integer"}}}) == {"a": "1"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.text(), JSON, max_size=3) | st.lists(JSON, max_size=3))
def test_arrays_and_objects_come_back_from_their_json(value: object) -> None:
    kind = "object" if isinstance(value, dict) else "array"
    assert typed(as_json(value), {"type": kind}) == value
    assert is_object(as_json(value)) == isinstance(value, dict)


@given(st.text())
def test_whether_a_text_is_an_object_can_be_asked_of_any(text: str) -> None:
    assert not is_object(text) or text.strip().startswith("{")


@pytest.mark.parametrize("text", ['{"a": "line\nend"}', '{"a": 1}', " {} ", '{"a": "\\ud800"}'])
def test_what_lenient_readers_take_is_an_object(text: str) -> None:
    assert is_object(text)
