"""A tool call as a person meets it, from the proposal to the chart, with the demo model and the real sandbox."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.visitor import Visitor
from tests.server import ServerProcess

# A kernel's start on a busy machine.
RUN_TIMEOUT_MS = 60_000


def test_a_chart_appears_after_a_yes_in_every_tab(arrive: Callable[..., Visitor], demo_server: ServerProcess) -> None:
    visitor = arrive(demo_server)
    tab = visitor.open()
    tab.say("Please chart my sales")
    tab.expect_phase("awaiting_approval")
    call = tab.page.locator("[data-call-id]")
    expect(call).to_have_attribute("data-call-state", "proposed")
    expect(call).to_contain_text("import matplotlib.pyplot as plt")
    expect(tab.page.locator("button[data-action=approve]")).to_have_count(1)
    expect(tab.page.locator("button[data-action=approve]")).not_to_be_focused()

    tab.say("And a short one afterwards")
    tab.expect_queue("And a short one afterwards")
    second = visitor.open(tab.conversation)
    second.page.locator("button[data-action=approve]").click()
    for each in (tab, second):
        card = each.page.locator("[data-call-id]")
        expect(card).to_have_attribute("data-call-state", "succeeded", timeout=RUN_TIMEOUT_MS)
        expect(card.locator("img")).to_have_count(1)
        expect(card).to_contain_text("Approved by you")
        each.expect_phase("idle")
        each.expect_texts("user", "Please chart my sales", "And a short one afterwards")


def test_a_rejected_call_never_runs_and_its_reason_reaches_the_model(
    arrive: Callable[..., Visitor], demo_server: ServerProcess
) -> None:
    tab = arrive(demo_server).open()
    tab.say("Please chart my sales")
    tab.expect_phase("awaiting_approval")
    tab.page.locator("button[data-action=reject]").click()
    call = tab.page.locator("[data-call-id]")
    expect(call).to_have_attribute("data-call-state", "rejected")
    expect(call.locator("img")).to_have_count(0)
    tab.expect_phase("idle")
    expect(tab.answer).to_contain_text(re.compile("The user rejected this call"))


def test_stop_closes_a_call_that_waits(arrive: Callable[..., Visitor], demo_server: ServerProcess) -> None:
    tab = arrive(demo_server).open()
    tab.say("Please chart my sales")
    tab.expect_phase("awaiting_approval")
    tab.page.locator("#stop").click()
    expect(tab.page.locator("[data-call-id]")).to_have_attribute("data-call-state", "stopped")
    tab.expect_phase("idle")
    expect(tab.page.locator("button[data-action=approve]")).to_have_count(0)
