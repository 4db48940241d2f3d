"""The documents say what is so."""

from __future__ import annotations

import re
import types
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from django.urls import get_resolver
from django.urls.resolvers import URLPattern, URLResolver

from chat import wiring
from chat.bus import Bus
from chat.codec import STORED_NAMES
from chat.core.announcement import Announcement
from chat.core.ids import ConversationId, MessageId
from chat.core.messages import Message, MessageState, Role, Telemetry
from chat.core.state import Conversation
from chat.tools import registry
from chat.web import consumers, frames
from tests.server import ROOT

README = (ROOT / "README.md").read_text()


@pytest.mark.parametrize("frame_type", frames.TYPES)
def test_every_frame_that_is_understood_is_in_the_readme(frame_type: str) -> None:
    assert f"`{frame_type}`" in README


def test_every_close_code_is_in_the_readme() -> None:
    codes = {value for name, value in vars(consumers).items() if name.isupper() and isinstance(value, int)}
    missing = {code for code in codes - {consumers.INTERNAL_ERROR} if str(code) not in README}
    assert not missing


@pytest.mark.parametrize("place", re.findall(r"^\| `(chat/[^`]+)`", README, re.MULTILINE))
def test_every_place_that_the_readme_names_is_there(place: str) -> None:
    assert (ROOT / place).exists()


def test_every_picture_that_the_readme_shows_is_there() -> None:
    pictures = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    assert pictures
    assert not [picture for picture in pictures if not (ROOT / picture).is_file()]


def test_every_command_of_make_is_listed_by_its_help() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert phony
    assert {"run", "test", "check", "bench", "help"} <= set(phony[1].split())
    listed = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    assert set(phony[1].split()) == listed


@pytest.mark.parametrize("command", sorted(path.stem for path in (ROOT / "chat/management/commands").glob("[!_]*.py")))
def test_every_command_of_the_site_is_in_the_readme(command: str) -> None:
    assert re.search(rf"`python manage\.py {command}\b", README)


def test_the_program_that_verifies_exports_is_in_the_readme() -> None:
    assert "`python -m chat.verify_export" in README


def test_stored_names_are_announced_as_the_contract_names_them() -> None:
    names = {name for name, _ in STORED_NAMES.values()}
    assert {
        "user_message",
        "llm_response_started",
        "llm_response_completed",
        "llm_response_interrupted",
        "llm_response_failed",
    } <= names


def test_every_path_of_the_contract_has_a_page() -> None:
    paths = set(_paths(get_resolver().url_patterns))
    assert {
        "",
        "accounts/login/",
        "accounts/logout/",
        "accounts/signup/",
        "c/<uuid:conversation_id>/",
        "c/<uuid:conversation_id>/export.json",
        "c/<uuid:conversation_id>/export.md",
        "artifacts/<uuid:artifact_id>/",
        "healthz",
        "readyz",
    } <= paths


def _paths(patterns: list[URLPattern | URLResolver]) -> Iterator[str]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _paths(pattern.url_patterns)
        else:
            yield str(pattern.pattern)


async def test_the_tool_of_the_readme_works_as_it_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    text = re.search(r"<!-- tool: .*?```python\n(.*?)```", README, re.DOTALL)
    assert text
    monkeypatch.setattr(registry, "_tools", {})
    exec(compile(text[1], "README.md", "exec"), {"__name__": "tools"})
    dice = registry.all_tools()["roll_dice"]
    assert dice.description == "Roll dice and tell what they show."
    printed: list[str] = []
    told: list[tuple[float, str]] = []
    context = types.SimpleNamespace(output=printed.append, progress=lambda *how_far: told.append(how_far))
    assert await dice.function(context, **dice.parse('{"sides": 1, "count": 3}')) == "1, 1, 1"
    assert printed == ["rolling…\n"]
    assert told == [(0, "die 1 of 3"), (1 / 3, "die 2 of 3"), (2 / 3, "die 3 of 3")]


async def test_the_subscriber_of_the_readme_works_as_it_stands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = re.search(r"<!-- subscriber: .*?```python\n(.*?)```", README, re.DOTALL)
    assert text
    app = types.ModuleType("answers")
    app.__file__ = str(Path(__file__))
    monkeypatch.setitem(__import__("sys").modules, "answers", app)
    monkeypatch.setattr(wiring, "subscribers", [])
    exec(compile(text[1], "README.md", "exec"), app.__dict__)
    app.AnswersConfig("answers", app).ready()
    conversation_id = ConversationId(uuid4())
    bus = Bus(backlog_max=1, subscribers=wiring.subscribers)
    answer = Message(
        message_id=MessageId(uuid4()),
        position=2,
        role=Role.ASSISTANT,
        state=MessageState.COMPLETE,
        content="Hello",
        created_at_ms=0,
        ended_at_ms=5,
        telemetry=Telemetry(total_ms=5),
    )
    state = Conversation(conversation_id=conversation_id, title="A greeting")
    bus.announce(Announcement(user_id=1, seq=4, event_type="llm_response_completed", state=state, messages=(answer,)))
    assert capsys.readouterr().out == "A greeting 5 ms\n"


def test_every_test_that_the_security_page_names_is_there() -> None:
    page = (ROOT / ".github/docs/asvs.md").read_text()
    named = re.findall(r"`((?:\w+/)*test_\w+\.py)(?:::(\w+))?`", page)
    assert len(named) > 60
    for file, name in named:
        text = (ROOT / "tests" / file).read_text()
        assert not name or re.search(rf"(def|class) {name}\b", text), f"{file}::{name}"


def test_every_rule_of_the_security_page_says_what_holds_it_or_why_not() -> None:
    page = (ROOT / ".github/docs/asvs.md").read_text()
    rows = [line for line in page.splitlines() if re.match(r"\| \d", line)]
    assert len(rows) > 100
    for row in rows:
        _, rule, asked, held, _ = row.split("|")
        assert rule.strip()
        assert asked.strip()
        assert len(held.strip()) > 10, row
