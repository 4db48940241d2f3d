"""The laws of MarkdownStream: the page built by operations is the page drawn afresh, and at the end it is `render`.

A failure that says "depends on how … was cut" means that a view took something into account that the text so far does
not say: most often a decision on a part of a line that more of the line changes, or state that is kept from one view
to the next.
"""

from collections.abc import Iterable, Iterator, Sequence
from html.parser import HTMLParser

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it.token import Token

from chat.render import blocks
from chat.render.markdown import Environment, parse_blocks, render
from chat.render.markdown_stream import Append, MarkdownStream, Operation

VOID = frozenset(("br", "hr", "input"))


class Element:
    """As much of a DOM as the two operations need."""

    def __init__(self, tag: str, attributes: Sequence[tuple[str, str | None]] = ()) -> None:
        self.tag = tag
        self.attributes = dict(attributes)
        self.children: list[Element | str] = []

    def find(self, element_id: str) -> "Element | None":
        if self.attributes.get("id") == element_id:
            return self
        for child in self.children:
            if isinstance(child, Element) and (found := child.find(element_id)) is not None:
                return found
        return None

    def text(self) -> str:
        return "".join(child if isinstance(child, str) else child.text() for child in self.children)

    def inner(self) -> str:
        return "".join(child if isinstance(child, str) else child.outer() for child in self.children)

    def outer(self) -> str:
        attributes = "".join(f" {name}={value!r}" for name, value in self.attributes.items())
        return f"<{self.tag}{attributes}>{self.inner()}</{self.tag}>"


class _Fragment(HTMLParser):
    """Strict: a tag that is closed out of turn is a bug of ours."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.root = Element("root")
        self._open = [self.root]
        self.feed(html)
        self.close()
        assert self._open == [self.root], f"unclosed elements in {html!r}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, attrs)
        self._open[-1].children.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop().tag == tag

    def handle_data(self, data: str) -> None:
        self._open[-1].children.append(data)


def parse(html: str) -> list[Element | str]:
    return _Fragment(html).root.children


class Page:
    """A page that knows the two operations and nothing else."""

    def __init__(self, settled: str = "", tail: str = "") -> None:
        self.root = Element("root")
        for place, html in (("settled", settled), ("tail", tail)):
            element = Element("div", [("id", f"m1-{place}")])
            element.children = parse(html)
            self.root.children.append(element)

    def apply(self, operations: Iterable[Operation]) -> None:
        for operation in operations:
            element = self.root.find(f"m1-{operation.place}")
            assert element is not None, f"no element for {operation}"
            if not isinstance(operation, Append):
                element.children.clear()
            element.children.extend(parse(operation.html))


def fed(*texts: str) -> MarkdownStream:
    stream = MarkdownStream("m1")
    for text in texts:
        stream.feed(text)
    return stream


def afresh(text: str) -> Page:
    stream = fed(text)
    return Page("".join(stream.settled), stream.tail())


def cut(text: str, at: Iterable[int]) -> Iterator[str]:
    start = 0
    for end in [*sorted(at), len(text)]:
        yield text[start:end]
        start = end


def check_laws(text: str, pieces: Iterable[str]) -> None:
    stream = MarkdownStream("m1")
    page = Page()
    seen = ""
    settled: list[str] = []
    for piece in pieces:
        stream.feed(piece)
        seen += piece
        page.apply(stream.flush())
        assert stream.settled[: len(settled)] == settled, "a settled block changed"
        settled = list(stream.settled)
        fresh = fed(seen)
        assert "".join(settled) == "".join(fresh.settled), f"settled blocks depend on how {seen!r} was cut"
        drawn = Page("".join(fresh.settled), fresh.tail())
        assert page.root.outer() == drawn.root.outer(), f"the page depends on how {seen!r} was cut"
    assert seen == text
    page.apply(stream.finish())
    assert stream.tail() == ""
    if stream.is_stale:
        assert "]:" in text
    else:
        assert "".join(stream.settled) == render(text)
        assert page.root.outer() == Page(render(text)).root.outer()


CORPUS = [
    "Hello *world*, this is **bold** and `code` and ~~gone~~.\n\nSecond paragraph\nwith two lines.\n",
    "# Title\n\nText\n\n## Sub *x*\ntext right after\n### Again\n---\nafter\n***\n",
    "Setext\n===\ntext\n---\n\n- - -\n* * *\nx\n",
    "Here is a list:\n- one\n- two **bold**\n  - nested\n  - more\n- three\n\nAfter.\n\n* loose\n\n* items\n\n  2\n",
    "1. first\n2. second\n   ```python\n   def f():\n\n       return 1\n   ```\n3. third\n\nText\n10) ten\n11) x\n",
    "```python\ndef f(x):\n    return '<a>' & x\n\n\n# ``` no\n```\nafter\n~~~\n```\n~~~\n",
    "Open fence\n```js\nlet a = `x`;\n``\nmore",
    "  ```\n   indented\n x\n  ```\n",
    "| a | b |\n|---|:-:|\n| 1 | `x` |\n| **2** | 3 |\n\nafter\n\ntext\na | b\n--|--\n1 | 2\n# head\n",
    "> quote\nlazy\n> more\n\n> second\n> - list\n> ```\n> code\n> ```\ntext\n",
    "$$\na\n- b\n= c\n$$\ntext $x^2$ and $5 and $10 \\(y\\)\n\\[\nz\n\\]\n\n$$\nunclosed\n- list\n\n- real list\n",
    "$$x$$\n$$ a $$ text\ntext\n$$\nx\n$$\n",
    "[a]: http://x.y\n'title'\n\n[a] and [b]\n\n[c]: http://c\n[c]\n",
    "[late] is used\n\n- item [late]\n\n[late]: http://late.example\n",
    '[a]: http://x\n"ti\n2. x\ntle"\n\nuse [a]\n',
    "- a\n\n  [x]: http://in.list\n\n[x]\n",
    "    indented\n\n    code\ntext\n\n\ttab\n",
    "- [ ] todo\n- [x] done\n\n1. [a](http://b)\n",
    "<b>html</b>\n<div>\nblock\n</div>\n\n<!-- c -->\n",
    "CRLF\r\nline\r\n\r\n- a\r\n- b\r\rx\r",
    "http://a.b/c_d_e and me@x.org https://\nx",
    'unclosed **bold and `code and [link](http://x "ti\n\ntle") done**`\n',
    "*a **b ***c\nd** e* f\n" * 3,
    "a\u2028b \u05d0\u05d1\u05d2 \U0001f600 \x00 \xa0x\n\n\u3000y\n",
    "- a | b\n--|--\nx\n\n# a | b\n--|--\n1|2\n",
    "``` | x\n--|--\n1 | 2\n",
    "- \n-\n\n-\n  a\n*\n",
    "1986. A great year\n1987\n\n2. two\n",
    "> $$\n> a\n> $$\n\n- $$\n  a\n  $$\n- b\n",
    "word " * 60 + "**bold " + "word " * 60 + "** end [x](http://y) " + "word " * 40 + "\nnext line " * 20,
    "- " + "item word " * 40 + "\n- next `x` " + "word " * 40 + "\n\n  loose now\n",
    "---\n\n--------------------------------\nx\n" + "| " + "-" * 250 + "\n",
    "a\n\n\n\n   b\n   \n c\n",
    'Words with **bold**, `code` and [a](http://b.c "t").\nA line, *with* more  \nbreak\\\nend [x\n\nnext] one.\n',
    "- **One:** text\n- two `x` and\nmore\n- three\n\nAfter\n\n3. three\n4. four *x\n   y*\n\n**End** it\n",
    "* a\n* b\n\n- [ ] c\n- d\n\ne\n\n- f\n\n  g\n\nh\n- i\n  - j\n\nk\n\n- ```\n  l\n\nm\n",
    "1. Install:\n  ```python\nimport a\n\nimport b\n  ```\n\nDone\n\n - x:\n  ```\ny\n\nz\n  ```\n\nEnd\n",
    "-\n\n- =\na\n\n- b\n\n  \xa0\na\n",
    "b\n\u2028$$\n\na\n\x0c$$\n\nc\n\u3000\\[\n\n",
    "p``\n\t``\n\nd$$\\\n &$$\n\n",
    "b\x85\n\nb\x1c\n\n",
]


# What is taken for something else while it is open.
DECEPTIVE = ["- a `b\n\t- c\n\nd\n", "-\nno item\n\nb\n", "-     code\n\nc\n\n-    d\n  e\n\nf\n"]


@pytest.mark.parametrize("text", [*CORPUS, *DECEPTIVE])
def test_cut_at_every_character_the_page_is_the_page_drawn_afresh(text: str) -> None:
    check_laws(text, text)


# fmt: off
LINES = st.sampled_from((
    "", "", "# h", "text", "text *em* **b", "b** c", "- a", "- b",
    "  - n", "  c", "    deep", "* s", "+ p", "1. a", "2. b", "3) c",
    "```", "```py", "  ```", "~~~", "````", "> q", ">", ">> q",
    "---", "***", "===", "-", "--", "a | b", "--|--", "|1|2|",
    ":-:|-", "$$", "$$x$$", "$$ y", "z $$", "\\[", "\\]", "\\(m\\)",
    "$a$ $5", "[a]: http://a", "[a]:", "[a]", "[A][b] [b]", "[b]: <http://b> 'T'", "'T'", "'T",
    "T'", "<b>", "<!--", "`x", "``y`", "\tq", "\t- t", "- [ ] k",
    "![i](http://i)", "[l](http://l", '"t")', "http://u.v", "a\\", "&amp;", "\x00", "  ",
    "-  x", "1.", ">  - z", "   - y", "- - w", "é\u2028", "[c]: http://c", "[a]: http://z",
    "some **more** words", "- **One**: item `x", "- two", "2. two *x*", "to b` end", "x  ",
    "a@b.c, http://q.r_s_ now", "**b", "* * *x", "> - q", "  > r", "$$ a | b", "```a|b", "> ```", "> # h", "1. - a",
    " - Install:", "- =", "\x0c$$", "\u2028\\[", "\xa0", "x\x85", "y\x1c", "\t``", " &$$",
    "- $$", "  $$", "- ```", "  > $$", "***b", "__c__ _d", "https://a.b/_c_*d*",
))
# fmt: on
TEXTS = st.lists(st.tuples(LINES, st.sampled_from(("\n", "\n", "\n", "\n\n", " ", "\r\n", "\r", "")))).map(
    lambda parts: "".join(line + end for line, end in parts)
)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(text=TEXTS, data=st.data())
def test_any_text_cut_anywhere_ends_as_its_rendering(text: str, data: st.DataObject) -> None:
    places = data.draw(st.lists(st.integers(0, len(text)), max_size=12))
    check_laws(text, cut(text, places))


@pytest.mark.parametrize("text", [text for text in CORPUS if "[late]" not in text])
def test_after_each_line_the_preview_says_what_the_rendering_says(text: str) -> None:
    for end in [index + 1 for index, character in enumerate(text) if character == "\n"]:
        so_far = text[:end]
        assert "".join(afresh(so_far).root.text().split()) == "".join(Page(render(so_far)).root.text().split())


def test_a_link_used_before_its_definition_makes_the_stream_stale() -> None:
    stream = fed("See [it].\n\n[it]: http://a.example\n")
    stream.finish()
    assert stream.is_stale
    assert "<a" not in "".join(stream.settled)


def test_a_link_in_a_list_before_its_definition_makes_the_stream_stale() -> None:
    stream = fed("- See [it].\n- That\n\nText\n\n[it]: http://a.example\n")
    stream.finish()
    assert stream.is_stale


def test_a_link_used_after_its_definition_does_not_make_the_stream_stale() -> None:
    stream = fed("[it]: http://a.example\n\nSee [it] and [that].\n\n[it]: http://b.example\n")
    stream.finish()
    assert not stream.is_stale
    assert 'href="http://a.example"' in "".join(stream.settled)


def test_an_open_fence_looks_like_code_with_its_first_line() -> None:
    tail = fed("Look:\n```python\nprint(1)").tail()
    assert tail.startswith('<figure class="code" data-language="python">')
    assert "print(1)" in tail


@pytest.mark.parametrize("marks", ["-", "**", "1.", "|---|--", "```", "```py", "#", "==", "$$"])
def test_a_line_of_marks_is_not_shown_before_it_is_clear_what_it_is(marks: str) -> None:
    assert fed("text\n", marks).tail() == fed("text\n").tail()


@pytest.mark.parametrize(
    ("start", "line"),
    [
        ("", "words with **bold** and `code` "),
        ("[ a bracket that never closes ", "words and words "),
        ("**never closed ", "words and words "),
        ("", "words\n"),
        ("```python\n", "x = 1\n"),
        ("```json\n", "1,"),
        ("", "- an item with **bold**\n"),
        ("", "1. an item\n\n"),
        ("- a\n", "  - nested\n"),
        ("1. a\n   ```\n", "   code\n"),
        ("|a|b|\n|-|-|\n", "|1|2|\n"),
        ("", "> quoted\n"),
        ("> - a\n", ">   - nested\n"),
        ("", "A paragraph.\n\n"),
    ],
)
def test_a_flush_costs_the_same_at_the_end_of_a_long_text(start: str, line: str) -> None:
    stream = fed(start)
    stream.flush()
    for _ in range(60_000 // len(line)):
        stream.feed(line)
        sent = sum(len(operation.html) for operation in stream.flush())
        assert sent < 5_000
        assert stream.tail_cost < 3_000


@pytest.mark.parametrize(
    ("start", "line"),
    [
        ("```\n", "x = 1\n"),
        ("", "words\n"),
        ("", "- an item\n"),
        ("", "1. an item\n\n"),
        ("", "> quoted\n"),
        ("", "# h\n\n"),
    ],
)
def test_many_lines_at_a_time_are_parsed_a_few_times_and_no_more(
    start: str, line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed = 0

    def counted(text: str, env: Environment) -> list[Token]:
        nonlocal parsed
        parsed += len(text)
        return parse_blocks(text, env)

    monkeypatch.setattr(blocks, "parse_blocks", counted)
    stream = fed(start)
    for _ in range(6_000 // len(line)):
        stream.feed(10 * line)
        stream.flush()
    assert 0 < parsed < 60_000 * 4


def test_tail_cost_tells_of_a_block_that_is_drawn_whole() -> None:
    stream = fed("    indented code\n" * 100)
    assert stream.tail_cost > 1_000


@pytest.mark.parametrize("text", ["> " * 500 + "x", "- " * 500 + "x", "1. " * 300 + "x", "[" * 5_000, ">" * 5_000])
def test_deep_nesting_neither_fails_nor_loses_text(text: str) -> None:
    stream = MarkdownStream("m1")
    for piece in cut(text, range(0, len(text), 97)):
        stream.feed(piece)
        stream.flush()
    stream.finish()
    assert "".join(stream.settled) == render(text)
    assert text.rstrip("[>")[-1:] in render(text)
