"""Where one writes: always, by the usual keys, and without losing a character or sending one twice."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import FailStream, Gate, Refuse, Say, Step, Wait
from tests.browser.conftest import QUEUE_MAX_MESSAGES
from tests.browser.visitor import Tab, Visitor
from tests.browser.writing import chunk
from tests.server import ServerProcess

LIMIT_CHARACTERS = 32_000


@contextmanager
def frozen(server: ServerProcess) -> Iterator[None]:
    """The server does nothing, as on the worst network."""
    os.kill(server.pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(server.pid, signal.SIGCONT)


def asked(upstream: ScriptedServer) -> list[str]:
    """The questions that the model got, in order."""
    return [exchange.request.last_user_text for exchange in upstream.exchanges]


def test_one_can_write_in_every_phase(visitor: Visitor, upstream: ScriptedServer) -> None:
    gate = Gate()
    steps: dict[str, tuple[Step, ...]] = {
        "first": (Wait(gate=gate), Say(text="ok")),
        "refuse": (Refuse(status=400, message="no"),),
        "retry": (Refuse(status=429, message="later", headers=(("retry-after", "60"),)),),
        "fail": (chunk("a"), FailStream(message="broke")),
    }
    upstream.script = lambda request: steps[request.last_user_text]
    tab = visitor.open()
    # From now on each moment counts, also those between two looks.
    tab.page.evaluate(
        """() => {
          const text = document.querySelector("#composer textarea");
          window.blocked = [];
          const look = () => {
            const now = document.querySelector("#composer textarea");
            if (now !== text || text.disabled || text.readOnly || text.closest("[inert], fieldset:disabled")) {
              window.blocked.push(document.getElementById("conversation").dataset.phase);
            }
          };
          new MutationObserver(look).observe(document.body, { subtree: true, childList: true, attributes: true });
        }"""
    )
    seen = [tab.root.get_attribute("data-phase")]
    tab.say("first")
    tab.expect_phase("generating")
    tab.composer.press_sequentially("typed")
    assert tab.composer.input_value() == "typed"
    gate.open()
    tab.expect_phase("idle")
    for text in ("refuse", "fail"):
        tab.say(text)
        tab.until("n => document.querySelectorAll('[data-state=failed]').length === n", 1 if text == "refuse" else 2)
    tab.say("retry")
    tab.until("() => document.getElementById('status').textContent.includes('Trying again')")
    seen.append(tab.root.get_attribute("data-phase"))
    tab.composer.press("Escape")
    tab.expect_phase("idle")
    tab.composer.press_sequentially("still")
    assert tab.composer.input_value() == "still"
    assert tab.page.evaluate("window.blocked") == []
    assert seen == ["idle", "generating"]


def test_enter_sends_shift_enter_breaks_the_line_and_an_input_methods_enter_does_neither(
    visitor: Visitor, gate: Gate
) -> None:
    tab = visitor.open()
    tab.composer.press_sequentially("one")
    tab.composer.press("Shift+Enter")
    tab.composer.press_sequentially("two")
    assert tab.composer.input_value() == "one\ntwo"
    composing = (
        "(text, init) => text.dispatchEvent(new KeyboardEvent('keydown', {bubbles: true, cancelable: true, ...init}))"
    )
    for init in (
        {"key": "Enter", "isComposing": True},
        {"key": "Process", "keyCode": 229},
        {"key": "Enter", "keyCode": 229},
    ):
        assert tab.composer.evaluate(composing, init), "the key was taken from the input method"
    assert tab.composer.input_value() == "one\ntwo"
    assert tab.articles().count() == 0
    tab.composer.press("Enter")
    tab.until("() => document.querySelector('[data-role=user] .content')?.textContent === 'one\\ntwo'")
    tab.expect_phase("idle")
    assert tab.composer.input_value() == ""
    tab.say("   \n ")
    tab.ask("three")
    tab.expect_texts("user", "one\ntwo", "three")


def test_a_draft_survives_a_reload_and_a_change_of_conversation(visitor: Visitor, gate: Gate) -> None:
    tab = visitor.open()
    other = visitor.person.new_conversation()
    tab.composer.fill("half a thought\n")
    tab.load()
    assert tab.composer.input_value() == "half a thought\n"
    tab.page.locator(f'#conversations [id="c-{other}"] a').click()
    tab.page.wait_for_url(f"**/c/{other}/")
    assert tab.composer.input_value() == ""
    tab.page.go_back()
    tab.until("() => document.querySelector('#composer textarea').value === 'half a thought\\n'")
    tab.composer.press("Enter")
    tab.expect_count(tab.articles("assistant", "complete"), 1)
    tab.load()
    assert tab.composer.input_value() == ""


def test_a_draft_that_one_tab_sends_leaves_the_other_but_not_what_was_written_there(
    visitor: Visitor, gate: Gate
) -> None:
    tab = visitor.open()
    tab.composer.fill("half a thought")
    other = visitor.open(tab.conversation)
    assert other.composer.input_value() == "half a thought"
    tab.look()
    tab.composer.press("Enter")
    other.until("() => document.querySelector('#composer textarea').value === ''")
    other.look()
    other.composer.press_sequentially("mine")
    tab.look()
    tab.ask("another")
    assert other.composer.input_value() == "mine"


def test_a_text_stays_in_sight_until_the_servers_word(
    visitor: Visitor, server: ServerProcess, upstream: ScriptedServer, gate: Gate
) -> None:
    tab = visitor.open()
    with frozen(server):
        tab.say("slow")
        tab.until(
            "() => document.body.innerText.includes('slow') || document.querySelector('textarea').value === 'slow'"
        )
        # Neither confirmed nor lost: it is shown as on its way, and kept.
        assert tab.unsent.all_text_contents() == ["slow"] or tab.composer.input_value() == "slow"
        assert tab.articles().count() == 0
        tab.composer.fill("")
        tab.composer.press_sequentially("next")
        assert tab.unsent.all_text_contents() == ["slow"]
    tab.expect_texts("user", "slow")
    tab.expect_count(tab.unsent, 0)
    assert tab.composer.input_value() == "next"
    tab.expect_phase("idle")
    assert asked(upstream) == ["slow"]


def test_a_text_that_is_refused_comes_back(visitor: Visitor, busy: Tab, gate: Gate) -> None:
    for number in range(QUEUE_MAX_MESSAGES):
        busy.say(f"waiting {number}")
    busy.expect_queue(*(f"waiting {number}" for number in range(QUEUE_MAX_MESSAGES)))
    busy.say("one too many")
    busy.until("() => document.querySelector('#composer textarea').value === 'one too many'")
    busy.expect_count(busy.unsent, 0)
    busy.expect_count(busy.page.locator("#notices [role=alert]"), 1)
    # Something else was begun meanwhile: then it waits beside the composer, with the reason.
    busy.composer.press("Enter")
    busy.composer.press_sequentially("something else")
    busy.until(
        """() => {
          const aside = document.querySelector("#unsent [data-failed] .item-text")?.textContent;
          return [aside, document.querySelector("#composer textarea").value].some((text) => text?.includes("too many"));
        }"""
    )
    assert "something else" in busy.composer.input_value()
    # What the notice says is no longer so.
    busy.control("waiting 0", "remove").click()
    busy.expect_count(busy.page.locator("#notices [role=alert]"), 0)
    gate.open()


def test_what_is_written_while_the_server_is_away_is_sent_once_when_it_is_back(
    visitor: Visitor, server: ServerProcess, upstream: ScriptedServer, gate: Gate
) -> None:
    visitor.may_lose_server = True
    tab = visitor.open()
    tab.ask("before")
    server.kill()
    tab.expect_connection("offline")
    tab.say("while away")
    tab.say("and another")
    assert tab.unsent.all_text_contents() == ["while away", "and another"]
    server.start()
    tab.page.evaluate("() => document.getElementById('reconnect').click()")
    tab.expect_texts("user", "before", "while away", "and another")
    tab.expect_count(tab.articles("assistant", "complete"), 3)
    tab.expect_count(tab.unsent, 0)
    tab.expect_phase("idle")
    assert asked(upstream) == ["before", "while away", "and another"]


def test_a_text_that_was_on_its_way_when_the_tab_was_reloaded_is_sent_once(
    visitor: Visitor, server: ServerProcess, upstream: ScriptedServer, gate: Gate
) -> None:
    tab = visitor.open()
    with frozen(server):
        tab.say("on its way")
        tab.expect_count(tab.unsent, 1)
        tab.page.evaluate("() => { setTimeout(() => location.reload()); }")
    tab.expect_texts("user", "on its way")
    tab.expect_count(tab.unsent, 0)
    tab.expect_phase("idle")
    tab.load()
    tab.expect_texts("user", "on its way")
    assert asked(upstream) == ["on its way"]


def test_two_messages_in_quick_succession_are_both_sent_once(
    visitor: Visitor, upstream: ScriptedServer, gate: Gate
) -> None:
    tab = visitor.open()
    tab.composer.evaluate(
        """text => {
          for (const words of ["one", "two"]) {
            text.value = words;
            text.dispatchEvent(new Event("input", { bubbles: true }));
            const key = () => new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true });
            text.dispatchEvent(key());
            text.dispatchEvent(key());
          }
        }"""
    )
    tab.expect_texts("user", "one", "two")
    tab.expect_count(tab.articles("assistant", "complete"), 2)
    tab.expect_phase("idle")
    assert asked(upstream) == ["one", "two"]


def test_the_limit_is_counted_in_characters_and_nothing_is_cut(
    visitor: Visitor, upstream: ScriptedServer, gate: Gate
) -> None:
    tab = visitor.open()
    length = tab.page.locator("#length")
    tab.composer.fill("😀" * (LIMIT_CHARACTERS + 1))
    assert "1 character too long" in length.inner_text()
    tab.composer.press("Enter")
    assert len(tab.composer.input_value()) == LIMIT_CHARACTERS + 1
    assert tab.articles().count() == 0
    tab.composer.fill("😀" * LIMIT_CHARACTERS)
    assert "0 characters left" in length.inner_text()
    tab.composer.press("Backspace")
    assert "1 character left" in length.inner_text()
    tab.composer.fill("😀" * LIMIT_CHARACTERS)
    tab.composer.press("Enter")
    tab.expect_count(tab.articles("assistant", "complete"), 1)
    assert len(tab.articles("user").locator(".content").inner_text()) == LIMIT_CHARACTERS
    tab.composer.fill("short")
    assert length.inner_text() == ""


def test_control_enter_steers_and_escape_stops_and_enter_resumes(
    busy: Tab, upstream: ScriptedServer, gate: Gate
) -> None:
    busy.say("queued")
    busy.expect_queue("queued")
    busy.say("steered", key="Control+Enter")
    busy.expect_queue("steered", "queued")
    badges = busy.page.locator("#queue .badge").all_inner_texts()
    assert badges == ["joins at the next step", "next turn"]
    busy.composer.press("Escape")
    busy.expect_phase("idle")
    busy.expect_count(busy.articles("assistant", "interrupted"), 1)
    busy.expect_queue("steered", "queued")
    busy.composer.press("Enter")
    busy.expect_texts("assistant", "I am", "re: steered", "re: queued")
    busy.expect_queue()
    assert asked(upstream) == ["busy", "steered", "queued"]


def test_a_message_that_interrupts_stops_the_answer_and_goes_next(busy: Tab, upstream: ScriptedServer) -> None:
    busy.say("queued")
    busy.expect_queue("queued")
    busy.composer.fill("now")
    busy.page.locator("#deliver").click()
    busy.page.get_by_role("button", name="Now").click()
    busy.expect_texts("assistant", "I am", "re: now", "re: queued")
    assert asked(upstream) == ["busy", "now", "queued"]
    assert busy.is_focused
