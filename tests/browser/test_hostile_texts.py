"""Whatever anybody writes is text: nothing of it runs, asks elsewhere, or changes other parts of the page.

Dialogs, errors on the console (a script that only the policy stops is one) and requests to elsewhere are looked for
by each visitor at the end of a test.
"""

from __future__ import annotations

import pytest

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import FailStream, Gate, Refuse, Say, Step, Wait
from tests.browser.hostile import BIDI, HTML, HTMX, INTRUDERS, MARKDOWN, NUL, TEXTS
from tests.browser.visitor import Tab, Visitor
from tests.browser.writing import chunk, written

# In one answer after another they stand in one page together, as in a long conversation.
TOUGHEST = (HTML[0], HTML[12], MARKDOWN[0], *HTMX, BIDI[0])
TOGETHER = "\n\n".join((*TEXTS, NUL))


def expect_no_intruders(*tabs: Tab) -> None:
    """Nothing on these pages that a text brought in; nor after a reload."""
    for tab in tabs:
        tab.look()
        assert tab.page.evaluate(INTRUDERS) == []
        assert tab.page.locator("#title").inner_text() != "hacked"
        assert tab.status.inner_text() != "hacked"
        tab.load()
        assert tab.page.evaluate(INTRUDERS) == []


def test_in_what_people_write(visitor: Visitor, upstream: ScriptedServer) -> None:
    upstream.script = lambda request: (Say(text="ok"),)
    tab = visitor.open()
    tab.ask(TOGETHER.replace("\0", ""))
    visitor.converse(tab.conversation, TEXTS[1:])
    tab.until(
        "count => document.querySelectorAll('[data-role=assistant][data-state=complete]').length === count", len(TEXTS)
    )
    assert tab.articles("user").locator(".content").all_text_contents() == [TOGETHER.replace("\0", ""), *TEXTS[1:]]
    expect_no_intruders(tab)


def test_in_what_waits_in_the_queue_and_in_its_editor(visitor: Visitor, upstream: ScriptedServer) -> None:
    upstream.script = lambda request: (chunk("I think"), Wait(gate=Gate()))
    tab = visitor.open()
    watching = visitor.open(tab.conversation)
    tab.look()
    tab.say("go")
    tab.expect_phase("generating")
    tab.say("first")
    tab.expect_queue("first")
    for text in TOUGHEST:
        shown = tab.queued.first.text_content() or ""
        tab.page.locator("#queue [data-action=edit]").click()
        editor = tab.page.get_by_role("textbox", name="Edit queued message")
        assert editor.input_value() == shown
        editor.fill(text)
        editor.press("Enter")
        tab.expect_queue(text)
        watching.expect_queue(text)
    expect_no_intruders(tab, watching)
    tab.stop.click()


def test_in_what_the_model_writes_character_by_character(visitor: Visitor, upstream: ScriptedServer) -> None:
    upstream.script = lambda request: tuple(written(TOGETHER, pause_s=0.001))
    tab = visitor.open()
    tab.say("go")
    tab.expect_phase("generating")
    while tab.root.get_attribute("data-phase") == "generating":
        # Also what is only there for a moment.
        assert tab.page.evaluate(INTRUDERS) == []
    tab.expect_count(tab.articles("assistant", "complete"), 1)
    expect_no_intruders(tab)


def test_in_what_the_model_writes_one_by_one(visitor: Visitor, upstream: ScriptedServer) -> None:
    upstream.script = lambda request: (Say(text=TEXTS[int(request.last_user_text)]),)
    tab = visitor.open()
    visitor.converse(tab.conversation, map(str, range(len(TEXTS))))
    tab.expect_count(tab.articles("assistant", "complete"), len(TEXTS))
    expect_no_intruders(tab)


def test_in_what_the_model_thinks(visitor: Visitor, upstream: ScriptedServer) -> None:
    upstream.script = lambda request: (*(chunk(text, "reasoning_content") for text in TEXTS), Say(text="ok"))
    tab = visitor.open()
    tab.ask("go")
    thoughts = tab.page.locator(".reasoning-text").text_content() or ""
    assert all(text in thoughts for text in TEXTS)
    expect_no_intruders(tab)


def test_in_names_of_conversations_and_what_is_searched_for(visitor: Visitor, upstream: ScriptedServer) -> None:
    upstream.script = lambda request: (Say(text="ok"),)
    tab = visitor.open()
    watching = visitor.open()
    entry = watching.page.locator(f'#conversations [id="c-{tab.conversation}"] .name')
    for text in TEXTS:
        name = " ".join(text.split())[:200].strip()
        status, _ = visitor.person.post(f"{tab.path}rename/", title=name)
        assert status == 200
        shown = " ".join(name.split())
        watching.until(
            "([id, name]) => document.querySelector(`[id='c-${id}'] .name`).textContent === name",
            [tab.conversation, shown],
        )
        assert entry.text_content() == shown
    expect_no_intruders(tab, watching)
    for text in (TEXTS[0], TEXTS[1], "<b>"):
        watching.page.locator("#search").fill(text)
        watching.until("text => document.getElementById('found').textContent.includes(text)", text)
        assert watching.page.evaluate(INTRUDERS) == []
    watching.page.locator("#search").fill("")


@pytest.mark.parametrize("how", ["refused", "broken off"])
def test_in_errors_of_the_provider(visitor: Visitor, upstream: ScriptedServer, how: str) -> None:
    def script(number: int) -> tuple[Step, ...]:
        text = TEXTS[number]
        if how == "refused":
            return (Refuse(status=400, message=text, code=text, kind=text),)
        return Say(text="well"), FailStream(message=text, code=text, kind=text)

    upstream.script = lambda request: script(int(request.last_user_text))
    tab = visitor.open()
    visitor.converse(tab.conversation, map(str, range(len(TEXTS))))
    tab.expect_count(tab.articles("assistant", "failed"), len(TEXTS))
    expect_no_intruders(tab)


def test_text_that_changes_its_direction_stays_in_its_own_place(visitor: Visitor, upstream: ScriptedServer) -> None:
    upstream.script = lambda request: (Say(text=BIDI[0]), Wait(gate=Gate()))
    tab = visitor.open()
    tab.say(BIDI[1])
    tab.until("() => document.querySelector('[data-role=assistant] .tail')?.textContent.includes('closed')")
    tab.say(BIDI[2])
    tab.expect_queue(BIDI[2])
    places = ("#title", "#conversations .name", "#messages article", "#queue .item-text", "#message-text")
    for place in places:
        isolation = tab.page.locator(place).first.evaluate("element => getComputedStyle(element).unicodeBidi")
        assert isolation in {"isolate", "plaintext", "isolate-override"}, place
    tab.stop.click()


def test_an_intruder_would_be_noticed(visitor: Visitor, upstream: ScriptedServer) -> None:
    upstream.script = lambda request: (Say(text="ok"),)
    tab = visitor.open()
    tab.ask("go")
    tab.answer.evaluate(
        "(element, html) => { element.innerHTML = html; }",
        f'<img src="data:," onerror="window.hacked=1"><a id="title" href="javascript:x">y</a>{HTMX[0]}',
    )
    found = tab.page.evaluate(INTRUDERS)
    assert len(found) >= 5
    tab.page.evaluate("() => fetch('http://evil.example/').catch(() => null)")
    assert any("Content Security Policy" in fault for fault in visitor.faults)
    visitor.faults.clear()
