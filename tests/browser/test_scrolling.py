"""The page follows the text only while the reader is at its end, and never moves what they read."""

from __future__ import annotations

import re
from uuid import UUID

import pytest
from playwright.sync_api import Route, expect

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import Gate, Say, ScriptedRequest, Step, Wait
from chat.render import ids
from tests.browser.conftest import Arrive
from tests.browser.visitor import Tab, Visitor
from tests.server import ServerProcess

FROM_END = (
    "() => { const s = document.getElementById('scroller'); return s.scrollHeight - s.clientHeight - s.scrollTop; }"
)
IS_IN_VIEW = """id => {
  const box = document.querySelector(`[data-message-id="${id}"]`)?.getBoundingClientRect();
  return box && box.top > 0 && box.bottom < innerHeight;
}"""
PAINTS = "() => performance.getEntriesByType('paint').length"
PARAGRAPHS = "A paragraph that takes some room on the page.\n\n" * 60
NEAR_PX = 64
QUESTIONS = 65


@pytest.fixture
def gates(upstream: ScriptedServer) -> list[Gate]:
    """Each lets one more long piece of the answer come."""
    gates = [Gate() for _ in range(4)]

    def script(request: ScriptedRequest) -> tuple[Step, ...]:
        steps: list[Step] = []
        for number, gate in enumerate(gates):
            steps += [Say(text=f"{PARAGRAPHS}Piece {number}.\n\n"), Wait(gate=gate)]
        return tuple(steps)

    upstream.script = script
    return gates


@pytest.fixture
def tab(visitor: Visitor, gates: list[Gate]) -> Tab:
    """A tab in which a long answer streams."""
    tab = visitor.open()
    tab.say("A long one")
    expect_piece(tab, 0)
    return tab


def expect_piece(tab: Tab, number: int) -> None:
    """Wait until this piece is on the page, and painted."""
    tab.until(f"() => document.getElementById('messages').textContent.includes('Piece {number}.')")
    tab.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def scroll_to(tab: Tab, expression: str) -> None:
    """As a reader does with the wheel, and wait until the page has noticed."""
    tab.page.evaluate(
        f"""() => new Promise((done) => {{
          const s = document.getElementById("scroller");
          s.addEventListener("scroll", () => requestAnimationFrame(done), {{ once: true }});
          s.scrollTop = {expression};
        }})"""
    )


def test_the_page_sticks_to_the_end_and_lets_go_when_the_reader_scrolls_up(tab: Tab, gates: list[Gate]) -> None:
    pill = tab.page.locator("#pill")
    assert tab.page.evaluate(FROM_END) <= 1
    gates[0].open()
    expect_piece(tab, 1)
    assert tab.page.evaluate(FROM_END) <= 1
    expect(pill).to_be_hidden()

    scroll_to(tab, "s.scrollTop - 300")
    place = tab.page.evaluate("document.getElementById('scroller').scrollTop")
    gates[1].open()
    expect_piece(tab, 2)
    assert tab.page.evaluate("document.getElementById('scroller').scrollTop") == place
    expect(pill).to_be_visible()
    expect(pill).to_have_text("New content")

    pill.click()
    assert tab.page.evaluate(FROM_END) <= 1
    expect(pill).to_be_hidden()
    gates[2].open()
    expect_piece(tab, 3)
    assert tab.page.evaluate(FROM_END) <= 1
    gates[3].open()


def test_who_goes_to_the_end_goes_on_writing(tab: Tab, gates: list[Gate]) -> None:
    tab.composer.press_sequentially("half a ")
    scroll_to(tab, "100")
    tab.page.locator("#pill").click()
    tab.page.keyboard.type("thought")
    assert tab.composer.input_value() == "half a thought"


def test_a_reader_who_comes_back_to_the_end_is_taken_along_again(tab: Tab, gates: list[Gate]) -> None:
    scroll_to(tab, "100")
    gates[0].open()
    expect_piece(tab, 1)
    assert tab.page.evaluate(FROM_END) > NEAR_PX
    scroll_to(tab, f"s.scrollHeight - s.clientHeight - {NEAR_PX // 2}")
    gates[1].open()
    expect_piece(tab, 2)
    assert tab.page.evaluate(FROM_END) <= 1


def test_the_wheel_lets_go_at_once(tab: Tab, gates: list[Gate]) -> None:
    tab.page.mouse.move(600, 300)
    tab.page.mouse.wheel(0, -120)
    tab.until(FROM_END.replace("return ", "return 0 < "))
    gates[0].open()
    expect_piece(tab, 1)
    assert tab.page.evaluate(FROM_END) > NEAR_PX


def test_sending_always_scrolls_down(tab: Tab, gates: list[Gate]) -> None:
    scroll_to(tab, "0")
    tab.say("And this")
    tab.expect_queue("And this")
    tab.until(FROM_END.replace("return ", "return 1 >= "))


def test_older_messages_load_above_without_a_jump(visitor: Visitor, upstream: ScriptedServer) -> None:
    upstream.script = lambda request: (Say(text=f"Answer to {request.last_user_text}.\n\nWith a second line."),)
    tab = visitor.open()
    visitor.converse(tab.conversation, (f"question {number}" for number in range(QUESTIONS)))
    tab.load()
    tab.expect_count(tab.articles(), 50)
    assert tab.page.evaluate(FROM_END) <= 1
    scroll_to(tab, "200")
    # Where the first text is, noted in each frame that is painted.
    tab.page.evaluate(
        """() => {
          const text = document.querySelector("#messages .content");
          window.places = [];
          const note = () => {
            window.places.push(text.getBoundingClientRect().top);
            requestAnimationFrame(note);
          };
          note();
        }"""
    )
    tab.expect_count(tab.articles(), 100)
    tab.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    assert tab.page.evaluate("Math.max(...window.places) - Math.min(...window.places)") <= 1
    scroll_to(tab, "100")
    tab.expect_count(tab.articles(), 2 * QUESTIONS)
    expect(tab.page.locator("#older")).to_be_hidden()
    texts = tab.articles("user").locator(".content").all_inner_texts()
    assert texts == [f"question {number}" for number in range(QUESTIONS)]
    names = tab.page.evaluate("[...document.querySelectorAll('[id]')].map((element) => element.id)")
    assert len(names) == len(set(names))


def test_older_messages_leave_the_focus_where_it_is(visitor: Visitor, upstream: ScriptedServer) -> None:
    upstream.script = lambda request: (Say(text="ok"),)
    tab = visitor.open()
    visitor.converse(tab.conversation, (f"question {number}" for number in range(QUESTIONS)))
    tab.load()
    more = tab.page.get_by_role("button", name="Older messages")
    more.focus()
    tab.expect_count(tab.articles(), 100)
    expect(more).to_be_focused()
    more.press("Enter")
    tab.expect_count(tab.articles(), 2 * QUESTIONS)
    # There are no more; the keys still scroll.
    expect(tab.page.locator("#scroller")).to_be_focused()


def test_an_address_of_a_message_leads_to_it_however_far_back(visitor: Visitor, upstream: ScriptedServer) -> None:
    upstream.script = lambda request: (Say(text="ok"),)
    conversation = visitor.person.new_conversation()
    visitor.converse(conversation, (f"question {number}" for number in range(QUESTIONS)))
    status, text = visitor.person.get(f"/c/{conversation}/export.json")
    assert status == 200
    tab = visitor.open(conversation)
    first = tab.page.evaluate("text => JSON.parse(text).messages[2].id", text)
    tab.page.goto(f"{tab.path}#{ids.message(UUID(first))}")
    tab.page.reload()
    tab.until(IS_IN_VIEW, first)


def test_a_transcript_that_is_drawn_anew_on_the_way_to_a_message_does_not_end_the_way(
    visitor: Visitor, server: ServerProcess, upstream: ScriptedServer
) -> None:
    visitor.may_lose_server = True
    upstream.script = lambda request: (Say(text="ok"),)
    tab = visitor.open()
    visitor.converse(tab.conversation, (f"question {number}" for number in range(QUESTIONS)))
    _, text = visitor.person.get(f"/c/{tab.conversation}/export.json")
    first = tab.page.evaluate("text => JSON.parse(text).messages[2].id", text)
    tab.load()
    pages: list[Route] = []

    def hold_the_second(route: Route) -> None:
        pages.append(route)
        if len(pages) != 2:
            route.continue_()

    tab.page.route("**/older/**", hold_the_second)
    tab.page.evaluate("name => { location.hash = name; }", ids.message(UUID(first)))
    tab.expect_count(tab.articles(), 100)
    tab.until("() => document.querySelector('#older .htmx-request') !== null")
    # As after an absence in which more was said than the page shows.
    tab.root.evaluate("root => { root.dataset.seq = '1'; }")
    server.kill()
    tab.expect_connection("offline")
    server.start()
    tab.expect_connection("online")
    tab.expect_count(tab.articles(), 50)
    pages[1].continue_()
    tab.until(IS_IN_VIEW, first)


def test_the_first_paint_shows_the_end_and_no_time_of_another_zone(
    arrive: Arrive, server: ServerProcess, visitor: Visitor, upstream: ScriptedServer
) -> None:
    upstream.script = lambda request: (Say(text=PARAGRAPHS),)
    conversation = visitor.person.new_conversation()
    visitor.converse(conversation, ["A long one"])
    page = visitor.context.new_page()
    time = page.locator("#messages time.short").last
    held: dict[str, Route] = {}

    def hold(route: Route) -> None:
        held[route.request.url.rpartition("/")[2]] = route

    page.route(re.compile(r"/js/(at_end|main)\.js$"), hold)
    page.goto(f"/c/{conversation}/", wait_until="commit")
    expect(time).to_be_attached()
    page.evaluate("() => new Promise((done) => setTimeout(done, 200))")
    assert page.evaluate(PAINTS) == 0
    held["at_end.js"].continue_()
    page.wait_for_function(PAINTS)
    assert page.evaluate(FROM_END) <= 1
    expect(time).to_be_hidden()
    held["main.js"].continue_()
    expect(time).to_be_visible()
    assert page.evaluate(FROM_END) <= 1
    reader = arrive(server, java_script_enabled=False)
    conversation = reader.person.new_conversation()
    reader.converse(conversation, ["A long one"])
    page = reader.context.new_page()
    page.goto(f"/c/{conversation}/")
    expect(page.locator("#messages time.short").last).to_be_visible()
