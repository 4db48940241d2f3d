"""The Content-Security-Policy: on every page, with nothing on any page that needs an exception from it."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import Gate, Say, Wait
from tests.browser.test_fresh_page import EVERYTHING
from tests.browser.visitor import Visitor

NOWHERE = "/c/00000000-0000-4000-8000-000000000000/"

# What would need an exception from the policy.
INLINE = """html => [...new DOMParser().parseFromString(html, "text/html").querySelectorAll("*")].flatMap((element) => [
  ...(element.matches("style, script:not([src])") ? [element.outerHTML] : []),
  ...element.getAttributeNames().filter((name) => /^(on|style$)/i.test(name)).map((name) => `${element.id} ${name}`),
])"""


DOORS = ("/accounts/login/", "/accounts/signup/", "/admin/login/")


@pytest.mark.parametrize("path", [*DOORS, "/accounts/password/", "/", NOWHERE, "/nothing/here"])
def test_every_page_has_the_policy_and_nothing_inline(visitor: Visitor, path: str) -> None:
    if path in DOORS:
        visitor.context.clear_cookies()
    page = visitor.context.new_page()
    page.add_init_script(
        "window.violations = []; document.addEventListener('securitypolicyviolation', (event) =>"
        " window.violations.push(`${event.violatedDirective} ${event.blockedURI}`));"
    )
    response = page.goto(path)
    assert response is not None
    policy = response.headers["content-security-policy"]
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert directives["default-src"] == "'none'"
    assert directives["script-src"] == "'self'"
    assert directives["style-src"] == "'self'"
    assert directives["frame-ancestors"] == directives["base-uri"] == "'none'"
    assert "unsafe" not in policy
    # The markup as it was sent: what scripts do to an element is theirs.
    inline = page.evaluate(INLINE, response.text())
    assert inline == []
    page.wait_for_load_state("networkidle")
    assert page.evaluate("window.violations") == []
    is_missing = path in {NOWHERE, "/nothing/here"}
    assert response.status == (404 if is_missing else 200)
    if is_missing:
        # The browser's own word about the status.
        visitor.faults = [fault for fault in visitor.faults if "404 (Not Found)" not in fault]


def test_a_whole_journey_violates_nothing(visitor: Visitor, upstream: ScriptedServer) -> None:
    gate = Gate()
    upstream.script = lambda request: (Say(text=EVERYTHING), Wait(gate=gate))
    tab = visitor.open()
    page = tab.page
    page.evaluate(
        """() => {
          window.violations = [];
          document.addEventListener("securitypolicyviolation", (event) => {
            window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
          });
        }"""
    )
    tab.say("Everything")
    tab.until("() => document.querySelector('[data-role=assistant] figure') !== null")
    tab.say("next")
    tab.expect_queue("next")
    tab.control("next", "edit").click()
    page.get_by_role("textbox", name="Edit queued message").press("Escape")
    tab.stop.click()
    tab.expect_phase("idle")
    page.locator("#queue [data-action=clear]").click()
    tab.expect_queue()
    page.locator("[data-action=copy-message]").last.click()
    page.locator(".facts summary").last.click()
    page.locator("#search").fill("every")
    expect(page.locator("#found .entry")).to_have_count(1)
    page.locator("#search").press("Escape")
    page.locator("#rename-open").click()
    page.locator("#rename input[name=title]").fill("Another name")
    page.locator("#rename input[name=title]").press("Enter")
    expect(page.locator("#title")).to_have_text("Another name")
    for theme in ("Dark", "Light", "System"):
        page.locator(".account").click()
        page.get_by_role("radio", name=theme).check()
        page.keyboard.press("Escape")
    tab.composer.press("Tab")
    page.locator("body").press("?")
    expect(page.locator("#help")).to_be_visible()
    page.keyboard.press("Escape")
    gate.open()
    assert page.evaluate("window.violations") == []
