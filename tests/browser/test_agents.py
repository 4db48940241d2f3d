"""Agents in the browser: staff make them by the admin's form, a person chooses one, and reads of what comes of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import Say
from tests.browser import seeing
from tests.browser.conftest import serving
from tests.browser.test_accessibility import PHONE, TARGET_PX
from tests.browser.test_admin import staff
from tests.browser.visitor import Tab, Visitor
from tests.server import ServerProcess

Arrive = Callable[..., Visitor]
CHOICE = "Agent of a new conversation"
LONG = "Writer of all that is long: " + "letters, reports and books, " * 8
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "phone": {"color_scheme": "dark", **PHONE},
}


@pytest.fixture(scope="module")
def manned(model: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The site before anybody made an agent."""
    yield from serving(ServerProcess(tmp_path_factory.mktemp("manned"), upstream=model.base_url))


@pytest.fixture
def agents(arrive: Arrive, manned: ServerProcess, upstream: ScriptedServer) -> Page:
    """Staff at the list of agents, among which are an analyst and a writer."""
    upstream.script = lambda request: (Say(text="An answer."),)
    page = staff(arrive, manned)
    page.goto("/admin/chat/agent/")
    for name, description in (("Analyst", "For figures"), ("Writer", LONG)):
        if not page.get_by_role("link", name=name, exact=True).count():
            page.goto("/admin/chat/agent/add/")
            page.get_by_label("Name:").fill(name)
            page.get_by_label("Description:").fill(description)
            page.get_by_label("Instructions:").fill("First line.\nSecond line.")
            keep(page)
    return page


def keep(page: Page) -> None:
    page.get_by_role("button", name="Save", exact=True).click()
    expect(page.locator(".messagelist .success")).to_be_visible()


def change(page: Page, name: str) -> None:
    """Open the form of an agent."""
    page.goto("/admin/chat/agent/")
    page.get_by_role("link", name=name, exact=True).click()
    expect(page.get_by_label("Name:")).to_have_value(name)


def started(tab: Tab) -> Tab:
    """The tab once it has come to a new conversation."""
    before = tab.path
    tab.page.wait_for_url(lambda url: "/c/" in url and not url.endswith(before))
    return Tab(tab.page, tab.page.url.rstrip("/").rpartition("/")[2])


def test_who_uses_the_keyboard_alone_starts_with_the_agent_they_want(
    arrive: Arrive, manned: ServerProcess, agents: Page, upstream: ScriptedServer
) -> None:
    tab = arrive(manned).open()
    choice = tab.page.get_by_label(CHOICE)
    expect(choice.locator("option")).to_have_text(["Analyst: For figures", f"Writer: {LONG.strip()}"])
    choice.focus()
    choice.press("W")
    choice.press("Tab")
    tab.page.keyboard.press("Enter")
    fresh = started(tab)
    fresh.expect_connection("online")
    expect(fresh.page.locator(".top .agent")).to_have_text("Agent: Writer, version 1 v1")
    fresh.ask("Hello?")
    assert r"First line.\nSecond line." in json.dumps(dict(upstream.exchanges[-1].request.body))


def test_a_form_that_is_sent_back_as_it_came_is_no_version_and_a_change_is_one(agents: Page) -> None:
    change(agents, "Analyst")
    numbers = agents.locator("#versions-group .field-number p")
    before = numbers.count()
    agents.get_by_role("button", name="Save and continue editing").click()
    expect(agents.locator(".messagelist .success")).to_be_visible()
    expect(numbers).to_have_count(before)
    agents.get_by_label("Model:").fill(f"model-{before}")
    agents.get_by_role("button", name="Save and continue editing").click()
    expect(numbers).to_have_text([str(number) for number in range(before + 1, 0, -1)])


@pytest.mark.parametrize("look", LOOKS)
def test_the_choice_is_readable_and_large_enough(
    arrive: Arrive, manned: ServerProcess, agents: Page, look: str, tmp_path: Path
) -> None:
    options = LOOKS[look]
    tab = arrive(manned, **options).open()
    if look == "phone":
        tab.page.locator("#open-drawer").click()
        expect(tab.page.locator("#close-drawer")).to_be_in_viewport()
    expect(tab.page.get_by_label(CHOICE)).to_be_in_viewport()
    assert seeing.unnamed(tab.page) == []
    assert seeing.faint(tab.page) == []
    assert seeing.wide(tab.page) == []
    assert look != "phone" or seeing.small(tab.page, TARGET_PX) == []


def test_a_long_name_leaves_room_for_the_title_on_a_narrow_page(
    arrive: Arrive, manned: ServerProcess, agents: Page
) -> None:
    tab = arrive(manned, viewport={"width": 320, "height": 640}).open()
    tab.page.locator("#open-drawer").click()
    tab.page.get_by_label(CHOICE).select_option(label="Analyst: For figures")
    tab.page.get_by_role("button", name="New conversation", exact=True).click()
    tab = started(tab)
    tab.ask("What did we sell in each month of the year, and to whom?")
    agent = tab.page.locator(".top .agent")
    agent.evaluate("element => element.prepend('The accounting assistant, ')")
    expect(agent).to_be_visible()
    box = tab.page.locator("#title").bounding_box()
    assert box is not None
    assert box["width"] > 120
    assert seeing.wide(tab.page) == []


def test_without_javascript_a_person_chooses_too(arrive: Arrive, manned: ServerProcess, agents: Page) -> None:
    visitor = arrive(manned, java_script_enabled=False, **PHONE)
    page = visitor.context.new_page()
    page.goto("/")
    page.get_by_label(CHOICE).select_option(label="Analyst: For figures")
    page.get_by_role("button", name="New conversation", exact=True).click()
    expect(page.locator(".top .agent")).to_contain_text("Analyst")


def test_an_agent_that_is_gone_is_said_in_words_and_nothing_written_is_lost(
    arrive: Arrive, manned: ServerProcess, agents: Page
) -> None:
    visitor = arrive(manned)
    tab = visitor.open()
    tab.page.get_by_label(CHOICE).select_option(label="Analyst: For figures")
    tab.page.get_by_role("button", name="New conversation", exact=True).click()
    tab = started(tab)
    tab.expect_connection("online")
    tab.ask("Hello?")
    change(agents, "Analyst")
    switch = agents.get_by_label("Switched on")
    switch.uncheck()
    keep(agents)
    tab.say("And now?")
    expect(tab.page.get_by_text("This agent is not there for you any more.")).to_be_visible()
    expect(tab.page.locator("#message-text")).to_have_value("And now?")
    tab.expect_texts("assistant", "An answer.")
    # The one that is left is not offered as if there were a choice; a form from before is answered in words.
    other = visitor.open(tab.conversation)
    expect(other.page.locator("#agent-off")).to_contain_text("start a new conversation")
    for one in (tab, other):
        entry = one.page.locator(f'#conversations [id="c-{tab.conversation}"]')
        expect(entry.locator(".with")).to_have_text("Agent: Analyst")
    expect(other.page.get_by_label(CHOICE)).to_have_count(0)
    tab.page.get_by_label(CHOICE).select_option(label="Analyst: For figures")
    tab.page.get_by_role("button", name="New conversation", exact=True).click()
    expect(tab.page.locator(".notice").last).to_contain_text("Choose one from the list")
    visitor.faults[:] = [fault for fault in visitor.faults if "status of 400" not in fault]
    change(agents, "Analyst")
    switch.check()
    keep(agents)
