"""The same queued message edited in two places: neither text is lost, and the person decides which one stays."""

from __future__ import annotations

import pytest
from playwright.sync_api import Locator, expect

from chat.llm.scripted_steps import Gate
from tests.browser.test_editing import editor_of, leave
from tests.browser.visitor import Tab, Visitor
from tests.server import ServerProcess


def notice_of(tab: Tab) -> Locator:
    return tab.page.locator("form.editor [role=alert]")


def edit_elsewhere(visitor: Visitor, tab: Tab, text: str, content: str) -> None:
    """As a second tab does, which is closed again."""
    other = visitor.open(tab.conversation)
    other.control(text, "edit").click()
    editor_of(other).fill(content)
    editor_of(other).press("Enter")
    other.expect_queue(*[content if one == text else one for one in other.queued.all_text_contents()])
    other.until("() => !Object.keys(localStorage).some((key) => key.includes('edit.'))")
    other.page.close()
    tab.look()


@pytest.fixture
def torn(visitor: Visitor, busy: Tab) -> Tab:
    """A tab in which a queued message is being edited that another tab has changed meanwhile."""
    busy.say("waiting")
    busy.expect_queue("waiting")
    busy.control("waiting", "edit").click()
    editor_of(busy).fill("waiting, mine")
    edit_elsewhere(visitor, busy, "waiting", "waiting, theirs")
    expect(notice_of(busy)).to_contain_text("changed elsewhere")
    expect(notice_of(busy).locator("q")).to_have_text("waiting, theirs")
    return busy


@pytest.mark.parametrize(("button", "sent"), [("Save", "waiting, mine"), ("Cancel", "waiting, theirs")])
def test_who_edits_what_was_changed_elsewhere_is_told_and_decides(
    torn: Tab, gate: Gate, button: str, sent: str
) -> None:
    assert editor_of(torn).input_value() == "waiting, mine"
    # It waits for the decision, though the other tab has let it go.
    torn.until("() => document.querySelector('[data-queued-id]').dataset.edited === 'true'")
    gate.open()
    torn.expect_texts("assistant", "I am done.")
    torn.expect_phase("idle")
    torn.page.locator("form.editor").get_by_role("button", name=button, exact=True).click()
    torn.expect_texts("user", "busy", sent)


def test_what_is_to_be_decided_survives_a_reload(torn: Tab, gate: Gate) -> None:
    torn.load()
    assert editor_of(torn).input_value() == "waiting, mine"
    expect(notice_of(torn).locator("q")).to_have_text("waiting, theirs")
    gate.open()


def test_another_editor_does_not_decide(torn: Tab, gate: Gate) -> None:
    torn.say("other")
    torn.expect_queue("waiting, theirs", "other")
    torn.control("other", "edit").click()
    assert editor_of(torn).input_value() == "waiting, mine"
    expect(editor_of(torn)).to_be_focused()
    torn.expect_queue("waiting, theirs", "other")
    gate.open()


def test_an_editor_in_which_nothing_was_written_shows_what_was_changed_elsewhere(
    visitor: Visitor, busy: Tab, gate: Gate
) -> None:
    busy.say("waiting")
    busy.expect_queue("waiting")
    busy.control("waiting", "edit").click()
    edit_elsewhere(visitor, busy, "waiting", "waiting, theirs")
    expect(editor_of(busy)).to_have_value("waiting, theirs")
    expect(notice_of(busy)).to_be_empty()
    gate.open()


def test_an_edit_that_was_saved_without_a_connection_replaces_nothing_newer(
    visitor: Visitor, away: Tab, server: ServerProcess, gate: Gate
) -> None:
    away.control("waiting", "edit").click()
    editor_of(away).fill("waiting, mine")
    editor_of(away).press("Enter")
    away.expect_queue("waiting, mine")
    leave(away, server)
    # Somebody whose browser holds nothing of it.
    elsewhere = visitor.open()
    elsewhere.page.evaluate(
        """(path) => new Promise((done) => {
          const socket = new WebSocket(path);
          socket.onmessage = ({ data }) => {
            const [item] = JSON.parse(data).queue ?? [];
            if (item?.content === "waiting, theirs") done();
            else if (item) socket.send(JSON.stringify({ type: "queue_edit", id: item.id, content: "waiting, theirs" }));
          };
        })""",
        f"/ws/c/{away.conversation}/?format=json",
    )
    away.load()
    expect(editor_of(away)).to_have_value("waiting, mine")
    expect(notice_of(away).locator("q")).to_have_text("waiting, theirs")
    gate.open()
