"""The dialog in which a person decides: what it shows, what can be changed in it, and what it never does by itself."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest
from playwright.sync_api import Locator, expect

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import CallTool, Say, ScriptedRequest, Step
from tests.browser.visitor import Tab, Visitor

# A sandbox's start on a busy machine.
RUN_TIMEOUT_MS = 60_000
# A question of two lines and two lines of code.
MAGNIFIED_CARD_PX = 120
COMMAND = "echo one\necho two\necho three"


def calls(*commands: str) -> Any:
    """A model that runs these commands, one a turn, and then says what it heard last."""

    def script(request: ScriptedRequest) -> tuple[Step, ...]:
        done = len(request.tool_results)
        if done < len(commands):
            return (CallTool(name="run_shell", arguments=json.dumps({"command": commands[done]})),)
        return (Say(text=f"It said: {request.tool_results[-1].content}"),)

    return script


@pytest.fixture
def asked(visitor: Visitor, upstream: ScriptedServer) -> Tab:
    """A tab in which a call waits."""
    upstream.script = calls(COMMAND)
    tab = visitor.open()
    tab.say("Run it, please")
    tab.expect_phase("awaiting_approval")
    return tab


def card(tab: Tab, number: int = 0) -> Locator:
    return tab.page.locator("[data-call-id]").nth(number)


def press(tab: Tab, name: str) -> None:
    card(tab).get_by_role("button", name=name, exact=True).click()


def test_edited_arguments_are_compared_and_run_as_they_were_edited(asked: Tab) -> None:
    press(asked, "Edit")
    editor = card(asked).locator("textarea[name=command]")
    expect(editor).to_have_value(COMMAND)
    button = card(asked).locator("[data-action=approve-changes]")
    expect(button).to_have_attribute("aria-disabled", "true")
    editor.fill("echo one\necho 2\necho three")
    changes = card(asked).locator(".call-edit .edits")
    expect(changes.locator("del")).to_have_text("echo two")
    expect(changes.locator("ins")).to_have_text("echo 2")
    button.click()
    expect(card(asked)).to_have_attribute("data-call-state", "succeeded", timeout=RUN_TIMEOUT_MS)
    asked.expect_phase("idle")
    # The model is told that it was not its own command that ran.
    expect(asked.answer).to_contain_text(re.compile(r"The user changed the arguments.*one\s2\sthree", re.DOTALL))
    expect(card(asked).locator("del")).to_have_text("echo two")
    expect(card(asked)).to_contain_text("Changed before it ran")


def test_a_reason_goes_with_the_no(asked: Tab) -> None:
    press(asked, "Give a reason")
    reason = card(asked).locator("[name=reason]")
    expect(reason).to_be_focused()
    reason.fill("Not on a Sunday")
    press(asked, "Reject")
    expect(card(asked)).to_have_attribute("data-call-state", "rejected")
    asked.expect_phase("idle")
    expect(asked.answer).to_contain_text("Their reason: Not on a Sunday")
    expect(card(asked)).to_contain_text("“Not on a Sunday”")


def test_a_tool_that_is_allowed_here_runs_without_asking_until_that_is_taken_back(
    visitor: Visitor, upstream: ScriptedServer
) -> None:
    upstream.script = calls("echo first", "echo second")
    tab = visitor.open()
    second = visitor.open(tab.conversation)
    tab.say("Run both, please")
    tab.expect_phase("awaiting_approval")
    card(tab).locator("[data-action=call-panel][data-panel=allow]").click()
    expect(card(tab)).to_contain_text("every call of run_shell in this conversation runs without asking you")
    card(tab).locator("[data-action=approve-always]").click()
    tab.expect_phase("idle")
    for each in (tab, second):
        expect(each.page.locator("[data-call-state=succeeded]")).to_have_count(2, timeout=RUN_TIMEOUT_MS)
        expect(each.page.locator("#allowances")).to_contain_text("run_shell runs in this conversation without asking")
    second.page.get_by_role("button", name="Ask again").click()
    for each in (tab, second):
        expect(each.page.locator("#allowances")).to_be_hidden()
    upstream.script = lambda request: (CallTool(name="run_shell", arguments='{"command": "echo third"}'),)
    tab.say("And again")
    tab.expect_phase("awaiting_approval")


def test_the_dialog_takes_no_focus_and_the_page_leads_to_it(asked: Tab) -> None:
    assert asked.is_focused
    asked.page.keyboard.press("Enter")
    asked.page.keyboard.press("Space")
    expect(card(asked)).to_have_attribute("data-call-state", "proposed")


def test_what_was_decided_in_another_tab_closes_the_dialog_that_is_being_edited(asked: Tab, visitor: Visitor) -> None:
    press(asked, "Edit")
    card(asked).locator("textarea[name=command]").fill("echo mine")
    second = visitor.open(asked.conversation)
    press(second, "Reject")
    for each in (asked, second):
        expect(card(each)).to_have_attribute("data-call-state", "rejected")
        expect(each.page.locator("[data-action=approve-changes]")).to_have_count(0)
        each.expect_phase("idle")


def test_a_tab_out_of_sight_says_in_its_title_that_somebody_is_needed(
    visitor: Visitor, upstream: ScriptedServer
) -> None:
    upstream.script = calls(COMMAND)
    tab = visitor.open()
    tab.page.evaluate("""() => {
      Object.defineProperty(document, "visibilityState", { configurable: true, get: () => "hidden" });
      document.dispatchEvent(new Event("visibilitychange"));
    }""")
    tab.say("Run it, please")
    tab.expect_phase("awaiting_approval")
    tab.until("() => document.title.startsWith('(!) Approval needed')")
    tab.page.evaluate("""() => {
      delete document.visibilityState;
      document.dispatchEvent(new Event("visibilitychange"));
    }""")
    tab.until("() => !document.title.includes('Approval needed')")


def test_lines_are_told_apart_as_kept_removed_and_added_whatever_they_are(visitor: Visitor) -> None:
    tab = visitor.open()
    chance = random.Random(3)
    pairs = [([chance.choice("abcd") for _ in range(chance.randrange(12))] for _ in range(2)) for _ in range(300)]
    texts = [list(map(list, pair)) for pair in pairs]
    found = tab.page.evaluate(
        """async (texts) => {
          const main = document.querySelector("script[type=module]").src;
          const { diffLines } = await import(main.replace("main", "call_edit"));
          return texts.map(([before, after]) => diffLines(before, after).map(({ kind, text }) => [kind, text]));
        }""",
        texts,
    )
    for (before, after), lines in zip(texts, found, strict=True):
        assert [text for kind, text in lines if kind != "added"] == before
        assert [text for kind, text in lines if kind != "removed"] == after
        assert sum(kind == "kept" for kind, _ in lines) == common(before, after)


def common(before: list[str], after: list[str]) -> int:
    """How many lines both have in common, in order."""
    row = [0] * (len(after) + 1)
    for line in before:
        above, row = row, [0]
        for at, other in enumerate(after, start=1):
            row.append(above[at - 1] + 1 if line == other else max(above[at], row[at - 1]))
    return row[-1]


def test_on_a_low_screen_the_editor_and_the_composer_are_in_view_whatever_is_queued(
    visitor: Visitor, upstream: ScriptedServer
) -> None:
    upstream.script = calls(COMMAND)
    tab = visitor.open()
    tab.page.set_viewport_size({"width": 640, "height": 400})
    tab.say("Run it, please")
    tab.expect_phase("awaiting_approval")
    for text in ("one", "two"):
        tab.say(text)
    tab.expect_queue("one", "two")
    press(tab, "Edit")
    editor = card(tab).locator("textarea[name=command]")
    expect(editor).to_be_in_viewport(ratio=0.9)
    expect(card(tab).get_by_role("button", name="Approve with changes")).to_be_in_viewport(ratio=0.9)
    press(tab, "Cancel")
    expect(tab.queued.first).to_be_in_viewport()
    tab.stop.click()
    tab.expect_phase("idle")
    tab.page.set_viewport_size({"width": 320, "height": 256})
    expect(tab.page.locator("#composer")).to_be_in_viewport(ratio=1)
    expect(tab.page.get_by_role("button", name="Resume")).to_be_in_viewport(ratio=1)


def test_no_line_of_what_would_run_goes_on_out_of_sight(visitor: Visitor, upstream: ScriptedServer) -> None:
    upstream.script = calls(f"echo all is well{' ' * 200}; rm -rf reports")
    tab = visitor.open()
    tab.say("Run it, please")
    tab.expect_phase("awaiting_approval")
    code = card(tab).locator(".call-arguments pre")
    assert code.evaluate("element => element.scrollWidth <= element.clientWidth")


@pytest.mark.parametrize("command", ["rm -rf reports", COMMAND])
@pytest.mark.parametrize(("width", "height"), [(640, 400), (844, 390), (360, 640)])
def test_what_would_run_is_in_view_before_the_buttons(
    visitor: Visitor, upstream: ScriptedServer, command: str, width: int, height: int
) -> None:
    upstream.script = calls(command)
    tab = visitor.open()
    tab.page.set_viewport_size({"width": width, "height": height})
    tab.say("Run it, please")
    tab.expect_phase("awaiting_approval")
    what_runs = card(tab).locator(".call-arguments code")
    expect(what_runs).to_be_in_viewport(ratio=0.9)
    tab.say("one that waits")
    tab.expect_queue("one that waits")
    expect(what_runs).to_be_in_viewport(ratio=0.9)


def test_on_a_page_that_is_magnified_four_times_one_reads_decides_and_writes(
    visitor: Visitor, upstream: ScriptedServer
) -> None:
    upstream.script = calls("rm -rf reports")
    tab = visitor.open()
    tab.page.set_viewport_size({"width": 320, "height": 256})
    tab.say("Run it, please")
    tab.expect_phase("awaiting_approval")
    tab.composer.fill("several\nlines\nof a draft")
    what_runs = card(tab).locator(".call-arguments code")
    what_runs.scroll_into_view_if_needed()
    expect(what_runs).to_be_in_viewport(ratio=1)
    place = card(tab).bounding_box()
    assert place is not None
    assert place["height"] > MAGNIFIED_CARD_PX
    approve, reject = (card(tab).get_by_role("button", name=name, exact=True) for name in ("Approve", "Reject"))
    approve.focus()
    for button in (approve, reject, tab.composer):
        expect(button).to_be_in_viewport(ratio=1)
    reject.click()
    tab.expect_phase("idle")
    assert tab.composer.input_value() == "several\nlines\nof a draft"


def test_what_was_decided_is_printed_though_it_is_folded(asked: Tab) -> None:
    press(asked, "Reject")
    asked.expect_phase("idle")
    command = card(asked).locator(".call-arguments code")
    expect(command).to_be_hidden()
    asked.page.emulate_media(media="print")
    expect(command).to_be_visible()
