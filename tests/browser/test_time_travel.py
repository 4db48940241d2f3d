"""Time travel shows what a user's own page showed: compared with what stood in their browser when each event came."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Page

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import CallTool, Gate, Say, ScriptedRequest, Step, Wait
from tests.browser.conftest import serving
from tests.browser.test_admin import staff
from tests.browser.visitor import Tab, Visitor
from tests.browser.writing import chunk
from tests.server import ServerProcess

Arrive = Callable[..., Visitor]
ROUNDS, POINTS = 4, 50
# What a page shows of a conversation. Text in flight and what a tool prints are not in the log before they have ended.
SHOWN = """root => {
  const words = (node) => node?.textContent.replace(/\\s+/g, " ").trim() ?? "";
  const all = (selector) => [...root.querySelectorAll(selector)];
  return JSON.stringify({
    phase: root.dataset.phase,
    title: words(root.querySelector("#title")),
    messages: all("article[data-message-id]").map((one) => [one.id, one.dataset.role, one.dataset.state,
      one.dataset.state === "streaming" ? "" : words(one.querySelector(".content"))]),
    calls: all("[data-call-id]").map((one) => [one.dataset.callId, one.dataset.callState,
      one.dataset.callState === "running" ? "" : [...one.querySelectorAll("pre")].map(words)]),
    queue: all("#queue [data-queued-id]").map((one) => [one.dataset.queuedId, words(one.querySelector(".item-text"))]),
    status: words(root.querySelector("#status")),
  });
}"""
RECORD = f"""() => {{
  const shown = {SHOWN};
  window.recorded = {{}};
  document.body.addEventListener("htmx:wsAfterMessage", () => {{
    const root = document.querySelector("#conversation");
    window.recorded[root.dataset.seq] = shown(root);
  }});
}}"""
TRAVELLED = f"""() => ({SHOWN})(document.querySelector(".as-seen").shadowRoot.querySelector("#conversation"))"""


@pytest.fixture(scope="module")
def asking(model: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The site where each call waits for its owner."""
    folder = tmp_path_factory.mktemp("asking")
    yield from serving(ServerProcess(folder, upstream=model.base_url, AGENT_TOOL_POLICIES="current_time=ask"))


def decide(tab: Tab, action: str) -> None:
    tab.page.locator(f'[data-call-state="proposed"] button[data-action={action}]').last.click()
    tab.expect_phase("idle")


def live_through(tab: Tab, number: int) -> None:
    """A call that runs, one that is rejected, a queue that is edited, a stop, and an answer."""
    for action in ("approve", "reject"):
        tab.say(f"What time is it? {action} {number}")
        tab.expect_phase("awaiting_approval")
        decide(tab, action)
    tab.say(f"hold {number}")
    tab.until("() => document.querySelector('article:last-child .tail')?.textContent.includes('middle')")
    first, second, third = (f"{word} {number}" for word in ("first", "second", "third"))
    for count, text in enumerate((first, second, third), start=1):
        tab.say(text)
        tab.expect_queue(*(first, second, third)[:count])
    tab.control(third, "up").click()
    tab.expect_queue(first, third, second)
    tab.control(first, "remove").click()
    tab.expect_queue(third, second)
    tab.stop.click()
    tab.expect_phase("idle")
    tab.page.locator("#queue [data-action=clear]").click()
    tab.expect_queue()
    tab.ask(f"And now? {number}")


def travel(page: Page, tab: Tab, seq: str) -> Any:
    """What staff see at an event."""
    page.goto(f"/admin/chat/conversation/{tab.conversation}/at/?at={seq}")
    return json.loads(page.evaluate(TRAVELLED))


def test_it_shows_what_stood_in_the_users_browser_at_fifty_events(
    arrive: Arrive, asking: ServerProcess, upstream: ScriptedServer
) -> None:
    gate = Gate()

    def script(request: ScriptedRequest) -> tuple[Step, ...]:
        if request.last_user_text.startswith("hold"):
            return chunk("Held in the **middle of"), Wait(gate=gate)
        if request.last_user_text.startswith("What") and not request.tool_results:
            return Say(text="I will look."), CallTool(name="current_time")
        return (Say(text="Done.\n\n| a | b |\n|---|---|\n| 1 | `2` |\n"),)

    upstream.script = script
    tab = arrive(asking).open()
    tab.page.evaluate(RECORD)
    for number in range(ROUNDS):
        live_through(tab, number)
    recorded: dict[str, str] = tab.page.evaluate("() => window.recorded")
    lived = {seq: json.loads(shown) for seq, shown in recorded.items()}
    assert len(lived) >= POINTS
    assert {"awaiting_approval", "generating", "idle"} <= {shown["phase"] for shown in lived.values()}
    page = staff(arrive, asking)
    for seq, shown in lived.items():
        assert travel(page, tab, seq) == shown, f"event {seq}"
