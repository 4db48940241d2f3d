"""Files beside a message: the ways in, what is seen of them, what goes wrong, and what becomes of them when they go."""

from __future__ import annotations

import json
import os
import re
import secrets
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Route, expect

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import CallTool, Gate, Say, ScriptedRequest, Step, Wait
from tests.browser.attaching import NUDGE, attached, chips, drop, expect_ready, file, paste, pick, picture
from tests.browser.conftest import Arrive
from tests.browser.test_accessibility import PHONE, TARGET_PX
from tests.browser.test_composer import frozen
from tests.browser.visitor import Tab, Visitor
from tests.server import ROOT, ServerProcess

# More than the buffers of a connection on this machine hold.
LARGE_BYTES = 20 << 20
# A kernel's start on a busy machine, and pandas.
RUN_TIMEOUT_MS = 90_000
# A line of text with its margins, on a page for a mouse.
TALLEST_FILE_PX = 60


@pytest.fixture
def tab(visitor: Visitor, upstream: ScriptedServer) -> Tab:
    """A tab whose messages are answered at once."""
    upstream.script = lambda request: (Say(text="ok"),)
    return visitor.open()


@pytest.fixture
def large(tmp_path: Path) -> Iterator[Path]:
    """A file that takes a while."""
    path = tmp_path / "large.bin"
    path.write_bytes(bytes(LARGE_BYTES + secrets.randbelow(1 << 20)))
    yield path
    forget(path)


def forget(path: Path) -> None:
    """Remove what the servers have kept of a file, which is known by its size: it would be too much for each run."""
    size_bytes = path.stat().st_size
    for kept in [*(ROOT / "var" / "artifacts").glob("*/*/*"), *(ROOT / "var" / "work").glob("*/*")]:
        with suppress(FileNotFoundError):
            if kept.is_file() and kept.stat().st_size == size_bytes:
                kept.unlink()


def path_of(tab: Tab, name: str) -> str:
    """Where a file of a message lies."""
    link = tab.articles("user").locator(".attached a").filter(has_text=name)
    return urlsplit(link.get_attribute("href") or "").path


# The ways in


def test_a_picked_file_goes_with_its_message_and_stays_with_it_in_every_tab(
    visitor: Visitor, tab: Tab, upstream: ScriptedServer
) -> None:
    pick(tab, [file("sales.csv", b"month,amount\n1,7\n")])
    expect_ready(tab, "sales.csv")
    tab.ask("What is in it?")
    expect(chips(tab)).to_have_count(0)
    second = visitor.open(tab.conversation)
    tab.load()
    for each in (tab, second):
        each.expect_texts("user", "What is in it?")
        assert attached(each) == ["sales.csv"]
        expect(chips(each)).to_have_count(0)
    assert visitor.person.fetch(path_of(tab, "sales.csv")) == b"month,amount\n1,7\n"
    assert "sales.csv (17 bytes, text/csv)" in upstream.exchanges[0].request.last_user_text


def test_many_files_are_dropped_at_once_and_one_of_them_is_taken_out(visitor: Visitor, tab: Tab) -> None:
    names = [f"{number}.csv" for number in range(8)]
    drop(tab, *(file(name) for name in names))
    expect(chips(tab, "ready")).to_have_count(8)
    chips(tab).filter(has_text="3.csv").locator("[data-action=detach]").click()
    tab.ask("Compare these.")
    assert sorted(attached(tab)) == [name for name in names if name != "3.csv"]


def test_a_pasted_picture_is_shown_and_the_next_one_gets_another_name(tab: Tab) -> None:
    paste(tab, file("image.png", picture(), "image/png"))
    expect_ready(tab, "image.png")
    paste(tab, file("image.png", picture(colour=b"\xff\0\0"), "image/png"))
    expect_ready(tab, "image.png", "image-2.png")
    tab.until("() => [...document.querySelectorAll('#attachments img')].every((image) => image.naturalWidth === 8)")
    tab.ask("Which is red?")
    tab.until(
        "() => [...document.querySelectorAll('.attached img')].filter((image) => image.naturalWidth).length === 2"
    )


def test_a_picture_in_name_alone_is_shown_as_a_file(tab: Tab) -> None:
    paste(tab, file("fake.png", b"<script>alert(1)</script>", "image/png"))
    expect_ready(tab, "fake.png")
    expect(chips(tab).locator("img")).to_be_hidden()
    expect(chips(tab).locator("svg").first).to_be_visible()


def test_pasted_text_is_text_although_a_picture_of_it_lies_beside(tab: Tab) -> None:
    paste(tab, file("image.png", picture(), "image/png"), text="1\t2")
    expect(chips(tab)).to_have_count(0)


# What is seen on the way


def test_the_progress_is_seen_and_nothing_goes_before_its_file(tab: Tab, server: ServerProcess, large: Path) -> None:
    with frozen(server):
        pick(tab, large)
        tab.until("() => { const { value } = document.querySelector('#attachments progress'); return value > 0; }")
        assert float(chips(tab, "uploading").locator("progress").get_attribute("value") or 100) < 100
        tab.say("Too early")
        expect(tab.page.locator(NUDGE)).to_have_text("A file is still being uploaded.")
        assert tab.composer.input_value() == "Too early"
    expect_ready(tab, "large.bin")
    expect(chips(tab).locator("progress")).to_be_hidden()
    tab.ask("Now")
    assert attached(tab) == ["large.bin"]


def test_files_without_words_say_what_is_missing(tab: Tab, upstream: ScriptedServer) -> None:
    gate = Gate()
    upstream.script = lambda request: (Wait(gate=gate), Say(text="ok"))
    pick(tab, [file("sales.csv")])
    expect_ready(tab, "sales.csv")
    tab.page.locator("#send").click()
    expect(tab.page.locator(NUDGE)).to_have_text("Write what the files are for.")
    tab.composer.fill("x")
    tab.composer.fill("")
    expect(tab.page.locator(NUDGE)).to_have_text("")
    tab.composer.press("Enter")
    expect(tab.page.locator(NUDGE)).to_have_text("Write what the files are for.")
    tab.say("This is last year.")
    tab.expect_phase("generating")
    # Also while the answer comes.
    pick(tab, [file("more.csv")])
    expect_ready(tab, "more.csv")
    tab.page.locator("#send").click()
    expect(tab.page.locator(NUDGE)).to_have_text("Write what the files are for.")
    gate.open()
    tab.expect_phase("idle")
    tab.expect_texts("user", "This is last year.")
    expect_ready(tab, "more.csv")


def test_a_file_comes_while_an_answer_does_and_waits_with_its_message(
    visitor: Visitor, tab: Tab, upstream: ScriptedServer
) -> None:
    gate = Gate()
    upstream.script = lambda request: (Wait(gate=gate), Say(text="ok"))
    tab.say("first")
    tab.expect_phase("generating")
    pick(tab, [file("sales.csv")])
    expect_ready(tab, "sales.csv")
    tab.say("second")
    tab.expect_queue("second")
    expect(tab.page.locator("#queue .file-name")).to_have_text("sales.csv")
    for key, text in (("Escape", "second"), ("Enter", "second, changed")):
        tab.control("second", "edit").click()
        editor = tab.page.locator("form.editor textarea")
        editor.fill("second, changed")
        editor.press(key)
        tab.expect_queue(text)
        expect(tab.page.locator("#queue .file-name")).to_have_text("sales.csv")
    second = visitor.open(tab.conversation)
    expect(second.page.locator("#queue .file-name")).to_have_text("sales.csv")
    gate.open()
    tab.expect_phase("idle")
    tab.expect_texts("user", "first", "second, changed")
    assert attached(tab) == ["sales.csv"]


# What is kept, and what goes


def test_what_was_uploaded_is_still_there_after_a_reload_and_in_another_tab(visitor: Visitor, tab: Tab) -> None:
    second = visitor.open(tab.conversation)
    tab.look()
    tab.composer.fill("A draft")
    pick(tab, [file("a.csv"), file("b.csv")])
    expect(chips(tab, "ready")).to_have_count(2)
    expect(chips(second, "ready")).to_have_count(2)
    tab.load()
    expect(chips(tab, "ready")).to_have_count(2)
    assert tab.composer.input_value() == "A draft"
    tab.composer.press("Enter")
    tab.expect_count(tab.articles("assistant"), 1)
    assert attached(tab) == ["a.csv", "b.csv"]
    for each in (tab, second):
        expect(chips(each)).to_have_count(0)


def test_files_keep_the_order_in_which_they_were_chosen_whichever_is_uploaded_first(visitor: Visitor, tab: Tab) -> None:
    second = visitor.open(tab.conversation)
    tab.look()
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    tab.page.route("**/files/", hold, times=1)
    pick(tab, [file("large.csv"), file("small.csv")])
    expect(chips(tab, "ready")).to_have_count(1)
    held[0].continue_()
    for each in (tab, second):
        expect_ready(each, "large.csv", "small.csv")
    tab.load()
    expect_ready(tab, "large.csv", "small.csv")
    tab.ask("Compare")
    assert attached(tab) == ["large.csv", "small.csv"]


def test_a_sent_picture_says_its_name_and_files_beside_it_are_no_taller_than_their_own(tab: Tab) -> None:
    pick(tab, [file("photo.png", picture(200, 160), "image/png"), file("data.csv")])
    expect(chips(tab, "ready")).to_have_count(2)
    tab.ask("Compare")
    assert attached(tab) == ["photo.png", "data.csv"]
    shown = tab.articles("user").locator(".attached li")
    expect(shown.first.locator(".file-name")).to_be_visible()
    tab.until("() => document.querySelector('.attached img').naturalHeight === 160")
    picture_px, file_px = (tab.page.evaluate("item => item.offsetHeight", each) for each in shown.element_handles())
    assert file_px < TALLEST_FILE_PX
    assert picture_px > 160


def test_a_file_that_is_removed_is_gone_from_the_server_too(visitor: Visitor, tab: Tab) -> None:
    pick(tab, [file("image.png", picture(), "image/png")])
    expect_ready(tab, "image.png")
    path = urlsplit(chips(tab).locator("img").get_attribute("src") or "").path
    assert visitor.person.fetch(path) == picture()
    with tab.page.expect_response(lambda response: response.request.method == "DELETE") as answer:
        chips(tab).locator("[data-action=detach]").click()
    assert answer.value.status == 204
    expect(chips(tab)).to_have_count(0)
    assert visitor.person.get(path)[0] == 404
    assert tab.is_focused
    tab.load()
    expect(chips(tab)).to_have_count(0)


def test_an_upload_that_breaks_off_says_so_and_can_be_repeated(
    visitor: Visitor, tab: Tab, server: ServerProcess, large: Path
) -> None:
    visitor.may_lose_server = True
    tab.composer.fill("What is in it?")
    os.kill(server.pid, signal.SIGSTOP)
    try:
        pick(tab, large)
        tab.until("() => document.querySelector('#attachments progress').value > 0")
    finally:
        server.kill()
    failed = chips(tab, "failed")
    try:
        expect(failed.locator(".why")).to_have_text("The server can’t be reached.")
    finally:
        server.start()
    tab.page.evaluate("() => document.getElementById('reconnect').click()")
    tab.expect_connection("online")
    tab.composer.press("Enter")
    expect(tab.page.locator(NUDGE)).to_have_text("A file could not be uploaded. Try again, or remove it.")
    failed.locator("[data-action=upload-again]").click()
    expect_ready(tab, "large.bin")
    tab.composer.press("Enter")
    tab.expect_count(tab.articles("assistant"), 1)
    tab.expect_texts("user", "What is in it?")
    assert attached(tab) == ["large.bin"]


def test_on_a_phone_files_fit_and_can_be_hit(arrive: Arrive, server: ServerProcess, upstream: ScriptedServer) -> None:
    upstream.script = lambda request: (Say(text="ok"),)
    tab = arrive(server, **PHONE).open()
    pick(tab, [file(f"{'a long name ' * 8}{number}.csv") for number in range(3)])
    expect(chips(tab, "ready")).to_have_count(3)
    for button in tab.page.locator("#attachments [data-action=detach], #attach").all():
        box = button.bounding_box()
        assert box is not None
        assert min(box["width"], box["height"]) >= TARGET_PX
    tab.ask("Compare")
    assert len(attached(tab)) == 3
    assert tab.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")


# With a tool


COUNT_ROWS = """\
import pandas as pd

sales = pd.read_csv("sales.csv")
print("rows:", len(sales), "sum:", sales["amount"].sum())
"""


@pytest.fixture
def sales(tmp_path: Path) -> Iterator[Path]:
    """Twenty megabytes of sales."""
    path = tmp_path / "sales.csv"
    line = "2025-01-{day:02},a customer with a name,{amount}\n"
    with path.open("w") as written:
        written.write("day,customer,amount\n")
        for number in range(600_000):
            written.write(line.format(day=number % 28 + 1, amount=number % 100))
    assert path.stat().st_size > LARGE_BYTES
    yield path
    forget(path)


def test_a_tool_reads_twenty_megabytes_of_sales(visitor: Visitor, upstream: ScriptedServer, sales: Path) -> None:
    def script(request: ScriptedRequest) -> Sequence[Step]:
        if not request.tool_results:
            return Say(text="I count."), CallTool(name="execute_python", arguments=json.dumps({"code": COUNT_ROWS}))
        return (Say(text=f"It says: {request.tool_results[-1].content}"),)

    upstream.script = script
    tab = visitor.open()
    pick(tab, sales)
    expect_ready(tab, "sales.csv")
    tab.say("How many sales are these?")
    tab.expect_phase("awaiting_approval")
    size = sales.stat().st_size
    assert f"sales.csv ({size:,} bytes, text/csv)" in upstream.exchanges[0].request.last_user_text
    tab.page.locator("button[data-action=approve]").click()
    expect(tab.page.locator("[data-call-id]")).to_have_attribute("data-call-state", "succeeded", timeout=RUN_TIMEOUT_MS)
    tab.expect_phase("idle")
    expect(tab.answer).to_have_text(re.compile(r"rows: 600000 sum: 29700000\b"))
