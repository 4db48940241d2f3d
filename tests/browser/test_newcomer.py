"""What a newcomer sees in the first minute, with the model that is there without any key."""

from __future__ import annotations

import re
from collections.abc import Callable

from playwright.sync_api import expect

from tests.browser.visitor import Tab, Visitor
from tests.server import PASSWORD, ServerProcess

STOP_AT_CODE = """() => {
  const observer = new MutationObserver(() => {
    if (!document.querySelector("#messages figure")) return;
    observer.disconnect();
    const key = new KeyboardEvent("keydown", { key: "Escape", bubbles: true, cancelable: true });
    document.activeElement.dispatchEvent(key);
  });
  observer.observe(document.getElementById("messages"), { childList: true, subtree: true });
}"""


def test_a_newcomer_signs_up_logs_out_and_logs_in_again(
    arrive: Callable[..., Visitor], demo_server: ServerProcess
) -> None:
    page = arrive(demo_server, storage_state=None).context.new_page()
    page.context.clear_cookies()
    page.goto("/")
    expect(page).to_have_url(f"{demo_server.base}/accounts/login/?next=/")
    page.get_by_role("link", name="Sign up").click()
    page.get_by_label("Username").fill("a newcomer".replace(" ", "-"))
    page.get_by_label("Password", exact=True).fill(PASSWORD)
    page.get_by_label("Password confirmation").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    expect(page.locator("#connection")).to_have_attribute("data-state", "online")
    expect(page.locator(".demo")).to_contain_text("OPENAI_API_KEY")
    page.locator(".account").click()
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", name="Log in")).to_be_visible()
    page.get_by_label("Username").fill("a-newcomer")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    expect(page.locator("#conversation")).to_be_visible()


def test_the_first_minute(arrive: Callable[..., Visitor], demo_server: ServerProcess) -> None:
    visitor = arrive(demo_server)
    tab = visitor.open()
    # Both are there before it begins: on a busy machine a page takes half as long to open as the story to end.
    second = visitor.open(tab.conversation)
    tab.look()
    tab.say("Tell me a long story, please")
    tab.expect_phase("generating")
    expect(tab.status).to_have_text("AI is responding…")
    expect(tab.articles("assistant", "streaming").locator(".settled > *").first).to_be_visible()

    tab.say("And a short one afterwards")
    tab.say("A short third")
    tab.expect_queue("And a short one afterwards", "A short third")
    expect(tab.page.locator("#queue .count")).to_have_text("2")
    expect(tab.status).to_have_text("AI is responding… · 2 queued")
    tab.control("And a short one", "edit").click()
    editor = tab.page.get_by_role("textbox", name="Edit queued message")
    editor.fill("And a brief one, edited")
    editor.press("Enter")
    tab.expect_queue("And a brief one, edited", "A short third")

    second.expect_queue("And a brief one, edited", "A short third")
    before = len(second.answer.inner_text())
    second.until("length => document.querySelector('article:last-child .content').innerText.length > length", before)

    tab.stop.click()
    for one in (tab, second):
        one.expect_phase("idle")
        expect(one.articles("assistant", "interrupted")).to_contain_text("Response interrupted")
        expect(one.articles("assistant").get_by_role("button", name="Retry")).to_be_visible()
        one.expect_queue("And a brief one, edited", "A short third")
        expect(one.page.locator("#queue .why")).to_have_text("Held because you pressed Stop.")
    kept = tab.answer.inner_text()
    assert kept
    assert second.answer.inner_text() == kept
    tab.load()
    tab.look()
    tab.expect_queue("And a brief one, edited", "A short third")
    assert tab.answer.inner_text() == kept

    tab.page.get_by_role("button", name="Resume").click()
    for one in (tab, second):
        one.expect_texts("user", "Tell me a long story, please", "And a brief one, edited", "A short third")
        one.expect_count(one.articles("assistant", "complete"), 2)
        one.expect_phase("idle")
        one.expect_queue()


def test_an_interrupted_answer_is_given_again(arrive: Callable[..., Visitor], demo_server: ServerProcess) -> None:
    tab = arrive(demo_server).open()
    # The page presses Escape by itself: from here it might come when the answer has ended.
    tab.page.evaluate(STOP_AT_CODE)
    tab.say("Show me some code")
    expect(tab.articles("assistant", "interrupted")).to_have_count(1)
    tab.page.get_by_role("button", name="Retry").click()
    expect(tab.articles("assistant", "complete")).to_have_count(1)
    expect(tab.articles("user")).to_have_count(1)


def test_the_list_names_renames_deletes_with_undo_and_finds(
    arrive: Callable[..., Visitor], demo_server: ServerProcess
) -> None:
    visitor = arrive(demo_server)
    tab = visitor.open()
    second = visitor.open(tab.conversation)
    entry = f'#conversations [id="c-{tab.conversation}"]'
    tab.ask("A short question about albatrosses")
    for one in (tab, second):
        expect(one.page.locator(f"{entry} .name")).to_contain_text("albatrosses")
        expect(one.page.locator("#title")).to_contain_text("albatrosses")

    tab.look()
    tab.page.locator(entry).get_by_role("button").click()
    tab.page.locator("#entry-menu").get_by_role("button", name="Rename").click()
    tab.page.locator("#rename-dialog input[name=title]").fill("Sea birds")
    tab.page.locator("#rename-dialog").get_by_role("button", name="Save").click()
    for one in (tab, second):
        expect(one.page.locator(f"{entry} .name")).to_have_text("Sea birds")
        expect(one.page.locator("#title")).to_have_text("Sea birds")
        expect(one.page).to_have_title("Sea birds · Agentsite")

    other = visitor.open()
    for words in ("sea bi", "ALBATROSS"):
        other.page.locator("#search").fill(words)
        expect(other.page.locator("#found .entry")).to_have_count(1)
        expect(other.page.locator("#found .name")).to_have_text("Sea birds")
    other.page.locator("#search").fill("nothing of the kind")
    expect(other.page.locator("#found")).to_contain_text("Nothing found")
    other.page.locator("#search").press("Escape")
    expect(other.page.locator("#found")).to_be_hidden()

    delete_here(tab)
    expect(tab.page.locator("#notices")).to_contain_text("“Sea birds” was deleted.")
    tab.page.locator("#notices").get_by_role("button", name="Undo").click()
    expect(tab.page).to_have_url(f"{demo_server.base}{tab.path}")
    expect(tab.articles()).to_have_count(2)
    expect(other.page.locator(entry)).to_have_count(1)
    # Undo is offered for some seconds only, so that the other tab is looked at when it is not wanted.
    delete_here(tab)
    expect(other.page.locator(entry)).to_have_count(0)


def delete_here(tab: Tab) -> None:
    """Delete the conversation that is open."""
    tab.look()
    tab.page.get_by_role("button", name="Options of this conversation").click()
    tab.page.locator("#conversation-menu").get_by_role("button", name="Delete").click()


def test_all_of_a_conversation_is_printed_and_nothing_to_press(
    arrive: Callable[..., Visitor], demo_server: ServerProcess
) -> None:
    tab = arrive(demo_server, color_scheme="dark").open()
    for _ in range(3):
        tab.ask("Show me some code")
    sheets = re.findall(rb"/Type\s*/Page\b", tab.page.pdf())
    assert len(sheets) > 1
    tab.page.emulate_media(media="print")
    for shown in ("#title", "article[data-role=assistant] .content", "article .code"):
        expect(tab.page.locator(shown).first).to_be_visible()
    for hidden in ("#sidebar", ".dock", ".banners", "button"):
        expect(tab.page.locator(f"{hidden}:visible")).to_have_count(0)
    background, color = tab.page.locator("article .code").first.evaluate(
        "element => [getComputedStyle(element).backgroundColor, getComputedStyle(element).color]"
    )
    assert _brightness(background) > _brightness(color)


def _brightness(color: str) -> int:
    return sum(int(part) for part in re.findall(r"\d+", color)[:3])
