"""Stop, at once and whatever the server does; losing the connection and coming back."""

from __future__ import annotations

import os
import re
import signal
from urllib.parse import quote

from playwright.sync_api import Route, WebSocket, expect

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import Ending, Gate, Say, Wait
from tests.browser.visitor import Tab, Visitor
from tests.browser.writing import chunk
from tests.journeys import figures
from tests.server import PASSWORD, ServerProcess

# Milliseconds from a press on Stop, or on Escape, until the page says that it stops.
TIME_OF_STOPPING = """async (isKey) => {
  const status = document.getElementById("status");
  const button = document.getElementById("stop");
  const isSaid = () => [status, button].every((place) => place.textContent.includes("Stopping…"));
  const seen = new Promise((resolve) => {
    const look = () => { if (isSaid()) requestAnimationFrame(() => resolve(performance.now())); };
    const options = { childList: true, subtree: true, characterData: true };
    new MutationObserver(look).observe(document.body, options);
  });
  const begin = performance.now();
  if (isKey) {
    const key = new KeyboardEvent("keydown", { key: "Escape", bubbles: true, cancelable: true });
    document.querySelector("#composer textarea").dispatchEvent(key);
  } else {
    button.click();
  }
  return (await seen) - begin;
}"""


def test_stop_answers_to_the_eye_at_once_even_when_the_server_is_slow(
    visitor: Visitor, server: ServerProcess, upstream: ScriptedServer
) -> None:
    upstream.script = lambda request: (chunk("I am"), Wait(gate=Gate()))
    tab = visitor.open()
    took_s = []
    for number, is_key in enumerate((False, True)):
        tab.say("go")
        tab.until(
            "n => document.querySelectorAll('[data-state=streaming] .tail:not(:empty)').length === 1"
            " && document.querySelectorAll('[data-state=interrupted]').length === n",
            number,
        )
        os.kill(server.pid, signal.SIGSTOP)
        try:
            took_ms = tab.page.evaluate(TIME_OF_STOPPING, is_key)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        took_s.append(took_ms / 1000)
        tab.expect_phase("idle")
        tab.expect_count(tab.articles("assistant", "interrupted"), number + 1)
        expect(tab.status).to_have_text("Response interrupted")
        expect(tab.stop).to_be_hidden()
        assert upstream.exchanges[number].wait_until_ended(timeout_s=5) is Ending.CLOSED_BY_CLIENT
        assert tab.is_focused
    figures.show_times("the page says Stopping… while the server is frozen", took_s)


def test_the_indicator_says_how_the_connection_is_and_counts_down(visitor: Visitor, server: ServerProcess) -> None:
    visitor.may_lose_server = True
    tab = visitor.open()
    words, countdown = tab.connection.locator(".words"), tab.connection.locator(".countdown")
    expect(words).to_have_text("Connected")
    tab.page.evaluate(
        """() => {
          window.states = [];
          const place = document.getElementById("connection");
          new MutationObserver(() => window.states.push(place.dataset.state)).observe(place, { attributes: true });
        }"""
    )
    server.kill()
    expect(words).to_have_text("Offline")
    expect(countdown).to_have_text(re.compile(r"Reconnecting in \d+ s"))
    expect(tab.page.locator("#reconnect")).to_be_visible()
    server.start()
    # By itself, without a press.
    tab.expect_connection("online")
    expect(words).to_have_text("Connected")
    expect(countdown).to_have_text("")
    expect(tab.page.locator("#reconnect")).to_be_hidden()
    states = tab.page.evaluate("window.states.filter((state, n, all) => state !== all[n - 1])")
    assert states[0] == "offline"
    assert states[-2:] == ["connecting", "online"]


def test_what_comes_before_the_scripts_is_shown_when_they_are_there(visitor: Visitor, upstream: ScriptedServer) -> None:
    upstream.script = lambda request: (Say(text="An answer."),)
    tab = visitor.open()
    page = visitor.context.new_page()
    held: list[Route] = []
    sockets: list[WebSocket] = []

    def hold(route: Route) -> None:
        held.append(route)

    def count(socket: WebSocket) -> None:
        sockets.append(socket)

    page.route("**/static/js/socket.js", hold)
    page.on("websocket", count)
    with page.expect_event("websocket") as opened:
        page.goto(tab.path, wait_until="commit")
    with opened.value.expect_event("framereceived", lambda frame: "An answer." in frame):
        tab.ask("A question")
    late = Tab(page, tab.conversation)
    assert late.connection.get_attribute("data-state") == "connecting"
    assert late.articles().count() == 0
    for route in held:
        route.continue_()
    late.expect_connection("online")
    late.expect_texts("user", "A question")
    late.expect_texts("assistant", "An answer.")
    assert len(sockets) == 1


def test_a_page_that_lived_through_a_crash_of_the_server_shows_everything_once(
    visitor: Visitor, server: ServerProcess, upstream: ScriptedServer
) -> None:
    visitor.may_lose_server = True
    gate = Gate()
    answer = (Say(text="Before the crash, "), Wait(gate=gate), Say(text="and after it."))
    upstream.script = lambda request: answer
    tab = visitor.open()
    watching = visitor.open(tab.conversation)
    tab.look()
    tab.say("one")
    tab.until("() => document.querySelector('[data-role=assistant] .content')?.textContent.includes('Before')")
    tab.say("two")
    tab.expect_queue("two")
    server.kill()
    tab.expect_connection("offline")
    gate.open()
    server.start()
    for one in (tab, watching):
        one.look()
        one.page.evaluate("() => document.getElementById('reconnect').click()")
        one.expect_connection("online")
        one.expect_texts("user", "one", "two")
        one.expect_texts("assistant", *["Before the crash, and after it."] * 2)
        one.expect_phase("idle")
        one.expect_queue()
        ids = one.page.evaluate("[...document.querySelectorAll('[id]')].map((element) => element.id)")
        assert len(ids) == len(set(ids))


def test_a_message_that_could_not_be_saved_says_so_and_is_sent_again_until_it_is(
    visitor: Visitor, server: ServerProcess, upstream: ScriptedServer
) -> None:
    upstream.script = lambda request: (Say(text="An answer."),)
    tab = visitor.open()
    tab.page.clock.install()
    tab.load()
    why, notice = tab.page.locator("#unsent .why"), tab.page.locator(".notice[data-code=not_saved]")
    with server.without_room():
        tab.say("one")
        expect(notice).to_contain_text("could not be saved")
        expect(tab.unsent).to_have_text("one")
        expect(why).to_have_text("Not saved yet. It is sent again in a moment.")
        tab.expect_connection("online")
    tab.page.clock.run_for(15_000)
    tab.expect_texts("user", "one")
    tab.expect_texts("assistant", "An answer.")
    expect(tab.page.locator("#unsent")).to_be_hidden()
    expect(notice).to_have_count(0)
    with server.without_room():
        tab.say("two")
        for _ in range(2):
            before = notice.get_attribute("id")
            assert before is not None
            tab.page.clock.run_for(12_000)
            expect(notice).not_to_have_attribute("id", before)
            expect(notice).to_have_count(1)
        # It is not asked for ever: the text comes back to whoever wrote it.
        expect(tab.composer).to_have_value("two")
        expect(notice).to_contain_text("could not be saved")
    tab.composer.press("Enter")
    tab.expect_texts("user", "one", "two")
    tab.expect_texts("assistant", "An answer.", "An answer.")


def test_logging_out_in_one_tab_ends_the_others_and_says_so(visitor: Visitor) -> None:
    tab = visitor.open()
    other = visitor.open(tab.conversation)
    other.look()
    other.page.locator(".account").click()
    other.page.get_by_role("button", name="Log out").click()
    tab.look()
    tab.expect_connection("offline")
    expect(tab.connection.locator(".words")).to_have_text("You were logged out")
    expect(tab.page.get_by_role("link", name="Log in")).to_be_visible()
    # Looked at while nobody is logged in, it stays as it is.
    tab.composer.fill("Not yet sent")
    tab.page.evaluate("() => dispatchEvent(new Event('focus'))")
    expect(tab.connection.locator(".words")).to_have_text("You were logged out")
    visitor.person.log_in(visitor.name)
    visitor.take_cookies()
    tab.page.evaluate("() => dispatchEvent(new Event('focus'))")
    tab.expect_connection("online")
    expect(tab.composer).to_have_value("Not yet sent")


def test_a_double_click_begins_one_conversation(visitor: Visitor) -> None:
    tab = visitor.open()
    begin = tab.page.get_by_role("button", name="New conversation", exact=True)
    entries = tab.page.locator("#conversations > li")
    before = entries.count()
    begin.dblclick()
    tab.page.wait_for_url(lambda address: not address.endswith(tab.path))
    tab.expect_connection("online")
    tab.expect_count(entries, before + 1)
    tab.page.go_back()
    tab.page.wait_for_url(f"**{tab.path}")
    begin.click()
    tab.expect_count(entries, before + 2)


def test_no_new_conversation_is_said_in_words_and_a_log_in_leads_back(visitor: Visitor) -> None:
    tab = visitor.open()
    begin = tab.page.get_by_role("button", name="New conversation", exact=True)
    notice = tab.page.locator(".notice").last
    visitor.may_lose_server = True
    visitor.context.set_offline(True)
    begin.click()
    expect(notice).to_contain_text("The server can't be reached")
    visitor.context.set_offline(False)
    tab.expect_connection("online")
    # As after a log-in in another tab.
    visitor.context.clear_cookies(name="csrftoken")
    begin.click()
    expect(notice).to_contain_text("Reload the page and try again")
    visitor.faults[:] = [fault for fault in visitor.faults if "status of 403" not in fault]
    tab.load()
    visitor.context.clear_cookies(name="sessionid")
    begin.click()
    for address in (f"/accounts/login/?next={quote(tab.path, safe='')}", "/accounts/login/?next=/c/new/"):
        tab.page.wait_for_url(visitor.base + address)
        tab.page.get_by_label("Username").fill(visitor.name)
        tab.page.get_by_label("Password").fill(PASSWORD)
        tab.page.get_by_role("button", name="Log in").click()
        tab.page.wait_for_url(visitor.base + tab.path)
        visitor.context.clear_cookies(name="sessionid")
        tab.page.goto("/c/new/")
    visitor.person.log_in(visitor.name)
