"""What is drawn without the parser is what the parser draws."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from chat.render.simple_inline import simple_html

PARSER = MarkdownIt("commonmark", {"breaks": True, "xhtmlOut": False})

PIECES = [
    *("a", "word", "é", "5", " ", " ", " ", "\n", "\t", "\u00a0", "\x85", "_", "*", "**", "***", "`", "``"),
    *(".", ",", "!", "?", "(", ")", '"', "“", ">", "-", "#"),
    *("**b**", "*i*", "`c`", "**two words**", "`**`", "`a > b`"),
]


def drawn_by_parser(text: str) -> str:
    return str(PARSER.renderInline(text)).replace("&quot;", '"')


@given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join))
def test_what_is_simple_is_drawn_as_the_parser_draws_it(text: str) -> None:
    html = simple_html(text)
    assert html is None or html == drawn_by_parser(text)


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("Hello! It's 5 > 4.", "Hello! It's 5 &gt; 4."),
        ("**Bold**, *slanted* and `a < b`.", "<strong>Bold</strong>, <em>slanted</em> and <code>a &lt; b</code>."),
        ("(**one**)\n**two**: `*`", "(<strong>one</strong>)<br>\n<strong>two</strong>: <code>*</code>"),
    ],
)
def test_what_people_are_told_most_is_simple(text: str, html: str) -> None:
    assert simple_html(text) == html == drawn_by_parser(text)


DOUBTFUL = [
    *("a*b*", "**a*", "* a *", "***a***", "**a *b* c**", "``a``", "`a", "` a `", "_a_"),
    *("a \nb", "[a](b)", "a@b.c", "c://d"),
]


@pytest.mark.parametrize("text", DOUBTFUL)
def test_what_leaves_a_doubt_is_not(text: str) -> None:
    assert simple_html(text) is None
