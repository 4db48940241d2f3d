"""A page that is drawn afresh is the page that was built by fragments.

A failure shows the first place where the two differ. It means that a fragment did something that the templates do
not, or that a view of the text in flight depends on how the text was cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest
from playwright.sync_api import expect

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import CallTool, FailStream, Gate, Refuse, Say, ScriptedRequest, Step, Think, Wait
from tests.browser.conftest import Arrive, serving
from tests.browser.visitor import FAR_MS, Tab, Visitor
from tests.browser.writing import chunk, torn, written
from tests.render.test_markdown_stream import CORPUS
from tests.server import ServerProcess

# Left out: class names that htmx sets while it swaps, the order of attributes, and blanks between elements outside
# of texts, which are the templates' own.
PICTURE = """selector => {
  const root = document.querySelector(selector).cloneNode(true);
  for (const element of root.querySelectorAll("*")) {
    element.classList.remove("htmx-added", "htmx-settling", "htmx-swapping", "htmx-request");
    if (element.getAttribute("class") === "") element.removeAttribute("class");
    const names = [...element.attributes].map(({ name, value }) => [name, value]).sort();
    for (const [name] of names) element.removeAttribute(name);
    for (const [name, value] of names) element.setAttribute(name, value);
  }
  root.normalize();
  const walker = document.createTreeWalker(root, NodeFilter.SHOW_TEXT);
  const blank = [];
  while (walker.nextNode()) {
    if (!walker.currentNode.data.trim() && !walker.currentNode.parentElement.closest("pre, .content")) {
      blank.push(walker.currentNode);
    }
  }
  for (const node of blank) node.remove();
  return root.innerHTML.replaceAll("><", ">\\n<");
}"""
LOOK_AGAIN_MS = 200
DIFFERENT = "the page that lived through it (left) is not the page drawn afresh (right)"

EVERYTHING = """# All that *may* come

A paragraph with **bold**, `code`, [a link](http://a.example "t") and $x^2$,
on two lines.

- one
- two
  1. nested `x`
  2. more

> quoted
> ```python
> def f(x): return "<b>"
> ```

| a | b |
|---|--:|
| 1 | `2` |

$$
\\frac{a}{b}
$$

```js
let a = `x`;
"""


def picture(tab: Tab, selector: str = "#messages") -> list[str]:
    """The page's HTML in a form that can be compared, by elements."""
    text: str = tab.page.evaluate(PICTURE, selector)
    return text.split("\n")


def expect_the_same(lived: Tab, fresh: Tab, *selectors: str) -> None:
    """Wait until both tabs show the same, and say where they differ when they don't."""
    for selector in selectors or ("#messages",):
        # Each hears of a change in its own time.
        for _ in range(FAR_MS // LOOK_AGAIN_MS):
            left, right = picture(lived, selector), picture(fresh, selector)
            if left == right:
                break
            lived.page.wait_for_timeout(LOOK_AGAIN_MS)
        assert left == right, f"{selector}: {DIFFERENT}"


@pytest.fixture(scope="module")
def fine_server(model: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A site that sends a fragment for each piece of text, and shows all messages at once."""
    yield from serving(
        ServerProcess(
            tmp_path_factory.mktemp("fine"),
            upstream=model.base_url,
            AGENT_HTML_FRAMES_PER_SECOND_MAX="100000",
            AGENT_PAGE_MESSAGES="500",
            AGENT_QUEUE_MAX_MESSAGES="100",
            AGENT_BACKOFF_FIRST_S="0.2",
        )
    )


@pytest.fixture
def reader(arrive: Arrive, fine_server: ServerProcess, upstream: ScriptedServer) -> Visitor:
    """Somebody who sees each fragment."""
    return arrive(fine_server)


def test_after_texts_cut_at_every_character_the_fresh_page_is_the_same(
    reader: Visitor, upstream: ScriptedServer
) -> None:
    texts = [text for text in CORPUS if len(text) < 400]
    upstream.script = lambda request: tuple(written(texts[int(request.last_user_text)]))
    tab = reader.open()
    frames: list[str] = []
    tab.page.on("websocket", lambda socket: socket.on("framereceived", lambda data: frames.append(str(data))))
    tab.load()
    for number in range(len(texts)):
        tab.say(str(number))
    tab.expect_count(tab.articles("assistant", "complete"), len(texts))
    tab.expect_phase("idle")
    expect_the_same(tab, reader.open(tab.conversation))
    characters = sum(map(len, texts))
    drawn = sum(frame.count('-tail"') + frame.count("-live-") + frame.count("-grown-") > 0 for frame in frames)
    assert drawn > characters / 4, "too few fragments for a test of where they are cut"


def test_after_texts_cut_into_random_pieces_the_fresh_page_is_the_same(
    reader: Visitor, upstream: ScriptedServer
) -> None:
    texts = [*CORPUS, EVERYTHING]
    upstream.script = lambda request: tuple(
        written(torn(texts[int(request.last_user_text)], seed=int(request.last_user_text)))
    )
    tab = reader.open()
    for number in range(len(texts)):
        tab.say(str(number))
    tab.expect_count(tab.articles("assistant", "complete"), len(texts))
    tab.expect_phase("idle")
    expect_the_same(tab, reader.open(tab.conversation))


def test_in_the_middle_of_a_stream_the_fresh_page_is_the_same(reader: Visitor, upstream: ScriptedServer) -> None:
    cuts = range(0, len(EVERYTHING), 23)
    gates = [Gate() for _ in cuts]

    def script(request: ScriptedRequest) -> Sequence[Step]:
        steps: list[Step] = [Think(text="Let me *think*… ")]
        for start, gate in zip(cuts, gates, strict=True):
            steps += [*written(EVERYTHING[start : start + 23]), Wait(gate=gate)]
        return steps

    upstream.script = script
    tab = reader.open()
    tab.say("Everything, please")
    for number, gate in enumerate(gates):
        if number % 3 == 1:
            # One tab that reloads sees each point as a newcomer, and then lives through the next piece itself.
            fresh = reader.open(tab.conversation)
            expect_the_same(tab, fresh, "#messages", "#status", "#controls")
            gate.open()
            expect_the_same(tab, fresh)
            fresh.page.close()
        gate.open()
    tab.expect_phase("idle")
    expect_the_same(tab, reader.open(tab.conversation))


def test_while_the_model_writes_a_call_every_page_says_so(reader: Visitor, upstream: ScriptedServer) -> None:
    endless = CallTool(name="run_shell", arguments='{"command": "' + "x" * 8_000, delay_s=0.2)
    upstream.script = lambda request: (Think(text="Hm. "), Say(text="Let me see."), endless)
    tab = reader.open()
    tab.say("Do something long")
    fresh = reader.open(tab.conversation)
    for each in (tab, fresh):
        expect(each.page.locator(".calling")).to_have_text("Writing a call of run_shell…")
    expect_the_same(tab, fresh)
    tab.stop.click()
    tab.expect_phase("idle")
    for each in (tab, fresh):
        expect(each.page.locator(".calling")).to_have_count(0)
        expect(each.page.locator(".after-thinking")).to_contain_text("Thought for")
    expect_the_same(tab, reader.open(tab.conversation))
    expect_the_same(tab, fresh)


def test_after_stop_failure_retry_and_changes_of_the_queue_the_fresh_page_is_the_same(
    reader: Visitor, upstream: ScriptedServer
) -> None:
    state = ("#messages", "#queue", "#status", "#controls", "#title", "#older")
    gate = Gate()

    def script(request: ScriptedRequest) -> Sequence[Step]:
        match request.last_user_text:
            case "hold":
                return chunk("Held in the **middle of"), Wait(gate=gate)
            case "fail":
                return chunk("Broken `off"), FailStream(message="The <b>model</b> broke down.")
            case "refuse":
                return (Refuse(status=400, message="No such <model>."),)
            case _:
                return (Say(text="Done.\n\n- [x] it"),)

    upstream.script = script
    tab = reader.open()
    witness = reader.open(tab.conversation)

    def same_everywhere() -> None:
        fresh = reader.open(tab.conversation)
        for one in (tab, witness):
            expect_the_same(one, fresh, *state)
        fresh.page.close()
        tab.look()

    tab.look()
    tab.say("hold")
    tab.until("() => document.querySelector('article:last-child .tail')?.textContent.includes('middle')")
    for text in ("one", "two", "three"):
        tab.say(text)
    tab.expect_queue("one", "two", "three")
    same_everywhere()
    tab.control("three", "up").click()
    tab.expect_queue("one", "three", "two")
    tab.control("one", "remove").click()
    tab.expect_queue("three", "two")
    same_everywhere()
    tab.stop.click()
    tab.expect_phase("idle")
    same_everywhere()
    tab.page.locator("#queue [data-action=clear]").click()
    tab.expect_queue()
    same_everywhere()
    tab.say("fail")
    tab.expect_count(tab.articles("assistant", "failed"), 1)
    tab.say("refuse")
    tab.expect_count(tab.articles("assistant", "failed"), 2)
    same_everywhere()
    upstream.script = lambda request: (Say(text="Better."),)
    tab.articles("assistant", "failed").last.get_by_role("button", name="Retry").click()
    tab.expect_count(tab.articles("assistant", "complete"), 1)
    tab.expect_phase("idle")
    same_everywhere()


def test_a_stop_while_a_call_waits_is_marked_and_can_be_retried_in_every_tab(
    reader: Visitor, upstream: ScriptedServer
) -> None:
    upstream.script = lambda request: (
        Say(text="Let me see."),
        CallTool(name="run_shell", arguments='{"command": "ls"}'),
    )
    tab = reader.open()
    witness = reader.open(tab.conversation)
    tab.look()

    def stop_it() -> None:
        tab.expect_phase("awaiting_approval")
        tab.stop.click()
        tab.expect_phase("idle")

    def expect_marks(count: int) -> None:
        fresh = reader.open(tab.conversation)
        for each in (tab, witness, fresh):
            expect(each.page.locator(".ending:visible")).to_have_count(count)
            expect(each.page.get_by_role("button", name="Retry")).to_have_count(count)
            expect_the_same(each, fresh, "#messages", "#status")
        fresh.page.close()
        tab.look()

    tab.say("What is here?")
    stop_it()
    expect(tab.articles().last.locator(".ending")).to_have_text("Response interruptedRetry")
    expect_marks(1)
    tab.page.get_by_role("button", name="Retry").click()
    tab.expect_phase("awaiting_approval")
    expect_marks(0)
    stop_it()
    expect_marks(1)
    upstream.script = lambda request: (Say(text="Nothing."),)
    tab.ask("Then say it without looking")
    expect_marks(0)
