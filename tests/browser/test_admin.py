"""Staff review in the browser: under the site's policy, in both colours, on a phone, with and without JavaScript."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import CallTool, Say, ScriptedRequest, Step
from tests.browser.conftest import serving
from tests.browser.test_policy import INLINE
from tests.browser.visitor import Tab, Visitor
from tests.server import PASSWORD, ServerProcess

PHONE = {"width": 390, "height": 844}
WATCH = """() => {
  window.violations = [];
  document.addEventListener("securitypolicyviolation", (event) => {
    window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`);
  });
}"""
CODE = "import matplotlib.pyplot as plt\n\nplt.bar(['Jan', 'Feb'], [3, 5])\nplt.title('Sales')\nplt.show()\n"
# Words that begin on one line and end on another.
BROKEN = """root => {
  const broken = [];
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    for (const word of walker.currentNode.data.matchAll(/\\w+/g)) {
      const range = document.createRange();
      range.setStart(walker.currentNode, word.index);
      range.setEnd(walker.currentNode, word.index + word[0].length);
      if (range.getClientRects().length > 1) broken.push(word[0]);
    }
  }
  return broken;
}"""
Arrive = Callable[..., Visitor]


def answer(request: ScriptedRequest) -> tuple[Step, ...]:
    """Calls, and a word when they have ended."""
    if request.tool_results:
        return (Say(text="There you are."),)
    code = CallTool(name="execute_python", arguments=json.dumps({"code": CODE}))
    return (Say(text="I will look."), code, CallTool(name="current_time"))


@pytest.fixture(scope="module")
def guarded(model: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """The site where tools run after a member of staff has said yes."""
    policies = "execute_python=staff,current_time=staff"
    folder = tmp_path_factory.mktemp("guarded")
    yield from serving(ServerProcess(folder, upstream=model.base_url, AGENT_TOOL_POLICIES=policies))


@pytest.fixture
def asked(arrive: Arrive, guarded: ServerProcess, upstream: ScriptedServer) -> Tab:
    """A user's tab in which two tools wait for staff: code, and the time."""
    upstream.script = answer
    tab = arrive(guarded).open()
    tab.say("Please chart my sales")
    tab.expect_phase("awaiting_approval")
    return tab


def staff(arrive: Arrive, server: ServerProcess, **options: Any) -> Page:
    """A page of the first superuser, logged in by the admin's own form."""
    visitor = arrive(server, **options)
    visitor.context.clear_cookies()
    page = visitor.context.new_page()
    page.add_init_script(f"({WATCH})()")
    page.goto("/admin/login/")
    page.locator("#id_username").fill("admin")
    page.locator("#id_password").fill(PASSWORD)
    page.locator("[type=submit]").click()
    expect(page.locator("#site-name")).to_have_text("Agentsite review")
    return page


def pages(tab: Tab) -> tuple[str, ...]:
    """The lists, and every page about a tab's conversation."""
    call = tab.page.locator("[data-call-id]").first.get_attribute("data-call-id")
    place = f"/admin/chat/conversation/{tab.conversation}"
    lists = (f"/admin/chat/{table}/" for table in ("conversation", "toolcall", "event", "review", "accesstrace"))
    return ("/admin/", *lists, f"{place}/change/", f"{place}/at/?at=2", f"/admin/chat/toolcall/{call}/change/")


def call_in(page: Page) -> Locator:
    """The card of the call as the user saw it."""
    return page.locator(".as-seen [data-call-id]")


@pytest.mark.parametrize(
    "options",
    [{"color_scheme": "light"}, {"color_scheme": "dark"}, {"viewport": PHONE, "has_touch": True, "is_mobile": True}],
    ids=["light", "dark", "phone"],
)
def test_every_page_keeps_to_the_policy_and_to_its_width(
    arrive: Arrive, guarded: ServerProcess, asked: Tab, options: dict[str, Any]
) -> None:
    page = staff(arrive, guarded, **options)
    for path in pages(asked):
        response = page.goto(path)
        assert response is not None
        assert response.ok, path
        assert response.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        assert page.evaluate(INLINE, response.text()) == [], path
        page.wait_for_load_state("networkidle")
        assert page.evaluate("() => window.violations") == [], path
        assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth"), path


def test_a_members_yes_lets_code_run_that_its_owner_could_only_read(
    arrive: Arrive, guarded: ServerProcess, asked: Tab
) -> None:
    code, clock = (asked.page.locator("[data-call-id]").nth(number) for number in (0, 1))
    for card in (code, clock):
        expect(card).to_contain_text("Waits for a member of staff")
        expect(card.locator("[data-action=approve]")).to_have_count(0)
        expect(card.locator("[data-action=reject]")).to_be_enabled()
    expect(code).to_contain_text("import matplotlib.pyplot as plt")
    expect(asked.status).to_contain_text("Waits for a member of staff")
    page = staff(arrive, guarded)
    page.goto("/admin/chat/toolcall/?state=staff")
    calls = [card.get_attribute("data-call-id") for card in (code, clock)]
    page.locator(f"a[href*='{calls[0]}']").first.click()
    expect(page.locator(".arguments")).to_contain_text("import matplotlib.pyplot as plt")
    page.locator("#id_reason").fill("No charts today")
    page.get_by_role("button", name="Reject").click()
    expect(code).to_contain_text("Rejected by a member of staff")
    expect(code).to_contain_text("No charts today")
    page.goto(f"/admin/chat/toolcall/{calls[1]}/change/")
    page.get_by_role("button", name="Approve").click()
    expect(page.locator(".messagelist")).to_contain_text("Approved: it runs.")
    expect(clock).to_have_attribute("data-call-state", "succeeded")
    expect(clock).to_contain_text("Approved by a member of staff")
    asked.expect_phase("idle")
    page.reload()
    expect(page.locator(".facts")).to_contain_text("Approved by staff: admin")


def test_its_owner_can_reject_what_waits_for_staff(asked: Tab) -> None:
    card, other = (asked.page.locator("[data-call-id]").nth(number) for number in (0, 1))
    card.get_by_role("button", name="Give a reason").click()
    card.locator("[name=reason]").fill("Not any more")
    card.locator("[data-action=reject]").click()
    expect(card).to_have_attribute("data-call-state", "rejected")
    expect(card).to_contain_text("Not any more")
    other.locator("[data-action=reject]").click()
    asked.expect_phase("idle")


def test_the_page_shows_what_the_user_saw_and_its_buttons_rest(
    arrive: Arrive, guarded: ServerProcess, asked: Tab
) -> None:
    page = staff(arrive, guarded)
    page.goto(f"/admin/chat/conversation/{asked.conversation}/change/")
    expect(call_in(page).first).to_contain_text("Waits for a member of staff")
    expect(call_in(page).first.locator("[data-action=reject]")).to_be_disabled()
    seen = page.locator(".as-seen #messages article .content").all_inner_texts()
    assert seen == asked.page.locator("#messages article .content").all_inner_texts()
    page.locator("#id_note").fill("Looks right.")
    page.get_by_role("button", name="Mark as reviewed").click()
    expect(page.locator(".reviews")).to_contain_text("Looks right.")


def test_time_travel_by_slider_and_links_swaps_what_is_shown(
    arrive: Arrive, guarded: ServerProcess, asked: Tab
) -> None:
    page = staff(arrive, guarded)
    place = f"/admin/chat/conversation/{asked.conversation}/at/"
    page.goto(place)
    expect(call_in(page)).to_have_count(2)
    page.evaluate("() => { window.isSame = true; }")
    page.get_by_role("link", name="First").click()
    expect(page.locator("#moment > h1")).to_contain_text("event 1 of")
    expect(call_in(page)).to_have_count(0)
    assert page.url.endswith("?at=1")
    slider = page.locator("#travel-slider")
    slider.press("ArrowRight")
    expect(page.locator("#moment > h1")).to_contain_text("event 2 of")
    expect(page.locator(".as-seen #messages article")).to_have_count(2)
    expect(slider).to_be_focused()
    assert page.evaluate("() => window.isSame"), "the page was loaded anew"
    assert page.evaluate("() => window.violations") == []
    page.go_back()
    expect(page.locator("#moment > h1")).to_contain_text("event 1 of")
    expect(page.locator(".as-seen #messages")).to_have_count(1)


def test_no_word_of_what_changed_is_broken(arrive: Arrive, guarded: ServerProcess, asked: Tab) -> None:
    for card in asked.page.locator("[data-call-id]").all():
        card.locator("[data-action=reject]").click()
    asked.expect_phase("idle")
    page = staff(arrive, guarded)
    page.goto(f"/admin/chat/conversation/{asked.conversation}/at/")
    changes = page.locator(".changes")
    expect(changes).to_contain_text("complete")
    assert changes.evaluate(BROKEN) == []


def test_time_travel_works_without_javascript(arrive: Arrive, guarded: ServerProcess, asked: Tab) -> None:
    page = staff(arrive, guarded)
    cookies = page.context.cookies()
    plain = arrive(guarded, java_script_enabled=False)
    plain.context.clear_cookies()
    plain.context.add_cookies([{"name": one["name"], "value": one["value"], "url": plain.base} for one in cookies])
    page = plain.context.new_page()
    page.goto(f"/admin/chat/conversation/{asked.conversation}/at/?at=1")
    expect(page.locator("#travel-slider")).to_be_hidden()
    page.get_by_role("link", name="Next").click()
    expect(page.locator("#moment > h1")).to_have_text(re.compile("event 2 of"))
    page.locator("#travel-number").fill("1")
    page.get_by_role("button", name="Show").click()
    expect(page.locator("#moment > h1")).to_have_text(re.compile("event 1 of"))
    page.goto(f"/admin/chat/conversation/{asked.conversation}/at/")
    expect(call_in(page).first).to_be_visible()
