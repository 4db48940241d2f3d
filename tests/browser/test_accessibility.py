"""The page for those who hear it, who use the keyboard alone, who need contrast or rest, and who hold a phone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import FailStream, Gate, Refuse, Say, ScriptedRequest, Step, Wait
from tests.browser import seeing
from tests.browser.test_fresh_page import EVERYTHING
from tests.browser.visitor import Tab, Visitor
from tests.browser.writing import chunk
from tests.server import ServerProcess

TARGET_PX = 44
READABLE_PX = 200
PHONE = {
    "viewport": {"width": 390, "height": 844},
    "has_touch": True,
    "is_mobile": True,
    "device_scale_factor": 2,
}
WIDE_TEXT = (
    "https://example.com/" + "a" * 300 + "\n\n| " + "column | " * 30 + "\n" + "|--" * 30 + "|\n\n`" + "x" * 200 + "`"
)


def script(request: ScriptedRequest) -> tuple[Step, ...]:
    """Answers with everything that can be seen."""
    match request.last_user_text:
        case "hold":
            return Say(text="Held in the middle"), Wait(gate=Gate())
        case "fail":
            return Say(text="Well"), FailStream(message="The model broke down.")
        case "refuse":
            return (Refuse(status=401, message="Bad key."),)
        case "wide":
            return (Say(text=WIDE_TEXT),)
        case _:
            return (chunk("I think…", "reasoning_content"), Say(text=EVERYTHING))


def full_page(visitor: Visitor) -> Tab:
    """A tab with everything on it: answers of all kinds, a stream, a queue with an open editor."""
    tab = visitor.open()
    visitor.converse(tab.conversation, ["fail", "refuse", "wide", "everything", "wide" * 100])
    tab.expect_count(tab.articles("assistant"), 5)
    tab.say("hold")
    tab.expect_phase("generating")
    for text in ("one", "two", "three " + "x" * 200):
        tab.say(text)
    tab.expect_count(tab.queued, 3)
    tab.control("two", "edit").click()
    expect(tab.page.locator("form.editor")).to_be_visible()
    return tab


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_everything_has_a_name_and_contrast(
    arrive: Callable[..., Visitor], server: ServerProcess, upstream: ScriptedServer, theme: str
) -> None:
    upstream.script = script
    visitor = arrive(server, color_scheme=theme)
    tab = full_page(visitor)
    assert seeing.unnamed(tab.page) == []
    assert seeing.faint(tab.page) == []
    tab.page.locator(".facts summary").last.click()
    tab.page.locator(".account").click()
    assert seeing.unnamed(tab.page) == []
    assert seeing.faint(tab.page) == []
    tab.page.keyboard.press("Escape")
    tab.composer.focus()
    tab.composer.press("Escape")
    tab.expect_phase("idle")
    assert seeing.faint(tab.page) == []
    if theme == "dark":
        visitor.context.clear_cookies()
        for path in ("/accounts/login/", "/accounts/signup/"):
            tab.page.goto(path)
            assert seeing.faint(tab.page) == []
            assert seeing.unnamed(tab.page) == []


def test_the_transcript_is_a_silent_log_and_the_status_speaks_only_between_states(
    visitor: Visitor, upstream: ScriptedServer
) -> None:
    gate = Gate()
    upstream.script = lambda request: (Say(text="word " * 100, delay_s=0.002), Wait(gate=gate))
    tab = visitor.open()
    log = tab.page.locator("#messages")
    assert log.get_attribute("role") == "log"
    assert log.get_attribute("aria-live") == "off"
    assert tab.page.locator("#messages [aria-live=polite], #messages [aria-live=assertive]").count() == 0
    assert tab.status.get_attribute("role") == "status"
    tab.page.evaluate(
        """() => {
          window.spoken = [];
          window.line = document.getElementById("status");
          const options = { childList: true, subtree: true, characterData: true };
          new MutationObserver(() => window.spoken.push(window.line.textContent.trim())).observe(window.line, options);
        }"""
    )
    tab.say("go")
    tab.until("() => document.getElementById('messages').textContent.split('word').length > 100")
    gate.open()
    tab.expect_phase("idle")
    tab.composer.focus()
    assert tab.page.evaluate("window.line.isConnected"), "a live region that is replaced is not read out"
    spoken = tab.page.evaluate("window.spoken.filter((words, n, all) => words !== all[n - 1])")
    assert spoken == ["AI is responding…", "Response complete"]


def test_the_keyboard_reaches_everything_and_moves_and_removes_in_the_tray(
    visitor: Visitor, upstream: ScriptedServer
) -> None:
    upstream.script = script
    tab = visitor.open()
    tab.say("hold")
    tab.expect_phase("generating")
    for text in ("one", "two", "three"):
        tab.say(text)
    tab.expect_queue("one", "two", "three")
    # What sends is only there when there is something to send.
    tab.composer.fill("four")
    reached = set()
    tab.page.evaluate("document.activeElement.blur()")
    for _ in range(60):
        tab.page.keyboard.press("Tab")
        reached.add(
            tab.page.evaluate(
                """() => {
                  const element = document.activeElement;
                  const item = element.closest("[data-queued-id]")?.querySelector(".item-text").textContent ?? "";
                  return `${element.id || element.dataset.action || element.className} ${item}`.trim();
                }"""
            )
        )
    wanted = {"search", "rename-open", "stop", "send", "message-text", "entry-menu", "account", "copy-message"}
    wanted |= {
        "grip one",
        "grip two",
        "down one",
        "up two",
        "edit two",
        "remove two",
        "remove three",
        "clear",
        "deliver",
    }
    assert wanted <= reached
    tab.composer.fill("")
    grip = tab.control("three", "grip")
    grip.focus()
    grip.press("ArrowUp")
    tab.expect_queue("one", "three", "two")
    expect(tab.control("three", "grip")).to_be_focused()
    tab.page.keyboard.press("ArrowUp")
    tab.expect_queue("three", "one", "two")
    tab.control("one", "remove").focus()
    tab.page.keyboard.press("Enter")
    tab.expect_queue("three", "two")
    tab.until("() => document.activeElement !== document.body")
    tab.control("two", "edit").focus()
    tab.page.keyboard.press("Enter")
    editor = tab.page.get_by_role("textbox", name="Edit queued message")
    expect(editor).to_be_focused()
    tab.page.keyboard.press("Escape")
    assert tab.is_focused
    # Escape left the editor, not the answer.
    assert tab.root.get_attribute("data-phase") == "generating"
    tab.composer.press("Escape")
    tab.expect_phase("idle")


def test_dialogs_keep_the_focus_and_give_it_back(visitor: Visitor) -> None:
    tab = visitor.open()
    page = tab.page
    assert tab.is_focused
    page.locator("#rename-open").focus()
    page.keyboard.press("?")
    expect(page.locator("#help")).to_be_visible()
    for _ in range(4):
        page.keyboard.press("Tab")
        is_inside = page.evaluate(
            """() => {
              const element = document.activeElement;
              return element === document.body || document.getElementById("help").contains(element);
            }"""
        )
        assert is_inside, "the focus left the dialog"
    page.keyboard.press("Escape")
    expect(page.locator("#rename-open")).to_be_focused()
    options = page.locator(f'[id="c-{tab.conversation}"] [data-action=entry-menu]')
    options.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#entry-menu [data-action=entry-rename]")).to_be_focused()
    page.keyboard.press("Escape")
    expect(options).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#entry-menu [data-action=entry-rename]")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#rename-dialog input[name=title]")).to_be_focused()
    page.keyboard.press("Escape")
    expect(page.locator("#rename-dialog")).to_be_hidden()
    expect(options).to_be_focused()
    page.keyboard.press("Control+k")
    expect(page.locator("#search")).to_be_focused()
    page.locator("#rename-open").focus()
    page.keyboard.press("/")
    assert tab.is_focused


def test_where_rest_is_asked_for_nothing_moves(
    arrive: Callable[..., Visitor], server: ServerProcess, upstream: ScriptedServer
) -> None:
    upstream.script = script
    tab = arrive(server, reduced_motion="reduce").open()
    tab.say("hold")
    tab.expect_phase("generating")
    moving = tab.page.evaluate(
        """() => {
          const inMs = (time) => parseFloat(time) * (time.includes("ms") ? 1 : 1000);
          const lasts = (times) => times.split(",").some((time) => inMs(time) > 1);
          const isMoving = (element, part) => {
            const style = getComputedStyle(element, part);
            const isAnimated = style.animationName !== "none" && lasts(style.animationDuration);
            return isAnimated || lasts(style.transitionDuration);
          };
          return [...document.querySelectorAll("*")].flatMap((element) =>
            [null, "::before", "::after"]
              .filter((part) => isMoving(element, part))
              .map((part) => `${element.tagName}#${element.id} ${part ?? ""}`),
          );
        }"""
    )
    assert moving == []
    assert (
        tab.page.evaluate(
            "document.getAnimations().filter((one) => one.effect.getComputedTiming().activeDuration > 1).length"
        )
        == 0
    )


def test_states_are_seen_without_any_colours_of_the_page(
    arrive: Callable[..., Visitor], server: ServerProcess, upstream: ScriptedServer
) -> None:
    upstream.script = script
    visitor = arrive(server, forced_colors="active")
    tab = visitor.open()
    tab.say("hold")
    tab.expect_phase("generating")
    entry = f'#conversations [id="c-{tab.conversation}"]'
    expect(tab.page.locator(f"{entry} .dot")).to_be_visible()
    for mark in (".lamp", f"{entry} .dot"):
        assert is_painted(tab.page.locator(mark)), f"nothing is seen of {mark}"
    outline = "element => getComputedStyle(element).outlineStyle"
    assert tab.page.locator(entry).evaluate(outline) == "solid"
    tab.page.locator(".account").click()
    assert tab.page.locator(".themes :checked + span").evaluate(outline) == "solid"


def is_painted(place: Locator) -> bool:
    """Whether it looks otherwise than nothing at all."""
    seen = place.screenshot(animations="disabled")
    place.evaluate("element => { element.style.opacity = '0'; }")
    return seen != place.screenshot(animations="disabled")


def test_nothing_scrolls_sideways_on_a_narrow_page(
    arrive: Callable[..., Visitor], server: ServerProcess, upstream: ScriptedServer
) -> None:
    upstream.script = script
    visitor = arrive(server, viewport={"width": 320, "height": 640})
    tab = full_page(visitor)
    assert seeing.wide(tab.page) == []
    tab.composer.focus()
    tab.composer.press("Escape")
    tab.expect_phase("idle")
    assert seeing.wide(tab.page) == []


def test_fingers_find_their_targets_on_a_phone(
    arrive: Callable[..., Visitor], server: ServerProcess, upstream: ScriptedServer
) -> None:
    upstream.script = script
    visitor = arrive(server, **PHONE)
    tab = full_page(visitor)
    assert seeing.small(tab.page, TARGET_PX) == []
    tab.page.locator("#open-drawer").tap()
    expect(tab.page.locator("#close-drawer")).to_be_focused()
    assert seeing.small(tab.page, TARGET_PX) == []
    tab.page.locator(".account").tap()
    assert seeing.small(tab.page, TARGET_PX) == []
    tab.page.keyboard.press("Escape")
    tab.page.keyboard.press("Escape")
    expect(tab.page.locator("#open-drawer")).to_be_focused()
    box = tab.page.locator("#composer").bounding_box()
    assert box is not None
    assert box["y"] + box["height"] <= 844
    assert seeing.wide(tab.page) == []


def test_a_phone_without_a_connection_shows_what_waits_to_be_sent(
    arrive: Callable[..., Visitor], server: ServerProcess, upstream: ScriptedServer
) -> None:
    upstream.script = script
    visitor = arrive(server, **PHONE)
    visitor.may_lose_server = True
    tab = visitor.open()
    server.kill()
    try:
        tab.expect_connection("offline")
        tab.say("Written while the server was away")
        tab.expect_count(tab.unsent, 1)
        box = tab.unsent.bounding_box()
        assert box is not None
        assert box["width"] >= READABLE_PX
        assert seeing.wide(tab.page) == []
        assert seeing.faint(tab.page) == []
        assert seeing.small(tab.page, TARGET_PX) == []
    finally:
        server.start()
    tab.expect_connection("online")
