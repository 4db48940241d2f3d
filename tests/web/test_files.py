"""Files of a conversation: served so that nothing in them runs, to their owner and staff alone, and taken back as long
as no message names them.
"""

from __future__ import annotations

import uuid
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import pytest
from django.http import HttpResponseBase
from django.test import Client

from chat import models
from chat.core.calls import Policy
from chat.core.events import QueueCleared
from chat.core.ids import ConversationId
from chat.store import files
from tests.core import talk
from tests.core.talk import NOW_MS
from tests.store.kept import Kept, sent
from tests.web.owner import CSV, Owner, content_of, on_disk

# What is served


ACTIVE = [
    ("page.html", b"<script>alert(1)</script>"),
    ("picture.svg", b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'),
    ("page.xhtml", b"<html xmlns='http://www.w3.org/1999/xhtml'><script>alert(1)</script></html>"),
    ("code.js", b"alert(1)"),
    ("style.css", b"*{display:none}"),
    ("paper.pdf", b"%PDF-1.7"),
    ("text.txt", b"<html>"),
    ("nothing", b"<html>"),
    ("sales.csv", CSV),
]


@pytest.mark.parametrize(("name", "content"), ACTIVE)
def test_what_could_be_active_is_only_ever_downloaded(owner: Owner, name: str, content: bytes) -> None:
    response = owner.client.get(owner.taken(name, content)["url"])
    assert response["Content-Type"] == "application/octet-stream"
    assert response["Content-Disposition"] == f'attachment; filename="{name}"'
    assert safe(response)
    assert content_of(response) == content


def test_a_picture_is_shown_and_one_that_is_a_page_in_truth_stays_a_picture(owner: Owner) -> None:
    response = owner.client.get(owner.taken("fake.png", b"<script>alert(1)</script>")["url"])
    assert response["Content-Type"] == "image/png"
    assert response["Content-Disposition"] == 'inline; filename="fake.png"'
    assert safe(response)
    assert content_of(response) == b"<script>alert(1)</script>"


def safe(response: HttpResponseBase) -> bool:
    """The browser neither guesses a type nor runs or loads anything, and gives it to nobody else."""
    return (
        response["X-Content-Type-Options"] == "nosniff"
        and response["Content-Security-Policy"] == "default-src 'none'; sandbox"
        and response["Cross-Origin-Resource-Policy"] == "same-origin"
        and response["X-Frame-Options"] == "DENY"
        and response["Cache-Control"].startswith("private")
        # Another user of the same browser does not get it from its cache.
        and "Cookie" in response["Vary"]
    )


def test_a_name_in_any_script_survives_the_download(owner: Owner) -> None:
    response = owner.client.get(owner.taken("売上.csv")["url"])
    assert content_of(response) == CSV
    assert response["Content-Disposition"] == "attachment; filename*=utf-8''%E5%A3%B2%E4%B8%8A.csv"


def test_a_file_is_there_for_its_owner_and_staff_alone(owner: Owner) -> None:
    url = owner.taken()["url"]
    assert content_of(Owner("sue", is_staff=True).client.get(url)) == CSV
    assert Owner("bob").client.get(url).status_code == 404
    assert Client().get(url)["Location"] == f"/accounts/login/?next={url}"
    assert owner.client.get(f"/artifacts/{uuid.uuid4()}/").status_code == 404
    assert owner.client.post(url).status_code == 405


def test_a_file_that_is_gone_from_the_disk_is_not_there(owner: Owner, places: Path) -> None:
    url = owner.taken("a.csv")["url"]
    for name in on_disk(places):
        (places / name).unlink()
    assert owner.client.get(url).status_code == 404


# What is taken back


def test_a_file_that_was_not_sent_can_be_taken_back(owner: Owner, places: Path) -> None:
    kept_back, stays = owner.taken("a.csv"), owner.taken("b.csv")
    assert owner.client.delete(kept_back["url"]).status_code == 204
    assert owner.client.delete(kept_back["url"]).status_code == 404
    assert owner.client.get(kept_back["url"]).status_code == 404
    assert owner.names() == ["b.csv"]
    assert len(on_disk(places)) == 2
    assert content_of(owner.client.get(stays["url"])) == CSV


def test_what_a_tool_made_of_a_file_stays_when_it_is_taken_back(owner: Owner) -> None:
    file = owner.taken("a.csv")
    (owner.folder.path / "a.csv").write_text("the results of a tool")
    assert owner.client.delete(file["url"]).status_code == 204
    assert owner.names() == ["a.csv"]


def test_only_its_owner_can_take_a_file_back(owner: Owner) -> None:
    url = owner.taken()["url"]
    for other in (Owner("bob"), Owner("sue", is_staff=True)):
        assert other.client.delete(url).status_code == 404
    assert Client().delete(url).status_code == 302
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(owner.user)
    assert strict.delete(url).status_code == 403
    assert models.Artifact.objects.count() == 1


@pytest.mark.parametrize("fate", ["answered", "waiting", "withdrawn"])
def test_a_file_that_a_message_names_stays(owner: Owner, fate: str) -> None:
    file = owner.taken()
    found = files.of_conversation(owner.conversation_id, [UUID(file["id"])])
    assert found is not None
    if fate != "answered":
        owner.kept.send("a")
    event = replace(sent("b"), attachments=found)
    owner.kept.take(event)
    if fate == "withdrawn":
        owner.kept.take(QueueCleared(at_ms=NOW_MS))
    response = owner.client.delete(file["url"])
    assert response.status_code == 409
    assert response.content.decode() == "This file belongs to the conversation by now and stays with it.\n"
    assert content_of(owner.client.get(file["url"])) == CSV
    assert owner.names() == ["sales.csv"]


def test_what_a_tool_made_stays_and_is_nobodys_attachment(owner: Owner) -> None:
    file = owner.taken("chart.png")
    [value] = files.of_conversation(owner.conversation_id, [UUID(file["id"])]) or ()
    owner.kept.send("a")
    owner.kept.take(talk.completed(owner.kept.run, calls=(talk.proposal("do", policy=Policy.AUTO),)))
    owner.kept.take(talk.claimed(owner.kept.call()))
    owner.kept.take(talk.ended(owner.kept.call(), artifacts=(value,)))
    assert owner.client.delete(file["url"]).status_code == 409
    assert files.of_conversation(owner.conversation_id, [UUID(file["id"])]) is None


def test_attachments_are_the_conversations_own_files_each_once(owner: Owner) -> None:
    one, two = (UUID(owner.taken(f"{n}.csv")["id"]) for n in "ab")
    other_conversation, somebody_else = Kept(owner.user.pk), Owner("bob")

    def names(conversation_id: ConversationId, *ids: UUID) -> list[str] | None:
        found = files.of_conversation(conversation_id, ids)
        return None if found is None else [file.name for file in found]

    assert names(owner.conversation_id, two, one, two, one) == ["b.csv", "a.csv"]
    assert names(owner.conversation_id, one, uuid.uuid4()) is None
    assert names(other_conversation.conversation_id, one) is None
    assert names(somebody_else.conversation_id, one) is None
