"""How the blocks of an answer lie: what belongs together stands together."""

from __future__ import annotations

import pytest
from playwright.sync_api import FloatRect, Locator

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import Say
from tests.browser.visitor import Tab, Visitor


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
