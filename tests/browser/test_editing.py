"""Editing and moving what waits in the queue: what is being edited is not sent, and what was written is not lost."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, expect

from chat.llm.scripted_steps import Gate
from tests.browser.test_composer import frozen
from tests.browser.visitor import Tab, Visitor
from tests.server import ServerProcess


def editor_of(tab: Tab) -> Locator:
    return tab.page.get_by_role("textbox", name="Edit queued message")


def leave(tab: Tab, server: ServerProcess) -> None:
    """Close the page before it is connected again; the server comes back."""
    tab.page.goto("about:blank")
    server.start()


def empty_the_queue(visitor: Visitor, conversation: str) -> None:
    """As a program does."""
    elsewhere = visitor.open()
    elsewhere.page.evaluate(
        """(path) => new Promise((done) => {
          const socket = new WebSocket(path);
          const frames = [];
          socket.onmessage = ({ data }) => {
            if (frames.push(data) === 1) socket.send('{"type": "queue_clear"}');
            if (JSON.parse(data).queue?.length === 0) done();
          };
        })""",
        f"/ws/c/{conversation}/?format=json",
    )


def test_up_in_an_empty_composer_fetches_the_last_queued_message(busy: Tab, gate: Gate) -> None:
    busy.say("first")
    busy.say("last")
    busy.expect_queue("first", "last")
    busy.composer.fill("not empty")
    busy.composer.press("ArrowUp")
    assert busy.page.locator("form.editor").count() == 0
    busy.composer.fill("")
    busy.composer.press("ArrowUp")
    editor = busy.page.get_by_role("textbox", name="Edit queued message")
    assert editor.input_value() == "last"
    busy.until("() => document.querySelector('[data-queued-id]:last-child').dataset.edited === 'true'")
    gate.open()
    busy.expect_texts("assistant", "I am done.", "re: first")
    # Held as long as it is open.
    busy.expect_queue("last")
    editor.fill("last, edited")
    editor.press("Enter")
    busy.expect_texts("user", "busy", "first", "last, edited")
    busy.expect_phase("idle")
    assert busy.is_focused


def test_what_was_written_in_one_editor_is_kept_when_another_is_opened(busy: Tab, gate: Gate) -> None:
    busy.say("first")
    busy.say("last")
    busy.expect_queue("first", "last")
    editor = busy.page.get_by_role("textbox", name="Edit queued message")
    busy.control("last", "edit").click()
    editor.fill("last, edited")
    busy.control("first", "edit").click()
    busy.expect_queue("first", "last, edited")
    assert editor.input_value() == "first"
    gate.open()
    busy.expect_texts("assistant", "I am done.")
    # Both wait: the one for its editor, the other for its turn.
    editor.press("Escape")
    busy.expect_texts("user", "busy", "first", "last, edited")


def test_an_edit_that_is_too_long_is_not_sent_and_says_so(busy: Tab, gate: Gate) -> None:
    busy.say("first")
    busy.say("last")
    busy.expect_queue("first", "last")
    busy.control("last", "edit").click()
    editor = editor_of(busy)
    editor.fill("x" * 32_001)
    editor.press("Enter")
    assert editor.evaluate("field => field.validationMessage").startswith("1 character too long")
    # It stays open, also when another one is wanted.
    busy.control("first", "edit").click()
    assert len(editor.input_value()) == 32_001
    editor.press("Backspace")
    editor.press("Enter")
    busy.expect_queue("first", "x" * 32_000)
    expect(busy.page.locator("#notices")).to_be_empty()
    gate.open()


def test_on_a_low_screen_an_editor_shows_its_buttons(busy: Tab, gate: Gate) -> None:
    busy.page.set_viewport_size({"width": 640, "height": 400})
    for text in ("one", "two", "three"):
        busy.say(text)
    busy.expect_queue("one", "two", "three")
    busy.composer.press("ArrowUp")
    expect(editor_of(busy)).to_be_in_viewport(ratio=1)
    expect(busy.page.get_by_role("button", name="Save", exact=True)).to_be_in_viewport(ratio=1)
    expect(busy.composer).to_be_in_viewport(ratio=1)
    gate.open()


def test_escape_ends_a_drag_and_nothing_else(busy: Tab, gate: Gate) -> None:
    busy.say("one")
    busy.say("two")
    busy.expect_queue("one", "two")
    grip, goal = (busy.control(text, "grip").bounding_box() for text in ("two", "one"))
    assert grip is not None
    assert goal is not None
    mouse = busy.page.mouse
    mouse.move(grip["x"] + 8, grip["y"] + 8)
    mouse.down()
    mouse.move(goal["x"] + 8, goal["y"] + 2, steps=3)
    expect(busy.page.locator("[data-local-drop]")).to_have_count(1)
    busy.page.keyboard.press("Escape")
    expect(busy.page.locator("[data-local-drop], [data-local-dragged]")).to_have_count(0)
    mouse.up()
    busy.say("three")
    busy.expect_queue("one", "two", "three")
    assert busy.root.get_attribute("data-phase") == "generating"
    gate.open()


Pointer = Callable[[str, float, float], None]


def mouse(tab: Tab) -> Pointer:
    """Presses, moves and lets go of a mouse."""

    def act(what: str, x: float, y: float) -> None:
        tab.page.mouse.move(x, y)
        if what != "move":
            getattr(tab.page.mouse, {"press": "down", "release": "up"}[what])()

    return act


def finger(tab: Tab) -> Pointer:
    """The same on the glass."""
    session = tab.page.context.new_cdp_session(tab.page)

    def act(what: str, x: float, y: float) -> None:
        kind = {"press": "touchStart", "move": "touchMove", "release": "touchEnd"}[what]
        points = [] if what == "release" else [{"x": x, "y": y}]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    return act


@pytest.mark.parametrize("pointer_of", [mouse, finger])
def test_a_tray_scrolls_along_with_what_is_dragged_to_its_edge(
    busy: Tab, gate: Gate, pointer_of: Callable[[Tab], Pointer]
) -> None:
    busy.page.set_viewport_size({"width": 900, "height": 500})
    for text in ("one", "two", "three", "four", "five"):
        busy.say(text)
    busy.expect_queue("one", "two", "three", "four", "five")
    busy.until(
        "() => { const { scrollHeight, clientHeight } = document.querySelector('#queue ol');"
        " return scrollHeight > clientHeight + 40; }"
    )
    act = pointer_of(busy)
    for edge, is_there, order in (
        ("bottom", "list.scrollTop > list.scrollHeight - list.clientHeight - 1", "two three four five one"),
        ("top", "list.scrollTop === 0", "one two three four five"),
    ):
        grip = busy.control("one", "grip")
        grip.scroll_into_view_if_needed()
        place = grip.bounding_box()
        tray = busy.page.locator("#queue ol").bounding_box()
        assert place is not None
        assert tray is not None
        x = place["x"] + place["width"] / 2
        goal = tray["y"] + (tray["height"] - 4 if edge == "bottom" else 4)
        act("press", x, place["y"] + place["height"] / 2)
        act("move", x, goal)
        busy.until(f"() => {{ const list = document.querySelector('#queue ol'); return {is_there}; }}")
        act("release", x, goal)
        busy.expect_queue(*order.split())
    gate.open()


def test_keys_move_as_far_as_they_are_pressed_and_the_place_is_spoken(
    busy: Tab, server: ServerProcess, gate: Gate
) -> None:
    for text in ("one", "two", "three", "four"):
        busy.say(text)
    busy.expect_queue("one", "two", "three", "four")
    busy.control("one", "grip").focus()
    with frozen(server):
        for _ in range(3):
            busy.page.keyboard.press("ArrowDown")
    busy.expect_queue("two", "three", "four", "one")
    expect(busy.page.locator("#spoken")).to_have_text("one: place 4 of 4")
    busy.control("two", "down").press("Enter")
    busy.expect_queue("three", "two", "four", "one")
    expect(busy.page.locator("#spoken")).to_have_text("two: place 2 of 4")
    gate.open()


def test_what_is_moved_by_keys_stays_in_sight(busy: Tab, gate: Gate) -> None:
    busy.page.set_viewport_size({"width": 640, "height": 400})
    for text in ("one", "two", "three"):
        busy.say(text)
    busy.expect_queue("one", "two", "three")
    grip = busy.control("one", "grip")
    grip.focus()
    grip.press("ArrowDown")
    busy.expect_queue("two", "one", "three")
    busy.page.keyboard.press("ArrowDown")
    busy.expect_queue("two", "three", "one")
    expect(grip).to_be_focused()
    expect(grip).to_be_in_viewport(ratio=1)
    gate.open()


def test_an_edit_that_was_saved_without_a_connection_survives_a_reload(
    away: Tab, server: ServerProcess, gate: Gate
) -> None:
    away.control("waiting", "edit").click()
    editor_of(away).fill("waiting, edited")
    editor_of(away).press("Enter")
    away.expect_queue("waiting, edited")
    leave(away, server)
    away.load()
    away.expect_queue("waiting, edited")
    gate.open()
    away.expect_texts("user", "busy", "waiting, edited")
    away.expect_phase("idle")
    assert away.page.evaluate("Object.keys(localStorage).filter((key) => key.includes('edit.'))") == []


def test_what_is_removed_without_a_connection_says_so_and_is_removed_once(
    away: Tab, server: ServerProcess, gate: Gate
) -> None:
    remove = away.control("waiting", "remove")
    remove.click()
    expect(away.page.locator("#notices")).to_contain_text("Will be removed as soon as you are connected")
    expect(remove).to_have_attribute("aria-disabled", "true")
    remove.press("Enter")
    server.start()
    away.expect_connection("online")
    away.expect_queue()
    away.say("another")
    away.expect_queue("another")
    expect(away.page.locator("#notices [role=alert]")).to_have_count(0)
    gate.open()


@pytest.mark.parametrize(
    ("action", "key", "left"),
    [("remove", "Enter", "two"), ("down", "Enter", "two one"), ("grip", "ArrowDown", "two one")],
)
def test_what_was_removed_or_moved_without_a_connection_is_so_after_a_reload(
    visitor: Visitor, busy: Tab, server: ServerProcess, gate: Gate, *, action: str, key: str, left: str
) -> None:
    visitor.may_lose_server = True
    for text in ("one", "two"):
        busy.say(text)
    busy.expect_queue("one", "two")
    server.kill()
    busy.expect_connection("offline")
    busy.control("one", action).press(key)
    leave(busy, server)
    busy.load()
    busy.expect_queue(*left.split())
    # Once: what is queued afterwards stays as it is.
    busy.say("one more")
    busy.expect_queue(*left.split(), "one more")
    busy.load()
    busy.expect_queue(*left.split(), "one more")
    expect(busy.page.locator("#notices")).to_be_empty()
    gate.open()


def test_an_editor_that_was_opened_without_a_connection_survives_a_reload(
    away: Tab, server: ServerProcess, gate: Gate
) -> None:
    away.control("waiting", "edit").click()
    editor_of(away).fill("waiting, half edi")
    leave(away, server)
    away.load()
    assert editor_of(away).input_value() == "waiting, half edi"
    gate.open()
    away.expect_texts("assistant", "I am done.")
    away.expect_queue("waiting")
    editor_of(away).press("Enter")
    away.expect_texts("user", "busy", "waiting, half edi")


@pytest.mark.parametrize("is_saved", [True, False])
def test_an_edit_of_what_has_left_the_queue_meanwhile_comes_back(
    visitor: Visitor, away: Tab, server: ServerProcess, is_saved: bool
) -> None:
    away.control("waiting", "edit").click()
    editor_of(away).fill("waiting, edited")
    if is_saved:
        editor_of(away).press("Enter")
    leave(away, server)
    empty_the_queue(visitor, away.conversation)
    away.load()
    away.until(
        """() => {
          const places = document.querySelectorAll("#unsent .item-text, #composer textarea");
          return [...places].some((place) => (place.value ?? place.textContent) === "waiting, edited");
        }"""
    )
    away.expect_queue()


def test_what_is_removed_by_keys_leaves_the_focus_to_its_neighbour(busy: Tab, gate: Gate) -> None:
    for text in ("one", "two", "three"):
        busy.say(text)
    busy.expect_queue("one", "two", "three")
    busy.control("two", "remove").press("Enter")
    busy.expect_queue("one", "three")
    expect(busy.control("three", "remove")).to_be_focused()
    busy.page.keyboard.press("Enter")
    busy.expect_queue("one")
    expect(busy.control("one", "remove")).to_be_focused()
    gate.open()
