"""HTML that foreign code made: what comes out is a table or text, can only be looked at, and is bounded."""

from __future__ import annotations

import html
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat import tables
from chat.tables import CELL_MAX_CHARACTERS, INLINE, MARKS, WHOLE, Extent, harmless, shown
from tests.browser import hostile
from tests.costs import least_ratio

# As pandas makes it, with a table of several levels and its note.
DATA_FRAME = """
<div>
<style scoped>
    .dataframe tbody tr th { vertical-align: top; }
</style>
<table border="1" class="dataframe">
  <thead>
    <tr style="text-align: right;"><th></th><th>month</th><th>note</th></tr>
  </thead>
  <tbody>
    <tr><th rowspan="2" valign="top">2025</th><th>1</th><td>&lt;b&gt;5 &amp; 6</td></tr>
    <tr><th>2</th><td>ü&nbsp;日本</td></tr>
  </tbody>
</table>
<p>2 rows × 3 columns</p>
</div>
"""
ALLOWED = {
    **dict.fromkeys([*MARKS, "table", "thead", "tbody", "tfoot", "tr", "caption", "p", "br"], frozenset()),
    "td": frozenset({"colspan", "rowspan"}),
    "th": frozenset({"colspan", "rowspan", "scope"}),
}
SMALL = Extent(rows_max=3, columns_max=2, characters_max=1_000)
MANY = 100_000

# Classics that turn into something else when a browser reads what another parser has written.
MUTATIONS = (
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=alert(1)&gt;'>",
    "<svg></p><style><a id='</style><img src=1 onerror=alert(1)>'>",
    "<noscript><p title='</noscript><img src=x onerror=alert(1)>'></noscript>",
    "<form><math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<table><tr><td><select><table><tr><td><img src=x onerror=alert(1)>",
    "<svg><desc><table><td></desc><script>alert(1)</script></td></table></svg>",
    "<title></title><textarea><table></textarea><img src=x onerror=alert(1)></table>",
    "<b title='<td>'><td title='</b><script>alert(1)</script>'>x</td>",
    "<!--<img src='--><img src=x onerror=alert(1)//'>",
    "<![CDATA[<table><td onclick=alert(1)>]]><td onclick=alert(1)>x",
    "<scr<script>x</script>ipt>alert(1)</scr</script>ipt>",
    "<<table>td onclick=alert(1)>x<<td>/td>",
    "<table><tr><td>&lt;script&gt;alert(1)&lt;/script&gt;&#60;img src=x onerror=alert(1)&#62;",
    "<table background=javascript:alert(1)><td background='javascript:alert(1)' style='width:expression(alert(1))'>x",
    "<table><caption onclick=alert(1)><a href='javascript:alert(1)'>x</a></caption><tr><td id=status name=x class=y>1",
    "<meta http-equiv=refresh content='0;url=http://evil.example'><link rel=stylesheet href=//e><base href=//e>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe><object data=x></object><embed src=x><frame src=x>",
    "<td data-frame='{}' hx-get=/x hx-swap-oob=true ws-connect=/ws/ colspan='2\" onclick=\"alert(1)'>x",
)
HOSTILE = (*hostile.TEXTS, hostile.NUL, *MUTATIONS)


class Reading(HTMLParser):
    """What a reader of the result sees, by another parser than the one that wrote it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.depth = 0
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED, f"<{tag}>"
        for name, value in attrs:
            assert name in ALLOWED[tag], f"<{tag} {name}>"
            assert value is not None
            assert value.isdigit() or name == "scope"
        self.tags.append(tag)
        if tag != "br":
            self.open.append(tag)
            self.depth = max(self.depth, len(self.open))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError("a comment")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError("a declaration")

    def handle_pi(self, data: str) -> None:
        raise AssertionError("a processing instruction")


def table(rows: int, columns: int, cell: str = "<td>1</td>") -> str:
    return f"<table>{f'<tr>{cell * columns}</tr>' * rows}</table>"


def test_a_data_frame_keeps_its_cells_its_headings_and_its_note() -> None:
    assert harmless(DATA_FRAME) == (
        "<table><thead><tr><th></th><th>month</th><th>note</th></tr></thead>"
        '<tbody><tr><th rowspan="2">2025</th><th>1</th><td>&lt;b&gt;5 &amp; 6</td></tr>'
        "<tr><th>2</th><td>ü&nbsp;日本</td></tr></tbody></table><p>2 rows × 3 columns</p>"
    )


def test_marks_in_text_stay_and_text_stands_in_paragraphs() -> None:
    markup = "<h2>Sum</h2>It is <b>5<sub>2</sub></b>,<br> <span class=x>not</span> <code>6</code><div>at all</div>"
    assert harmless(markup) == "<p>Sum</p><p>It is <b>5<sub>2</sub></b>,<br> not <code>6</code></p><p>at all</p>"


def test_headings_say_what_they_head() -> None:
    markup = "<table><caption>Sales</caption><tr><th scope=col>a<th scope='evil'>b<tr><th SCOPE='row'>c<td colspan=2>d"
    assert harmless(markup) == (
        '<table><caption>Sales</caption><tbody><tr><th scope="col">a</th><th>b</th></tr>'
        '<tr><th scope="row">c</th><td colspan="2">d</td></tr></tbody></table>'
        "<p>Shown: 2 of at least 2 rows.</p>"
    )


@pytest.mark.parametrize(
    "markup",
    ["", "   \n", "<div></div>", "<script>1</script>", "<img src=x>", "<table></table>", "<table><td></table>", "<b>"],
)
def test_where_there_is_nothing_to_see_there_is_nothing(markup: str) -> None:
    assert harmless(markup) == ""


@pytest.mark.parametrize("markup", HOSTILE)
@pytest.mark.parametrize("around", ["{}", "<table><tr><td>{}</td></tr></table>", "<table>{}</table>", "<table><tr>{}"])
def test_hostile_markup_comes_out_as_text_or_not_at_all(around: str, markup: str) -> None:
    Reading(harmless(around.format(markup)))


@pytest.mark.parametrize("markup", HOSTILE)
def test_each_of_the_two_steps_would_hold_alone(markup: str) -> None:
    Reading(tables._cleaner().clean(markup))
    writer = tables._Writer(WHOLE)
    tables._read(markup, writer)
    Reading(writer.finished())


@pytest.mark.parametrize("markup", HOSTILE)
def test_what_was_kept_is_made_harmless_once_more_when_it_is_shown(markup: str) -> None:
    Reading(shown(markup))
    Reading(shown(f"<table><tr><td>{markup}</td></tr></table>"))


def test_what_scripts_and_styles_say_is_no_text() -> None:
    markup = "a<script>1 < 2; '<b>'</script>b<style>td{}</style>c<svg><text>d</text></svg>e<title>f</title><!-- g -->h"
    assert Reading(harmless(markup)).text == "abceh"


TAGS = (
    "table /table tr /tr td th /td thead /tbody caption b /b i p /p div br script /script svg select textarea math /x"
)
PIECES = st.sampled_from(
    [
        *(f"<{tag}>" for tag in TAGS.split()),
        *("<td colspan=3>", "<th rowspan=2>", "<td x='", "<a href=javascript:x>", "<![CDATA[", "<?x", "<!--", "-->"),
        *("<", ">", "&", "&amp;", "&lt", "&#0;", "&nbsp;", "\xa0", '"', "'", "a", " ", "\n", "\0", "ü", "\ud800", "…"),
    ]
)


@given(st.lists(PIECES, max_size=40).map("".join))
def test_whatever_comes_the_result_is_well_formed_and_stays_as_it_is_when_it_is_shown(markup: str) -> None:
    for extent in (INLINE, SMALL, WHOLE):
        made = harmless(markup, extent)
        assert Reading(made).depth <= 14
        assert shown(made) == made


# Bounds


def test_a_long_table_is_cut_with_a_note_of_how_much() -> None:
    made = harmless(table(rows=1_000, columns=1), SMALL)
    assert made.count("<tr>") == 3
    assert made.endswith("</table><p>Shown: 3 of 1,000 rows.</p>")


def test_a_wide_table_is_cut_with_a_note_of_how_much() -> None:
    made = harmless(table(rows=2, columns=1_500), SMALL)
    assert made.count("<td>") == 4
    assert made.endswith("<p>Shown: 2 of 1,500 columns.</p>")


def test_a_table_that_was_cut_off_says_that_there_may_be_more() -> None:
    assert "3 of at least 50 rows" in harmless(table(rows=50, columns=1).removesuffix("</table>"), SMALL)


def test_a_table_within_its_bounds_is_whole_and_says_nothing() -> None:
    made = harmless(table(rows=3, columns=2), SMALL)
    assert made.count("<td>") == 6
    assert made.endswith("</table>")


@pytest.mark.parametrize("spans", ["colspan=1000", "rowspan=65534", "colspan=99999999 rowspan=99999999", "colspan=-1"])
def test_spans_make_no_table_wider_than_its_bound(spans: str) -> None:
    made = harmless(table(rows=100, columns=100, cell=f"<td {spans}>1</td>"), INLINE)
    assert columns_of(made) <= INLINE.columns_max


def columns_of(made: str) -> int:
    """How wide a browser makes it."""
    widest, hanging = 0, [0] * 1_000
    for row in made.split("<tr>")[1:]:
        width = sum(1 for rows in hanging if rows)
        hanging = [max(rows - 1, 0) for rows in hanging]
        for cell in row.split("<td")[1:]:
            across = int(cell.partition('colspan="')[2].partition('"')[0] or 1)
            down = int(cell.partition('rowspan="')[2].partition('"')[0] or 1)
            for _ in range(across):
                hanging[hanging.index(0)] = down - 1
            width += across
        widest = max(widest, width)
    return widest


def test_a_long_cell_is_cut_and_the_next_is_whole() -> None:
    made = harmless(f"<table><tr><td>{'&amp;' * 5_000}<td>{'<b>x' * 5_000}<td>whole</table>")
    first, second, third = made.split("<td>")[1:]
    assert len(first) <= CELL_MAX_CHARACTERS + 10
    assert html.unescape(first.removesuffix("…</td>")) == "&" * (CELL_MAX_CHARACTERS // 5)
    assert len(second) <= CELL_MAX_CHARACTERS + 100
    assert third.startswith("whole")


@pytest.mark.parametrize("piece", ["x", "<", "&", ">", "\xa0", "<p>x", "<b>x</b>", "<br>x", "<table><td>x</table>"])
def test_all_that_comes_together_is_bounded(piece: str) -> None:
    assert len(harmless(piece * MANY)) <= INLINE.characters_max + 2 * CELL_MAX_CHARACTERS


DEEP = {
    "divisions": "<div>",
    "marks": "<b>",
    "different marks": "<b><i>",
    "links": "<a href=x>",
    "fonts": "<font size={}>",
    "tables": "<table><tr><td>",
    "tables alone": "<table>",
    "cells": "<table><tr><td>x<td>",
    "tall cells": "<table><tr><td rowspan=1000>x",
    "pictures": "<svg>",
    "formulas": "<math><mtext>",
    "choices": "<select>",
    "lists": "<ul><li>",
    "brackets": "<",
    "comments": "<!--",
    "scripts": "<script>",
    "half a tag": "<td x='",
    "ends": "</b></td></table>",
    "attributes": "<td colspan=1 rowspan=1 scope=x ",
}


@pytest.mark.parametrize("piece", DEEP.values(), ids=list(DEEP))
def test_a_hundred_thousand_tags_within_each_other_end_and_cost_what_their_length_costs(piece: str) -> None:
    def make(count: int) -> str:
        return "<table><tr><td>" + "".join(piece.format(number) for number in range(count))

    made: list[str] = []
    few, many = make(MANY // 4), make(MANY)
    # Four times as much; what goes by the square would take sixteen times as long.
    assert least_ratio(lambda: made.append(harmless(many, WHOLE)), lambda: harmless(few, WHOLE), enough=9) < 9
    Reading(made[0])
