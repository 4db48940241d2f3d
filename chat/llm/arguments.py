"""The arguments of a call: their JSON, and the types that a schema gives to words.

Knows JSON and the parts of JSON schema that say a type. Must not know tools, or where a call was read.
It does not check arguments against a schema: what does not fit stays as it was written, for the check to find.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

# A call that is longer than this is none: no program that a person could approve is.
MAX_CALL_CHARACTERS: Final = 1_000_000

_OBJECT: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_INTEGER: Final = re.compile(r"[+-]?\d{1,300}")
_NUMBER: Final = re.compile(r"[+-]?(?:\d{1,300}(?:\.\d{0,300})?|\.\d{1,300})(?:[eE][+-]?\d{1,3})?")

# A schema that refers to itself is followed so far.
_MAX_SCHEMA_DEPTH: Final = 8

_ALL_TYPES: Final = frozenset({"string", "integer", "number", "boolean", "null", "array", "object"})


def is_object(text: str) -> bool:
    """Whether a text is the JSON of an object."""
    try:
        _OBJECT.decode(text)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        pass
    else:
        return True
    # Control characters inside of strings: msgspec is strict, models and most readers are not.
    try:
        return isinstance(json.loads(text, strict=False), dict)
    except (ValueError, RecursionError):
        return False


def as_json(value: object) -> str:
    """The JSON of a value, as a model would write it. Raises ValueError for what JSON can't say."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def typed_arguments(parameters: Mapping[str, str], schema: Mapping[str, object]) -> dict[str, object]:
    """Parameters as values of the types that the tool's schema names.

    parameters: as written in the text, all of them strings. schema: the JSON schema of an object. Only what is
    unambiguous is converted: where a string is allowed, or no type is named, or the words fit none of the
    types, the string stays as it is.
    """
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return dict(parameters)
    return {name: _typed(text, _types(properties.get(name), schema)) for name, text in parameters.items()}


def _types(schema: object, root: Mapping[str, object], depth: int = 0) -> frozenset[str]:
    """The names of the JSON types that a schema allows; every one where it does not say."""
    if not isinstance(schema, Mapping) or depth > _MAX_SCHEMA_DEPTH:
        return _ALL_TYPES
    types = _ALL_TYPES
    named = schema.get("type")
    if isinstance(named, str):
        types &= {named}
    elif isinstance(named, list | tuple):
        types &= frozenset(name for name in named if isinstance(name, str))
    elif "enum" in schema or "const" in schema:
        types &= frozenset(_types_of_values(schema))
    reference = schema.get("$ref")
    if isinstance(reference, str):
        types &= _types(_referred(reference, root), root, depth + 1)
    for several in ("anyOf", "oneOf"):
        options = schema.get(several)
        if isinstance(options, list | tuple):
            types &= frozenset().union(*(_types(option, root, depth + 1) for option in options))
    options = schema.get("allOf")
    for option in options if isinstance(options, list | tuple) else ():
        types &= _types(option, root, depth + 1)
    return types | {"integer"} if "number" in types else types


def _types_of_values(schema: Mapping[str, object]) -> Iterator[str]:
    values = schema.get("enum")
    for value in values if isinstance(values, list | tuple) else (schema.get("const"),):
        yield _type(value)


def _type(value: object) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int():
            return "integer"
        case float():
            return "number"
        case list() | tuple():
            return "array"
        case Mapping():
            return "object"
        case _:
            return "string"


def _referred(reference: str, root: Mapping[str, object]) -> object:
    found: object = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found


def _typed(text: str, types: frozenset[str]) -> object:
    if "string" in types:
        return text
    word = text.strip()
    lower = word.lower()
    if "boolean" in types and lower in ("true", "false"):
        return lower == "true"
    if "null" in types and lower in ("null", "none"):
        return None
    if "integer" in types and _INTEGER.fullmatch(word):
        return int(word)
    if "number" in types and _NUMBER.fullmatch(word):
        number = float(word)
        return number if math.isfinite(number) else text
    if types & {"array", "object"}:
        try:
            value: object = json.loads(word, strict=False)
            as_json(value)
        except (ValueError, RecursionError):
            return text
        if isinstance(value, list | dict) and _type(value) in types:
            return value
    return text
