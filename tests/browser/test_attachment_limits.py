"""How large, how many and of which kind the files beside a message may be, and what is said of the others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import Say
from chat.web.frames import ATTACHMENTS_MAX
from tests.browser.attaching import NUDGE, attached, chips, drop, expect_ready, file
from tests.browser.conftest import Arrive, serving
from tests.browser.visitor import Visitor
from tests.server import ServerProcess


@pytest.fixture(scope="module")
def narrow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A site that takes little."""
    yield from serving(
        ServerProcess(
            tmp_path_factory.mktemp("narrow"),
            AGENT_UPLOAD_MAX_MIB="1",
            AGENT_UPLOAD_TYPES="csv,png",
            AGENT_SANDBOX_FOLDER_MAX_MIB="1",
        )
    )


def test_what_is_not_taken_is_refused_in_words_before_it_is_sent(arrive: Arrive, narrow_server: ServerProcess) -> None:
    tab = arrive(narrow_server).open()
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.method))
    drop(
        tab,
        file("big.csv", bytes((1 << 20) + 1)),
        file("program.exe"),
        file("empty.csv", b""),
    )
    expect(chips(tab, "failed").locator(".why")).to_have_text(
        [
            "1.0 MB is too large: a file has at most 1.0 MB.",
            "This site takes only .csv, .png.",
            "This file is empty.",
        ]
    )
    expect(tab.page.locator("#spoken")).to_contain_text("This file is empty.")
    expect(tab.page.locator("[data-action=upload-again]:visible")).to_have_count(0)
    assert tab.page.locator("#upload input[type=file]").get_attribute("accept") == ".csv,.png"
    assert "POST" not in asked
    tab.say("hello")
    expect(tab.page.locator(NUDGE)).to_contain_text("remove it")
    for name in ("big.csv", "program.exe", "empty.csv"):
        chips(tab).filter(has_text=name).locator("[data-action=detach]").click()
    tab.composer.press("Enter")
    tab.expect_count(tab.articles("assistant"), 1)
    tab.expect_phase("idle")


def test_what_the_conversation_has_no_room_for_is_refused_in_words(
    arrive: Arrive, narrow_server: ServerProcess
) -> None:
    visitor = arrive(narrow_server)
    tab = visitor.open()
    drop(tab, file("one.csv", bytes(900 << 10)))
    expect_ready(tab, "one.csv")
    drop(tab, file("two.csv", bytes(900 << 10)))
    expect(chips(tab, "failed").locator(".why")).to_contain_text("There is no room for two.csv in this conversation")
    # What the browser says of every refusal.
    assert [fault for fault in visitor.faults if "413" not in fault] == []
    visitor.faults.clear()


def test_a_message_has_only_so_many_files(visitor: Visitor, upstream: ScriptedServer) -> None:
    upstream.script = lambda request: (Say(text="ok"),)
    tab = visitor.open()
    drop(tab, *(file(f"{number}.csv") for number in range(ATTACHMENTS_MAX + 3)))
    expect(tab.page.locator("#notices")).to_contain_text(f"A message has at most {ATTACHMENTS_MAX} files.")
    expect(chips(tab, "ready")).to_have_count(ATTACHMENTS_MAX)
    tab.ask("All of these")
    assert len(attached(tab)) == ATTACHMENTS_MAX
