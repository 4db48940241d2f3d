"""How the blocks of an answer lie: what belongs together stands together."""

from __future__ import annotations

import pytest
from playwright.sync_api import FloatRect, Locator, expect

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import Gate, Say, Wait
from tests.browser import seeing
from tests.browser.conftest import Arrive
from tests.browser.test_accessibility import PHONE
from tests.browser.visitor import Tab, Visitor
from tests.server import ServerProcess

# Two or three words in the text of a table.
CELL_PX = 100


def answered(visitor: Visitor, upstream: ScriptedServer, text: str) -> Tab:
    """A tab with an answer of this text."""
    upstream.script = lambda request: (Say(text=text),)
    tab = visitor.open()
    tab.ask("Show me")
    return tab


def box(locator: Locator) -> FloatRect:
    """Where it lies on the page."""
    found = locator.bounding_box()
    assert found is not None
    return found


def test_the_headings_of_an_answer_stand_below_those_of_the_page(visitor: Visitor, upstream: ScriptedServer) -> None:
    gate = Gate()
    upstream.script = lambda request: (Say(text="# Settled\n\nText.\n\nAlso\n====\n\nMore"), Wait(gate=gate))
    tab = visitor.open()
    tab.say("Show me")

    def expect_outline() -> None:
        expect(tab.answer.get_by_role("heading")).to_have_text(["Settled", "Also"])
        tree = tab.page.context.new_cdp_session(tab.page).send("Accessibility.getFullAXTree")
        outline = {
            node["name"]["value"]: next(one["value"]["value"] for one in node["properties"] if one["name"] == "level")
            for node in tree["nodes"]
            if node.get("role", {}).get("value") == "heading"
        }
        title = tab.page.locator("#title").inner_text()
        assert {name for name, level in outline.items() if level == 1} == {title}
        assert outline["Assistant"] == 2
        assert outline["Settled"] == outline["Also"] == 3

    expect_outline()
    gate.open()
    tab.expect_phase("idle")
    expect_outline()
    tab.load()
    expect_outline()
    status, written = visitor.person.get(f"/c/{tab.conversation}/export.md")
    assert status == 200
    assert "# Settled\n\nText.\n\nAlso\n====" in written


def test_a_block_of_code_ends_with_its_lines(visitor: Visitor, upstream: ScriptedServer) -> None:
    tab = answered(visitor, upstream, "First:\n\n```python\nx = 1\n```\n\nLast.")
    figure, lines = box(tab.answer.locator("figure")), box(tab.answer.locator("figure pre"))
    assert figure["y"] + figure["height"] == lines["y"] + lines["height"]
    assert box(tab.answer.locator("p").last)["y"] > figure["y"] + figure["height"] + 8


@pytest.mark.parametrize("blank", ["", "\n"], ids=["tight", "loose"])
def test_the_box_of_a_task_stands_beside_its_first_line(visitor: Visitor, upstream: ScriptedServer, blank: str) -> None:
    tab = answered(visitor, upstream, f"- [x] done\n{blank}- [ ] to do {'word ' * 60}\n")
    for number in (0, 1):
        item = tab.answer.locator("li").nth(number)
        tick, whole = box(item.locator("input")), box(item)
        line_px = box(tab.answer.locator("li").first)["height"]
        assert whole["y"] < tick["y"]
        assert tick["y"] + tick["height"] < whole["y"] + line_px < 40 + whole["y"]
        assert tick["x"] + tick["width"] < whole["x"]


@pytest.mark.parametrize(
    "text", ["1. ראשון\n2. שני\n", "- ראשון\n\n- שני\n", "> ציטוט\n"], ids=["tight", "loose", "quote"]
)
def test_what_is_written_from_right_to_left_has_its_marks_on_the_right(
    arrive: Arrive, server: ServerProcess, upstream: ScriptedServer, text: str
) -> None:
    gate = Gate()
    upstream.script = lambda request: (Say(text=text), Wait(gate=gate))
    tab = arrive(server, **PHONE).open()
    tab.say("Show me")

    def expect_marks_on_the_right() -> None:
        block = tab.answer.locator("li, blockquote p").last
        expect(block).to_be_visible()
        assert block.evaluate("element => getComputedStyle(element.closest('li, blockquote')).direction") == "rtl"
        whole, inside = box(tab.answer), box(block)
        assert whole["x"] == inside["x"]
        assert whole["x"] + whole["width"] > inside["x"] + inside["width"] + 12
        assert seeing.wide(tab.page) == []

    expect_marks_on_the_right()
    gate.open()
    tab.expect_phase("idle")
    expect_marks_on_the_right()


def test_a_table_whose_first_head_is_written_from_right_to_left_begins_on_the_right(
    visitor: Visitor, upstream: ScriptedServer
) -> None:
    tab = answered(visitor, upstream, "שלום\n\n| א | ב |\n|--|--|\n| ג | ד |\n")
    first, second = tab.answer.locator("th").all()
    assert box(first)["x"] > box(second)["x"]
    assert box(first)["x"] + box(first)["width"] > box(tab.answer)["x"] + box(tab.answer)["width"] - 2


ALIGNED = "\\begin{aligned} a &= b \\\\ aaa + b &= c + d \\end{aligned}"
CASES = "\\begin{cases} x & \\text{if it is so} \\\\ x + y + z & \\text{else} \\end{cases}"
GATHERED = "\\begin{gathered} a = b \\\\ a + b + c = d \\end{gathered}"


def edges(formula: Locator, column: int) -> tuple[set[int], set[int]]:
    """Where what is in the cells of a column begins and ends, each edge once."""
    left, right = set(), set()
    for row in formula.locator("mtr").all():
        parts = [box(part) for part in row.locator("mtd").nth(column).locator("> *").all()]
        left.add(round(parts[0]["x"]))
        right.add(round(parts[-1]["x"] + parts[-1]["width"]))
    return left, right


def test_equations_are_aligned_as_they_say(visitor: Visitor, upstream: ScriptedServer) -> None:
    tab = answered(visitor, upstream, "\n\n".join(f"$${tex}$$" for tex in (ALIGNED, CASES, GATHERED)))
    aligned, cases, gathered = tab.answer.locator("math").all()
    (_, ends), (begins, _) = edges(aligned, 0), edges(aligned, 1)
    assert len(ends) == len(begins) == 1, "an equation is aligned by its sign"
    assert begins == ends, "and its halves meet there"
    for column in (0, 1):
        assert len(edges(cases, column)[0]) == 1
    left, right = edges(gathered, 0)
    assert min(left) + max(right) == pytest.approx(max(left) + min(right), abs=1)
    assert len(left) == len(right) == 2


def test_in_a_wide_table_headers_wrap_and_cells_have_room_for_words(
    arrive: Arrive, server: ServerProcess, upstream: ScriptedServer
) -> None:
    heads = ("Number", "How many requests come in an hour", "What it does when things go wrong", "Who can use it")
    cells = ("1", "some, or a few more", "it tries again after a while, and then again", "anybody at all")
    table = "\n".join(f"| {' | '.join(row)} |" for row in (heads, ("-:", "--", "--", "--"), cells))
    tab = answered(arrive(server, **PHONE), upstream, f"{table}\n")
    number, *words = (box(head)["width"] for head in tab.answer.locator("th").all())
    assert number < CELL_PX
    assert all(CELL_PX < width < 2 * CELL_PX for width in words), words
    assert seeing.wide(tab.page) == []
