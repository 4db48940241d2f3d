"""Pygments' lexers at a third of their price.

Knows: that a lexer tries the rules of its state one after the other, and what a regular expression may begin with. Must
not know: languages, what becomes of tokens. Most rules can't match at a character, and which do is found out once. What
can't be told of a rule is taken for possible: the tokens are the lexer's own.
"""

import functools
import re
from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any, Final

from pygments.lexer import Lexer, RegexLexer

# A rule of a state: its regular expression's `match`, what it makes, and the state after it.
_Rule = tuple[Callable[..., Any], Any, Any]

# How the library itself reads expressions; that has no public name.
_parser: Final = import_module("re._parser")
_compiler: Final = import_module("re._compiler")

# Characters of ASCII: at others, every rule is tried.
_ALL: Final = frozenset(map(chr, range(128)))

# A longer expression is tried at each character: to read all words of a language takes longer than most code does.
MAX_EXPRESSION_CHARS: Final = 1_000


def quickened(lexer: Lexer) -> Lexer:
    """The lexer, which tries fewer rules from now on; as it is when it has none."""
    if isinstance(lexer, RegexLexer):
        # The library keeps them so, and has no public name for them either.
        lexer._tokens = {state: _State(rules) for state, rules in lexer._tokens.items()}  # type: ignore[attr-defined]
    return lexer


def beginnings(expression: re.Pattern[str]) -> frozenset[str]:
    """The characters of ASCII with which a match may begin; all of them when it may be empty or is too long."""
    if len(expression.pattern) > MAX_EXPRESSION_CHARS:
        return _ALL
    found, may_be_empty = _of_sequence(_parser.parse(expression.pattern, expression.flags), 0)
    return _ALL if may_be_empty else found


class _State:
    """The rules of one state. The lexer goes through them anew at each position."""

    def __init__(self, rules: Sequence[_Rule]) -> None:
        self._rules = rules
        self._beginnings: list[frozenset[str]] = []
        self._by_character: dict[str, Sequence[_Rule]] = {"": rules}

    def __iter__(self) -> Iterator[_Rule]:
        # A first rule, which never matches, is told the position.
        characters: list[str] = []
        yield lambda text, position, *_: characters.append(text[position : position + 1]), None, None
        (character,) = characters
        known = self._by_character.get(character)
        yield from self._find(character) if known is None else known

    def _find(self, character: str) -> Sequence[_Rule]:
        if character not in _ALL:
            return self._rules
        if not self._beginnings:
            # A bound method of an expression, which no type says.
            self._beginnings = [beginnings(match.__self__) for match, _, _ in self._rules]  # type: ignore[attr-defined]
        found = tuple(rule for rule, some in zip(self._rules, self._beginnings, strict=True) if character in some)
        self._by_character[character] = found
        return found


def _of_sequence(items: Any, flags: int) -> tuple[frozenset[str], bool]:
    """What it may begin with, and whether it may be empty. flags: those that hold here and not everywhere."""
    found: frozenset[str] = frozenset()
    for item in items.data:
        some, may_be_empty = _of_item(item, items.state, flags)
        found |= some
        if not may_be_empty:
            return found, False
    return found, True


def _of_item(item: tuple[Any, Any], state: Any, flags: int) -> tuple[frozenset[str], bool]:
    operation, operand = item
    match str(operation):
        case "LITERAL" | "NOT_LITERAL" | "IN" | "ANY":
            hashable = tuple(operand) if isinstance(operand, list) else operand
            return _of_character(operation, hashable, state.flags | flags), False
        case "BRANCH":
            each = [_of_sequence(items, flags) for items in operand[1]]
            return frozenset().union(*(found for found, _ in each)), any(may_be_empty for _, may_be_empty in each)
        case "SUBPATTERN" if not operand[2]:
            return _of_sequence(operand[3], flags | operand[1])
        case "MAX_REPEAT" | "MIN_REPEAT" | "POSSESSIVE_REPEAT":
            found, may_be_empty = _of_sequence(operand[2], flags)
            return found, may_be_empty or operand[0] == 0
        case "ATOMIC_GROUP":
            return _of_sequence(operand, flags)
        case "AT" | "ASSERT" | "ASSERT_NOT":
            return frozenset(), True
    return _ALL, True


@functools.cache
def _of_character(operation: Any, operand: Any, flags: int) -> frozenset[str]:
    """What one character may be. Rules begin with the same ones, and a set with most of Unicode takes milliseconds."""
    item = (operation, list(operand) if isinstance(operand, tuple) else operand)
    return frozenset(filter(_compiler.compile(_parser.SubPattern(_parser.State(), [item]), flags).match, _ALL))
