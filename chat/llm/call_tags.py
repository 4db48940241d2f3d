"""The tags of a call inside of a text.

Knows how each is written, and when a text that goes on may still become one. Must not know Markdown, or what
stands between the tags.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

# Prefixes that some models write before the names of the tags.
_NAMESPACES: Final = ("", "antml:", "minimax:")
_OUTER_NAMES: Final = ("function_calls", "tool_call")

_NS: Final = "(?:antml:|minimax:)?"
_OUTER: Final = "function_calls|tool_call"
_NAME: Final = re.compile(r"""\sname\s*=\s*(?:"([^"<>]{1,200})"|'([^'<>]{1,200})')""")

# Blanks between two tags of a call; a person who reads along would not wait for more.
BLANKS: Final = re.compile(r"\s{0,1000}")
BLANKS_MAX_CHARACTERS: Final = 1000

_OPENING: Final = re.compile(rf"<{_NS}(?:({_OUTER})\s{{0,20}}>|invoke(\s[^<>]{{1,400}})>)")
_OPENING_SO_FAR: Final = re.compile(rf"<{_NS}(?:(?:{_OUTER})\s{{0,20}}|invoke(?:\s[^<>]{{0,400}})?)\Z")
_HEADS: Final = tuple(f"<{namespace}{name}" for namespace in _NAMESPACES for name in (*_OUTER_NAMES, "invoke"))
_HEADS_SO_FAR: Final = frozenset(head[:end] for head in _HEADS for end in range(1, len(head) + 1))
_LONGEST_HEAD: Final = max(map(len, _HEADS))
_RESULTS: Final = re.compile(rf"<{_NS}function_results>")
_RESULTS_SO_FAR: Final = frozenset(
    f"<{namespace}function_results"[:end] for namespace in _NAMESPACES for end in range(1, 30)
)
_LONGEST_RESULTS: Final = max(map(len, _RESULTS_SO_FAR))

# Where any of these begins or ends, whoever wrote it.
_ANY: Final = re.compile(rf"<(?=/?{_NS}(?:{_OUTER}|invoke|function_results)\b)")

OUTER_CLOSING: Final = re.compile(rf"</{_NS}(?:{_OUTER})>")
INVOKE_CLOSING: Final = re.compile(rf"</{_NS}invoke\s{{0,20}}>")
PARAMETER: Final = re.compile(rf"<{_NS}parameter(\s[^<>]{{1,400}})>")
ELEMENT: Final = re.compile(r"<(?!(?:invoke|parameter|function_calls|tool_call)\b)([A-Za-z_][\w.-]{0,63})\s{0,20}(/?)>")
CDATA: Final = re.compile(r"\s{0,1000}<!\[CDATA\[")

# A tag of the kinds above that has not ended yet, with the blanks before it.
TAG_SO_FAR: Final = re.compile(r"\s{0,1000}(?:<[^<>]{0,450})?\Z")
CDATA_SO_FAR: Final = re.compile(r"\s{0,1000}(?:<(?:!(?:\[(?:C(?:D(?:A(?:T(?:A)?)?)?)?)?)?)?)?\Z")
_OUTER_CLOSINGS_SO_FAR: Final = frozenset(
    f"</{namespace}{name}"[:end] for namespace in _NAMESPACES for name in _OUTER_NAMES for end in range(1, 30)
)
_LONGEST_OUTER_CLOSING: Final = max(map(len, _OUTER_CLOSINGS_SO_FAR))

# The end of a value that streams, as far as it may be the beginning of its closing tag.
_CLOSING_MAX_CHARACTERS: Final = 120
_CDATA_CLOSING_SO_FAR: Final = re.compile(r"\]\]>\s{0,1000}(?:<[^<>]{0,120})?\Z|\]\]?\Z")

# What has to follow the closing tag of a parameter, so that one inside of its value is a part of the value.
_AFTER: Final = rf"<{_NS}parameter\s|</{_NS}(?:invoke|{_OUTER})\s{{0,20}}>"
AFTER_PARAMETER: Final = re.compile(rf"\s{{0,1000}}(?:{_AFTER})")
AFTER_ELEMENT: Final = re.compile(rf"\s{{0,1000}}(?:{_AFTER}|<[A-Za-z_][\w.-]{{0,63}}\s{{0,20}}/?>)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """The tag that a call begins with.

    tag: as it was written. outer: the name of the outer element; empty for `invoke`, and then name is that of
    the tool. ends_itself: `<invoke name="x"/>`.
    """

    tag: str
    outer: str = ""
    name: str = ""
    ends_itself: bool = False


def opening(text: str, at: int, *, is_final: bool) -> Opening | bool:
    """The tag of a call that begins at a place where a `<` stands.

    False when there is none; True when what follows will tell, which can't be when the text is_final.
    """
    found = _OPENING.match(text, at)
    if found is not None:
        tag, outer, attributes = found[0], found[1], found[2]
        if outer:
            return Opening(tag=tag, outer=outer)
        name = name_in(attributes)
        return Opening(tag=tag, name=name, ends_itself=attributes.endswith("/")) if name else False
    if is_final:
        return False
    if len(text) - at <= _LONGEST_HEAD and text[at:] in _HEADS_SO_FAR:
        return True
    return _OPENING_SO_FAR.match(text, at) is not None


def quoted(text: str) -> str:
    """A text of somebody else's, in which no call and no result begins, not even when a model repeats it."""
    return _ANY.sub("&lt;", text)


def results(text: str, at: int, *, is_final: bool) -> bool | None:
    """Whether the tag of results begins here; None when what follows will tell."""
    if _RESULTS.match(text, at):
        return True
    may_be = len(text) - at <= _LONGEST_RESULTS and text[at:] in _RESULTS_SO_FAR
    return None if may_be and not is_final else False


def is_outer_closing_so_far(text: str, at: int) -> bool:
    """Whether the closing tag of an outer element may begin here, and has not ended yet."""
    return len(text) - at <= _LONGEST_OUTER_CLOSING and text[at:] in _OUTER_CLOSINGS_SO_FAR


def end_of_sure_value(text: str, start: int, *, is_cdata: bool) -> int:
    """How far a text without a closing tag is a part of a value, whatever comes next."""
    if is_cdata:
        so_far = _CDATA_CLOSING_SO_FAR.search(text, max(start, len(text) - 2 * BLANKS_MAX_CHARACTERS))
        return so_far.start() if so_far else len(text)
    place = text.rfind("<", max(start, len(text) - _CLOSING_MAX_CHARACTERS))
    return place if place >= 0 and ">" not in text[place:] else len(text)


def name_in(attributes: str) -> str:
    """The value of the attribute `name`; empty when there is none."""
    found = _NAME.search(attributes)
    return (found[1] or found[2]).strip() if found else ""


@lru_cache(maxsize=256)
def closing(name: str) -> re.Pattern[str]:
    """The closing tag of an element or of `parameter`."""
    return re.compile(rf"</{_NS}{re.escape(name)}\s{{0,20}}>")


@lru_cache(maxsize=256)
def closing_after_cdata(name: str) -> re.Pattern[str]:
    """The end of a CDATA section that is the last of its element."""
    return re.compile(rf"\]\]>\s{{0,1000}}</{_NS}{re.escape(name)}\s{{0,20}}>")
