"""How the blocks of an answer lie: what belongs together stands together."""

from __future__ import annotations

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
