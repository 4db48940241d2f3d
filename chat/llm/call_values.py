"""What the words inside of a call mean: the value of a parameter, the calls in a JSON text.

Knows entities, CDATA and JSON. Must not know tags, or how much of a call has come.

A value is escaped as a whole or not at all: entities are read only when no `<`, no other `&`, and none of the
characters that its entities stand for, stand in it as they are.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from chat.llm.arguments import as_json, is_object
from chat.llm.speakable import speakable

_JSON_GAP: Final = re.compile(r"[\s,]*")
_FIRST_LINE_END: Final = re.compile(r"\A[ \t]*\r?\n")
_LAST_LINE_END: Final = re.compile(r"\r?\n[ \t]*\Z")
_AMPERSAND: Final = re.compile(r"&(?:(lt|gt|amp|quot|apos)|#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6}));|&")
_NAMED: Final = {"lt": "<", "gt": ">", "amp": "&", "quot": '"', "apos": "'"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """A whole call: its parameters as they were written, or the JSON of an object."""

    name: str
    arguments: Mapping[str, str] | str


def value(text: str, *, is_cdata: bool) -> str:
    """The value of what stands between two tags: without the line ends beside the tags, and without escapes."""
    text = _LAST_LINE_END.sub("", _FIRST_LINE_END.sub("", text, count=1), count=1)
    if is_cdata:
        return text.replace("]]><![CDATA[", "")
    return _unescaped(text) if "&" in text else text


def _unescaped(text: str) -> str:
    if "<" in text:
        return text
    parts: list[str] = []
    meant: set[str] = set()
    end = 0
    for found in _AMPERSAND.finditer(text):
        character = _character(found)
        if not character:
            return text
        meant.add(character)
        parts += (text[end : found.start()], character)
        end = found.end()
    raw = "".join(parts[::2]) + text[end:]
    return text if any(character in raw for character in meant) else "".join(parts) + text[end:]


def _character(entity: re.Match[str]) -> str:
    """What an entity stands for; empty for a lone `&`, and for a number that is no character."""
    name, decimal, hexadecimal = entity.groups()
    if name:
        return _NAMED[name]
    code = int(decimal) if decimal else int(hexadecimal, 16) if hexadecimal else 0
    return chr(code) if 0 < code < 0xD800 or 0xE000 <= code <= 0x10FFFF else ""


def json_calls(text: str) -> list[Written] | None:
    """The calls in a JSON text; none when it can't be read; None when it ends inside of a string."""
    values: list[object] = []
    place = 0
    decoder = json.JSONDecoder(strict=False)
    try:
        while (place := _after_gap(text, place)) < len(text):
            value, place = decoder.raw_decode(text, place)
            values += value if isinstance(value, list) else [value]
        calls = [_json_call(value) for value in values]
    except json.JSONDecodeError as error:
        return None if error.msg.startswith("Unterminated string") else []
    except (ValueError, RecursionError):
        return []
    return [call for call in calls if call is not None] if all(calls) else []


def _after_gap(text: str, place: int) -> int:
    gap = _JSON_GAP.match(text, place)
    return gap.end() if gap else place


def _json_call(value: object) -> Written | None:
    """Raises ValueError for numbers that JSON can't say."""
    if not isinstance(value, dict):
        return None
    function = value.get("function")
    fields = function if isinstance(function, dict) else value
    name = fields.get("name")
    arguments = fields.get("arguments", fields.get("parameters"))
    if not isinstance(name, str) or not name:
        return None
    # Its escapes can say what the text that they stand in can't hold.
    name = speakable(name)
    if arguments is None or arguments == "":
        return Written(name=name, arguments="{}")
    if isinstance(arguments, str):
        return Written(name=name, arguments=speakable(arguments)) if is_object(arguments) else None
    return Written(name=name, arguments=speakable(as_json(arguments))) if isinstance(arguments, dict) else None
