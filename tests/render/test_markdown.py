"""Markdown, code and formulas: what is drawn, and that nothing else can be."""

import faulthandler
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chat.render import highlight, math
from chat.render.markdown import render
from tests.costs import least_ratio
from tests.render.audit import Audit, text_of


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("a *b* **c** ~~d~~ `e`", '<p dir="auto">a <em>b</em> <strong>c</strong> <s>d</s> <code>e</code></p>\n'),
        ("one\ntwo", '<p dir="auto">one<br>\ntwo</p>\n'),
        ("## h", '<h2 dir="auto" aria-level="4">h</h2>\n'),
        ("> q", '<blockquote dir="auto">\n<p dir="auto">q</p>\n</blockquote>\n'),
        ("3. x", '<ol start="3" dir="auto">\n<li dir="auto">x</li>\n</ol>\n'),
        ("<b>x</b>", '<p dir="auto">&lt;b&gt;x&lt;/b&gt;</p>\n'),
    ],
)
def test_plain_blocks(text: str, html: str) -> None:
    assert render(text) == html


def test_a_table_scrolls_in_its_own_element_and_is_aligned_by_class() -> None:
    html = render("| a | b |\n|:-:|---|\n| 1 | 2 |\n")
    assert html.startswith('<div class="table"><table>')
    assert html.endswith("</table></div>\n")
    assert '<td class="align-center" dir="auto">1</td>' in html
    assert "style" not in html


def test_a_task_list_has_disabled_checkboxes() -> None:
    html = render("- [x] done\n- [ ] open\n")
    assert html.count('type="checkbox"') == html.count('disabled=""') == 2
    assert html.count("checked") == 1


def test_code_is_highlighted_with_classes_and_can_be_copied() -> None:
    html = render("```python\ndef f(): pass\n```\n")
    assert html.startswith('<figure class="code" data-language="python"><figcaption><span>python</span><button')
    assert 'data-action="copy-code"' in html
    assert '<span class="k">def</span>' in html


@pytest.mark.parametrize("info", ['"><script>', 'python" onload="x', "../../etc", "x" * 500, "{.class #id}", "&quot;"])
def test_the_name_of_a_language_reaches_the_page_as_text_only(info: str) -> None:
    html = render(f"```{info}\nx\n```")
    Audit(html)
    assert len(html) < 400


@pytest.mark.parametrize("language", sorted(highlight.LANGUAGES))
def test_every_language_has_a_lexer_that_keeps_the_text(language: str) -> None:
    code = "\n\n  x = {a: \"b\"}; // <c> & 'd'\n\tend # e\n\n"
    assert text_of(highlight.figure(code, language)) == f"{language}Copy{code}\n"


@pytest.mark.parametrize("language", [*sorted(highlight.LANGUAGES), "pytb"])
@pytest.mark.parametrize(
    "code",
    ['Traceback (most recent call last):\n  File "x", line 12', '  File "x", line 1//&', "<", "'", "/*", "\\", "$("],
)
def test_a_text_that_breaks_off_does_not_hang_a_lexer(code: str, language: str) -> None:
    faulthandler.dump_traceback_later(10, exit=True)
    try:
        assert text_of(highlight.figure(code, language)) == f"{language}Copy{code}\n"
    finally:
        faulthandler.cancel_dump_traceback_later()


def test_long_code_is_not_highlighted() -> None:
    assert "<span class" not in highlight.figure("x = 1\n" * 20_000, "python")


@pytest.mark.parametrize(
    "text", ["$x^2$", "\\(x^2\\)", "a $x$, b", "$$x^2$$", "\\[x^2\\]", "$$\nx\n- y\n$$", "| $x$ |\n|-|"]
)
def test_formulas_are_mathml(text: str) -> None:
    html = render(text)
    assert "<math" in html
    assert "$" not in html


@pytest.mark.parametrize(
    "text",
    [
        "$5 and $10",
        "$5-$10",
        "US$5 or US$6",
        "$ x $",
        "a$b$c",
        "`$x$`",
        "\\$x\\$",
        "$HOME/$USER",
        "costs 5$ or 10$",
        "$$",
        "$$$$",
    ],
)
def test_money_and_shell_are_not_formulas(text: str) -> None:
    assert "<math" not in render(text)


def test_display_math_does_not_reach_over_a_blank_line() -> None:
    html = render("$$\nx\n\ny\n$$\n")
    assert "<math" not in html
    assert html.count("<p") == 3


@pytest.mark.parametrize(
    "tex",
    [
        *(
            r"\href{javascript:alert(1)}{x}",
            r"\text{<img src=x onerror=alert(1)>}",
            r"\text{<script>alert(1)</script>}",
        ),
        *(
            r"\class{evil}{x}",
            r"\style{position:fixed}{x}",
            r'\textcolor{red" onclick="x}{y}',
            r"\url{http://evil.example}",
        ),
        *(r"\includegraphics{http://evil.example/x.png}", r"\mathrm{<svg/onload=alert(1)>}", r"\unicode{x3c}script>"),
        *(
            r"\def\a{\b\b}\def\b{\c\c}\a",
            r"\newcommand{\a}{x}\a",
            r"\color{red;background:url(x)}x",
            r"\text{&lt;b&gt;}",
        ),
        *(
            r"\operatorname{<b>}",
            r"\begin{<b>}x\end{<b>}",
            r"\mbox{</math><script>}",
            r"\hspace{9999em}x",
            r"\rule{99999em}{1em}",
        ),
    ],
)
def test_a_formula_brings_no_markup_of_its_own(tex: str) -> None:
    for text in (f"${tex}$", f"$$\n{tex}\n$$"):
        html = render(text)
        Audit(html)
        assert "9999" not in re.sub(r">[^<]*<", "><", html)


@pytest.mark.parametrize(
    "tex",
    [
        r"\frac{1}{2",
        r"\frac",
        r"\unknowncommand x",
        "{" * 60 + "}" * 60,
        "^",
        r"\sqrt" * 400,
        r"\left(" * 400,
        "x^" * 900,
        r"\begin{matrix}" * 60,
        "}" * 9,
        r"\end{a}",
        "x" * 5000,
    ],
)
def test_invalid_tex_is_shown_as_its_source(tex: str) -> None:
    html = math.to_html(tex, display=False)
    assert html.startswith('<code class="math">')
    assert text_of(html) == tex.strip()


PATHOLOGICAL = {
    "quotes": ">" * 100_000,
    "spaced quotes": "> " * 50_000 + "x",
    "brackets": "[" * 100_000,
    "balanced brackets": "[" * 50_000 + "]" * 50_000,
    "images": "![" * 50_000,
    "half links": "[a](" * 25_000,
    "half titles": '[a](http://b "' * 7_000,
    "half references": "[a][b" * 20_000,
    "emphasis": "*a **b " * 14_000,
    "underscores": "_a __b " * 14_000,
    "stars": "*" * 100_000,
    "tildes": "~~a " * 25_000,
    "backticks": "`a``b" * 20_000,
    "dollars": "$a " * 33_000,
    "half math": "\\(" * 50_000,
    "half math blocks": "$$\na\n" * 17_000,
    "angles": "<a" * 50_000,
    "entities": "&a;" * 33_000,
    "schemes": "a://" * 25_000,
    "http": "http://" * 14_000,
    "addresses": "http://a/(" * 10_000,
    "mail": "a@b.co" * 16_000,
    "list": "- " * 50_000,
    "items": "1. a\n" * 20_000,
    "indented items": "\n".join(" " * depth + "- a" for depth in range(400)),
    "letters": "a" * 100_000,
    "spaces": " " * 100_000 + "x",
    "newlines": "\n" * 100_000,
    "backslashes": "\\" * 100_000,
    "table of missing cells": ("|a" * 64 + "\n" + "|-" * 64 + "\n" + "|\n" * 8 + "\n") * 300,
    "endless table of missing cells": "|a" * 300 + "\n" + "|-" * 300 + "\n" + "|\n" * 20_000,
    "definitions": "[a]: b\n" * 14_000,
    "half definitions": "[a\n" * 33_000,
    "setext": "a\n" * 50_000 + "=",
}


ORDINARY = (
    "## Head\n\nSome *words*, `code` and **a [link](https://a.b/c)**.\n\n- one\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n"
)


@pytest.mark.parametrize("name", PATHOLOGICAL)
def test_hostile_text_costs_a_few_times_what_ordinary_text_does_and_never_fails(name: str) -> None:
    ordinary = ORDINARY * (100_000 // len(ORDINARY))
    # The worst of them costs 7 times as much; anything quadratic costs hundreds.
    assert least_ratio(lambda: Audit(render(PATHOLOGICAL[name])), lambda: render(ordinary), enough=40) < 40


def test_text_that_is_nested_too_deeply_is_kept() -> None:
    assert "treasure" in render("> " * 200 + "treasure")
    assert "treasure" in render("- " * 200 + "treasure")


PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            (
                "<script>",
                "</p>",
                "<!--",
                "-->",
                "<![CDATA[",
                "<svg onload=x>",
                "javascript:",
                "](",
                "[x",
                "![",
                "]: ",
                '"',
                "'",
                ">",
                "`",
                "```",
                "\n",
                "\n\n",
                "$",
                "$$",
                "\\(",
                "\\)",
                "\\[",
                "\\]",
                "\\text{",
                "\\href{",
                "}",
                "|",
                "\n|-|-|\n",
                "- ",
                "&lt;",
                "&#0;",
                "&#x3c;",
                "\x00",
                "\u202e",
                "\u2028",
                "http://a.b/",
                "data:text/html,",
                " onclick=",
                "<",
                "**",
                "~~",
            )
        ),
        st.text(max_size=4),
    ),
    max_size=30,
)


@settings(max_examples=500, deadline=None)
@given(pieces=PIECES)
def test_whatever_the_text_only_known_elements_attributes_and_addresses_come_out(pieces: list[str]) -> None:
    Audit(render("".join(pieces)))
