"""A lexer that tries fewer rules finds what it found before."""

import random
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pygments.lexers import get_lexer_by_name

from chat.render import highlight, lexing
from chat.render.lexing import beginnings, quickened

WORDS = [
    *("def", "class", "if", "return", "import", "SELECT", "function", "var", "let", "x", "Foo", "foo_bar", "é", "ſ"),
    *("0", "1.5e3", "0xff", "'", '"', '"""', "`", "#", "//", "/*", "*/", "--", "<!--", "-->", "<?", "<a>", "</", "\\"),
    *("{", "}", "(", ")", "[", "]", "${", "$x", "@", "=", "==", "=>", ";", ":", ",", ".", "&", "|", "!", "%", "^", "~"),
    *(" ", " ", "  ", "\t", "\n", "\n", "\n    ", "\x0b", "\x1c", "\u00a0", "\u2028", "🙂"),
]


@pytest.mark.parametrize("language", sorted(highlight.LANGUAGES))
def test_the_tokens_are_the_lexers_own(language: str) -> None:
    chance = random.Random(language)
    name = highlight._ALIASES.get(language, language)
    plain, quick = get_lexer_by_name(name), quickened(get_lexer_by_name(name))
    for _ in range(12):
        code = "".join(chance.choice(WORDS) for _ in range(chance.randint(1, 60)))
        expected = list(plain.get_tokens_unprocessed(code))
        assert list(quick.get_tokens_unprocessed(code)) == expected, code
        # What was found out at first is used from then on.
        assert list(quick.get_tokens_unprocessed(code)) == expected, code


def test_characters_with_which_many_rules_begin_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []

    def noted(pattern: Any, flags: int) -> Any:
        compiled.append((str(pattern.data), pattern.state.flags | flags))
        return compiler_compile(pattern, flags)

    compiler_compile = lexing._compiler.compile
    lexer = quickened(get_lexer_by_name("julia"))
    with monkeypatch.context() as patch:
        patch.setattr(lexing._compiler, "compile", noted)
        list(lexer.get_tokens_unprocessed("x = 1\n"))
    assert len(compiled) == len(set(compiled))


EXPRESSIONS = [
    *(
        r"a",
        r"[^a]",
        r"(?i)a",
        r"(?i:a)b",
        r"\s+x",
        r"(?a:\w)",
        r"\d*y",
        r"(?:ab|[c-e])+",
        r"(?=x)y",
        r"(?!a)\w",
        r"(?<=a)b",
    ),
    *(
        r"^#.*$",
        r"(a?)(b?)c",
        r"(a)?(?(1)b|c)",
        r"(?P<q>['\"]).*(?P=q)",
        r"a{0,2}z",
        r"(?>ab|c)",
        r"a*+b",
        r"\bfoo\b",
        r".",
    ),
    *(r"[\W_]", r"(?i)[^k]", r"\\.", r"(?s:.)", r"(?i)(?-i:a)b", r"[^\S\n]+", r"|x", r"$"),
]


@given(st.sampled_from(EXPRESSIONS), st.text(st.sampled_from("aAbBcCdyzxkK#'\"foo \n\t\x1c_1.\\é"), max_size=6))
def test_what_matches_begins_with_one_of_the_beginnings(expression: str, text: str) -> None:
    compiled = re.compile(expression, re.MULTILINE)
    if compiled.match(text):
        assert not text or not text[0].isascii() or text[0] in beginnings(compiled)


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (r"(?:if|else)\b", "ie"),
        (r"[+-]?\d", "+-0123456789"),
        (r"(?i)x", "xX"),
        (r"^\s*\n", "\t\n\v\f\r\x1c\x1d\x1e\x1f "),
    ],
)
def test_most_rules_are_told_apart_by_a_character(expression: str, expected: str) -> None:
    assert beginnings(re.compile(expression)) == set(expected)
