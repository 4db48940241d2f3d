"""Tables and progress in a tool's card: the same in every tab and on a fresh page, and nothing that runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from playwright.sync_api import expect

from chat.llm.arguments import as_json
from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import CallTool, Say, ScriptedRequest, Step
from tests.browser import hostile
from tests.browser.conftest import Arrive, serving
from tests.browser.test_fresh_page import expect_the_same
from tests.browser.visitor import Tab, Visitor
from tests.patient import tools as patient
from tests.server import ServerProcess

# A kernel's start on a busy machine.
RUN_TIMEOUT_MS = 60_000
WIDE_AND_LONG = """
import numpy as np, pandas as pd
pd.set_option("display.max_columns", None, "display.max_rows", None)
print("Here it is")
pd.DataFrame(np.arange(300 * 60).reshape(300, 60), columns=[f"sensor {n}" for n in range(60)])
"""
HOSTILE = """
from IPython.display import HTML, display
for text in {texts!r}:
    display(HTML("<table><caption>hostile</caption><tr><td>before<td>" + text + "</table>"))
"""
# As many as one execution may show.
TABLES_MAX = 20
PHONE = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
# Width and height that are scrolled in, and that are there; then the same of the whole page, in width.
MEASURES = """() => {
  const table = document.querySelector(".call-table"), page = document.documentElement;
  return {
    table: [table.scrollWidth > table.clientWidth, table.scrollHeight > table.clientHeight],
    page: page.scrollWidth > page.clientWidth,
    columns: table.querySelectorAll("thead th").length,
    rows: table.querySelectorAll("tbody tr").length,
  };
}"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the gates of the patient tool are."""
    return tmp_path_factory.mktemp("shows")


@pytest.fixture(scope="module")
def showing_server(model: ScriptedServer, place: Path) -> Iterator[ServerProcess]:
    """A site with an app of somebody else's, whose tools ask nobody."""
    server = ServerProcess(place, upstream=model.base_url, AGENT_TOOL_POLICIES="execute_python=auto")
    server.environ |= patient.environ(place)
    yield from serving(server)


def show(tab: Tab, upstream: ScriptedServer, *calls: CallTool) -> None:
    """Let the model make these calls, and wait for what they show."""

    def script(request: ScriptedRequest) -> Sequence[Step]:
        return (Say(text="There."),) if request.tool_results else calls

    upstream.script = script
    tab.say("Show me")


def python(code: str) -> CallTool:
    return CallTool(name="execute_python", arguments=as_json({"code": code}))


def expect_done(tab: Tab) -> None:
    expect(tab.page.locator("[data-call-id]")).to_have_attribute("data-call-state", "succeeded", timeout=RUN_TIMEOUT_MS)
    tab.expect_phase("idle")


@pytest.mark.parametrize("options", [{}, {"color_scheme": "dark"}, PHONE], ids=["desk", "dark", "phone"])
def test_a_wide_and_long_table_scrolls_in_itself_and_says_how_much_is_left_out(
    arrive: Arrive, showing_server: ServerProcess, upstream: ScriptedServer, options: dict[str, object]
) -> None:
    visitor = arrive(showing_server, **options)
    tab = visitor.open()
    other = visitor.open(tab.conversation)
    show(tab, upstream, python(WIDE_AND_LONG))
    expect_done(tab)
    measures = tab.page.evaluate(MEASURES)
    assert measures["table"] == [True, True]
    assert not measures["page"]
    assert measures["columns"] == 50
    assert 20 < measures["rows"] < 300
    note = f"Shown: {measures['rows'] + 1} of 301 rows, 50 of 61 columns."
    expect(tab.page.locator(".call-table")).to_contain_text(note)
    expect(tab.page.get_by_role("group", name="Table made by execute_python")).to_be_visible()
    for one in (tab, other):
        expect_the_same(one, visitor.open(tab.conversation))


@pytest.mark.parametrize("start", range(0, len(hostile.TEXTS), TABLES_MAX))
def test_hostile_tables_are_shown_and_nothing_of_them_runs(
    arrive: Arrive, showing_server: ServerProcess, upstream: ScriptedServer, start: int
) -> None:
    visitor = arrive(showing_server)
    tab = visitor.open()
    texts = hostile.TEXTS[start : start + TABLES_MAX]
    show(tab, upstream, python(HOSTILE.format(texts=texts)))
    expect_done(tab)
    fresh = visitor.open(tab.conversation)
    for one in (tab, fresh):
        expect(one.page.locator(".call-table caption")).to_have_text(["hostile"] * len(texts))
        assert (
            one.page.locator(".call-table :not(table, caption, thead, tbody, tr, th, td, p, b, i, u, br)").count() == 0
        )
        assert one.page.locator(".call-table [class], .call-table [id], .call-table [style]").count() == 0
        assert one.page.evaluate(hostile.INTRUDERS) == []
    expect_the_same(tab, fresh)


def test_how_far_a_tool_is_is_seen_in_every_tab_and_gone_at_the_end(
    arrive: Arrive, showing_server: ServerProcess, upstream: ScriptedServer, place: Path
) -> None:
    visitor = arrive(showing_server)
    tab = visitor.open()
    show(tab, upstream, CallTool(name="climb"))
    bar, words = tab.page.locator(".call-progress progress"), tab.page.locator(".call-progress span")
    expect(words).to_have_text("step 0 of <4>")
    expect(bar).to_have_js_property("position", 0)
    patient.open_gate(place, 0)
    expect(words).to_have_text("step 1 of <4>")
    expect(bar).to_have_js_property("position", 0.25)
    expect(bar).to_be_visible()
    late = visitor.open(tab.conversation)
    expect(late.page.locator(".call-progress span")).to_have_text("step 1 of <4>")
    expect(late.page.locator(".call-output")).to_have_text("on step 0\non step 1\n")
    expect_the_same(tab, late)
    for number in range(1, 4):
        patient.open_gate(place, number)
    for one in (tab, late):
        expect(one.page.locator(".call-progress span")).to_have_text("looking around")
        # What can't be said has no position.
        expect(one.page.locator(".call-progress progress")).to_have_js_property("position", -1)
    patient.open_gate(place, 4)
    expect_done(tab)
    expect(tab.page.locator(".call-progress")).to_have_count(0)
    expect_the_same(tab, visitor.open(tab.conversation))
    assert_nothing_is_kept(visitor, tab)


def assert_nothing_is_kept(visitor: Visitor, tab: Tab) -> None:
    """How far it was is nobody's business later."""
    assert "looking around" not in visitor.person.get(f"{tab.path}export.json")[1]
