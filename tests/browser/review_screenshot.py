"""The picture of staff review that the README shows: `python -m tests.browser.review_screenshot [file]`.

A conversation of the demo model, in which code waits for a member of staff, at an event of its log.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import Browser

from tests.browser import chromium
from tests.browser.screenshots import DESK
from tests.browser.visitor import Visitor
from tests.server import PASSWORD, ROOT, ServerProcess

PICTURE = ROOT / ".github" / "images" / "admin.png"


def take(browser: Browser, server: ServerProcess, path: Path) -> None:
    """One picture of time travel."""
    visitor = Visitor(browser, server.base, name="ada", viewport=DESK, color_scheme="light")
    tab = visitor.open()
    tab.say("Please chart my sales")
    tab.expect_phase("awaiting_approval")
    visitor.context.clear_cookies()
    page = visitor.context.new_page()
    page.goto("/admin/login/")
    page.locator("#id_username").fill("admin")
    page.locator("#id_password").fill(PASSWORD)
    page.locator("[type=submit]").click()
    page.goto(f"/admin/chat/conversation/{tab.conversation}/at/?at=4")
    page.locator("#toggle-nav-sidebar").click()
    page.locator("#travel-slider").focus()
    page.wait_for_load_state("networkidle")
    page.screenshot(path=path, animations="disabled")
    visitor.context.close()


def main(arguments: Sequence[str]) -> int:
    """Take it; 1 when there is no browser."""
    path = chromium.executable()
    if path is None:
        sys.stderr.write(f"{chromium.WHAT_TO_INSTALL}\n")
        return 1
    with tempfile.TemporaryDirectory() as place, chromium.launched(path) as browser:
        server = ServerProcess(Path(place), AGENT_TOOL_POLICIES="execute_python=staff")
        try:
            server.start()
            take(browser, server, Path(arguments[0]) if arguments else PICTURE)
        finally:
            server.close()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
