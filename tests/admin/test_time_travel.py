"""What time travel shows at an event is what the user's page was at that event."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from django.contrib.auth import get_user_model
from django.test import Client

from chat import models
from tests.admin.staff import busy
from tests.store.kept import Kept, make_user

TURNS = 24
POINTS = 50
PARTS = ("messages", "queue", "status", "allowances", "title")
VOID = {"input", "br", "img", "link", "meta", "hr", "use", "path", "circle", "rect"}


class Parts(HTMLParser):
    """The elements with these ids, each with all that it holds, as they were sent."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=False)
        self._html = html
        self._lines = [0]
        for line in html.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))
        self._open: list[tuple[str, str, int]] = []
        self.found: dict[str, str] = {}
        self.feed(html)

    def _at(self) -> int:
        line, column = self.getpos()
        return self._lines[line - 1] + column

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self._open.append((tag, dict(attrs).get("id") or "", self._at()))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass

    def handle_endtag(self, tag: str) -> None:
        if tag in VOID:
            return
        while self._open:
            opened, name, start = self._open.pop()
            if name in PARTS:
                self.found[name] = self._html[start : self._at()]
            if opened == tag:
                break


def parts(response: object) -> dict[str, str]:
    """The parts of a page that follow from the conversation."""
    found = Parts(response.content.decode()).found  # type: ignore[attr-defined]
    assert set(found) == set(PARTS)
    return found


@pytest.fixture
def owner() -> Client:
    client = Client()
    client.force_login(get_user_model().objects.get(pk=make_user()))
    return client


def test_it_shows_what_the_users_page_was_at_fifty_events_of_a_long_conversation(boss: Client, owner: Client) -> None:
    kept = Kept(int(owner.session["_auth_user_id"]))
    pages: dict[int, dict[str, str]] = {}
    for number, _ in enumerate(busy(kept, TURNS)):
        if number % 3 == 0:
            pages[kept.row.seq] = parts(owner.get(f"/c/{kept.conversation_id}/"))
    # Long enough that older messages lie behind the button.
    assert kept.row.message_count > 60
    assert len(pages) >= POINTS
    for seq, page in pages.items():
        travelled = boss.get(f"/admin/chat/conversation/{kept.conversation_id}/at/", {"at": seq})
        assert parts(travelled) == page, f"event {seq}"
    assert len({page["messages"] for page in pages.values()}) > POINTS / 2


def test_an_event_that_is_none_of_the_log_is_the_nearest(boss: Client, owner: Client) -> None:
    kept = Kept(int(owner.session["_auth_user_id"]))
    kept.send("a")
    place = f"/admin/chat/conversation/{kept.conversation_id}/at/"
    for asked, shown in (("", 2), ("0", 1), ("-1", 2), ("99999999999999999999", 2), ("x", 2), ("²", 2)):
        assert boss.get(place, {"at": asked}).context["seq"] == shown


def test_it_says_who_did_what_when_and_what_that_changed(boss: Client, owner: Client) -> None:
    kept = Kept(int(owner.session["_auth_user_id"]))
    kept.send("a", "b")
    place = f"/admin/chat/conversation/{kept.conversation_id}/at/"
    context = boss.get(place, {"at": 3}).context
    assert context["line"].name == "user_message"
    assert [(one.part, one.before, one.after) for one in context["differences"]] == [("Queue", "", "b (queue)")]
    first = boss.get(place, {"at": 1})
    assert first.context["actor"] == "ann"
    assert "2023-11-14 22:13:20" in first.content.decode()


def test_it_says_when_text_was_in_flight_which_is_not_in_the_log(boss: Client, owner: Client) -> None:
    kept = Kept(int(owner.session["_auth_user_id"]))
    kept.send("a")
    assert kept.save_text(kept.run, "so far")
    place = f"/admin/chat/conversation/{kept.conversation_id}/at/"
    page = boss.get(place, {"at": 2}).content.decode()
    assert "so far" not in page
    assert "the user saw it grow" in page
    kept.complete()
    assert "the user saw it grow" not in boss.get(place, {"at": 3}).content.decode()


def test_a_damaged_log_is_said_in_words(boss: Client, owner: Client) -> None:
    kept = Kept(int(owner.session["_auth_user_id"]))
    kept.send("a")
    models.Event.objects.filter(seq=2).update(payload="{")
    page = boss.get(f"/admin/chat/conversation/{kept.conversation_id}/at/", {"at": 2})
    assert page.status_code == 200
    assert "The log can’t be read up to this event: event 2" in page.content.decode()
