"""Pictures of the site: `python -m tests.browser.screenshots [folder]`.

Without a folder, the pictures that the README shows; with one, also a set of light, dark and phone pictures there.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, expect

from tests.browser import chromium
from tests.browser.visitor import Tab, Visitor
from tests.server import ROOT, ServerProcess

README_PICTURES = ROOT / ".github" / "images"
DESK = {"width": 1280, "height": 800}
STORY = {"width": 900, "height": 800}
PHONE = {"width": 390, "height": 844}
STORY_TIMEOUT_MS = 60_000
EARLIER = ("Show me some math", "A short hello", "Compare things in a table")


def write_and_queue(tab: Tab) -> None:
    """An answer to a question about code, a long one that streams, and two messages that wait."""
    tab.ask("Show me some code that folds a list of events")
    tab.say("Tell me a long story about what I can watch here")
    tab.until(
        """() => {
          const last = document.querySelector("#messages article:last-child[data-role=assistant]");
          return last?.querySelector(".settled figure") && last.querySelector(".tail").textContent.length > 20;
        }"""
    )
    tab.say("And then a short summary, please")
    tab.say("Put the phases into a table")
    tab.expect_queue("And then a short summary, please", "Put the phases into a table")
    tab.page.evaluate("() => document.fonts.ready")


def take(browser: Browser, server: ServerProcess, path: Path, **options: Any) -> None:
    """One picture of a conversation in full swing."""
    visitor = Visitor(browser, server.base, name=f"ada-{path.stem}".removesuffix("-screenshot"), **options)
    first = visitor.person.place.rstrip("/").rpartition("/")[2]
    for number, question in enumerate(EARLIER):
        visitor.converse(visitor.person.new_conversation() if number else first, [question])
    tab = visitor.open()
    write_and_queue(tab)
    path.parent.mkdir(parents=True, exist_ok=True)
    tab.page.screenshot(path=path, animations="disabled")
    tab.stop.click()
    tab.expect_phase("idle")
    visitor.close()


def take_story(browser: Browser, server: ServerProcess, folder: Path, name: str = "", **options: Any) -> None:
    """A tool call from the proposal to the chart: `approval`, `output` while it runs, `chart`."""
    visitor = Visitor(browser, server.base, **options)
    tab = visitor.open()

    def shoot(what: str) -> None:
        tab.page.screenshot(path=folder / f"{name}{what}.png", animations="disabled")

    tab.say("Please chart my sales by month")
    tab.expect_phase("awaiting_approval")
    tab.page.evaluate("() => document.fonts.ready")
    shoot("approval")
    tab.page.locator("button[data-action=approve]").click()
    tab.until("() => document.querySelector('[data-call-state=running] .call-output')?.textContent.includes('\\n 7 ')")
    shoot("output")
    card = tab.page.locator("[data-call-state=succeeded]")
    expect(card.locator("img")).to_have_count(1, timeout=STORY_TIMEOUT_MS)
    tab.expect_phase("idle")
    card.locator("img").scroll_into_view_if_needed()
    shoot("chart")
    visitor.close()


def take_states(browser: Browser, server: ServerProcess, folder: Path, name: str, **options: Any) -> None:
    """The pictures of the other states: empty, held with an editor, failed, menus, list, accounts."""
    visitor = Visitor(browser, server.base, **options)
    tab = visitor.open()
    page = tab.page

    def shoot(what: str) -> None:
        page.screenshot(path=folder / f"{name}-{what}.png", animations="disabled")

    shoot("empty")
    tab.ask("Explain it with math")
    tab.ask("Compare things in a table")
    shoot("table")
    tab.say("Please fail in the middle")
    tab.expect_count(tab.articles("assistant", "failed"), 1)
    tab.expect_phase("idle")
    shoot("failed")
    tab.say("Tell me a long story")
    tab.until("() => document.querySelector('#messages article:last-child .settled h2') !== null")
    tab.say("First of two that wait")
    tab.say("Second of two that wait")
    tab.expect_count(tab.queued, 2)
    tab.stop.click()
    tab.expect_phase("idle")
    shoot("held")
    tab.control("First of two", "edit").click()
    shoot("editor")
    page.keyboard.press("Escape")
    if page.locator("#open-drawer").is_visible():
        page.locator("#open-drawer").click()
        page.wait_for_timeout(400)
        shoot("list")
        page.locator("#close-drawer").click()
        page.wait_for_timeout(400)
    page.locator("[popovertarget=conversation-menu]").click()
    shoot("menu")
    page.keyboard.press("Escape")
    page.locator("#messages .facts summary").last.click()
    shoot("details")
    page.keyboard.press("Escape")
    page.locator("body").press("?")
    shoot("help")
    page.keyboard.press("Escape")
    server.kill()
    tab.expect_connection("offline")
    tab.say("Written while the server was away")
    shoot("offline")
    server.start()
    tab.page.evaluate("() => document.getElementById('reconnect').click()")
    tab.expect_connection("online")
    visitor.context.clear_cookies()
    page.goto("/accounts/login/")
    shoot("login")
    page.goto("/accounts/signup/")
    shoot("signup")
    visitor.context.close()


def main(arguments: Sequence[str]) -> int:
    """Take them; 1 when there is no browser."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="where the whole set goes")
    folder: Path | None = parser.parse_args(arguments).folder
    path = chromium.executable()
    if path is None:
        sys.stderr.write(f"{chromium.WHAT_TO_INSTALL}\n")
        return 1
    with tempfile.TemporaryDirectory() as place, chromium.launched(path) as browser:
        server = ServerProcess(Path(place))
        try:
            server.start()
            take(browser, server, README_PICTURES / "screenshot.png", viewport=DESK, color_scheme="light")
            take_story(browser, server, README_PICTURES, viewport=STORY, color_scheme="light")
            if folder is not None:
                for theme in ("light", "dark"):
                    take(browser, server, folder / f"desk-{theme}.png", viewport=DESK, color_scheme=theme)
                    phone = {"viewport": PHONE, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
                    take(browser, server, folder / f"phone-{theme}.png", color_scheme=theme, **phone)
                    take_story(browser, server, folder, f"desk-{theme}-", viewport=DESK, color_scheme=theme)
                    take_story(browser, server, folder, f"phone-{theme}-", color_scheme=theme, **phone)
                    take_states(browser, server, folder, f"desk-{theme}", viewport=DESK, color_scheme=theme)
                    take_states(browser, server, folder, f"phone-{theme}", color_scheme=theme, **phone)
        finally:
            server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
