"""Files that are sent: taken within limits under a name that fits, and laid into the work folder. What is refused is
refused in words and leaves nothing behind.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from pytest_django import Settings

from chat import models
from chat.core.events import ConversationDeleted
from chat.store import files
from tests.core.talk import NOW_MS
from tests.web.owner import CSV, Owner, content_of, on_disk

MIB = 1 << 20


def limited(settings: Settings, **values: Any) -> None:
    settings.AGENTSITE = replace(settings.AGENTSITE, **values)


# What is taken


def test_a_file_lies_in_the_work_folder_and_is_kept_with_the_conversation(owner: Owner) -> None:
    file = owner.taken()
    assert file == {
        "id": file["id"],
        "url": f"/artifacts/{file['id']}/",
        "mime": "text/csv",
        "name": "sales.csv",
        "size": len(CSV),
    }
    assert (owner.folder.path / "sales.csv").read_bytes() == CSV
    row = models.Artifact.objects.get()
    assert (str(row.id), row.conversation_id, row.name) == (file["id"], owner.conversation_id, "sales.csv")


def test_a_large_file_comes_through_byte_for_byte(owner: Owner) -> None:
    # Large enough for Django to keep it on disk on its way.
    content = os.urandom(3 * MIB)
    file = owner.taken("big.bin", content)
    assert (owner.folder.path / "big.bin").read_bytes() == content
    assert content_of(owner.client.get(file["url"])) == content


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("../../../etc/cron.d/job", "job"),
        ("C:\\Windows\\system.ini", "system.ini"),
        ("a\x00b\x1b[31m.csv", "ab[31m.csv"),
        ("new\nline.csv", "newline.csv"),
        ("\u202efdp.exe", "fdp.exe"),
        ("x" * 300 + ".csv", "x" * 196 + ".csv"),
        ("売上 データ.csv", "売上 データ.csv"),
        ("Cafe\u0301.csv", "Café.csv"),
        ("<b>&amp;.csv", "_b_&.csv"),
        (".bashrc", "bashrc"),
        ("-rf", "rf"),
        ('"; rm -rf ~; ".csv', "_; rm -rf ~; _.csv"),
    ],
)
def test_a_file_gets_a_name_under_which_tools_and_people_find_it(owner: Owner, name: str, given: str) -> None:
    assert owner.taken(name)["name"] == given
    assert owner.names() == [given]


def test_a_name_that_exists_gets_a_number_and_nothing_is_overwritten(owner: Owner) -> None:
    owner.folder.create(None)
    (owner.folder.path / "report.txt").write_text("written by a tool")
    assert [owner.taken("image.png", bytes([n]))["name"] for n in range(3)] == [
        "image.png",
        "image-2.png",
        "image-3.png",
    ]
    assert owner.taken("report.txt")["name"] == "report-2.txt"
    assert (owner.folder.path / "report.txt").read_text() == "written by a tool"
    assert (owner.folder.path / "image-2.png").read_bytes() == b"\x01"


# What is refused


@pytest.fixture
def untouched(owner: Owner, places: Path) -> Iterator[None]:
    """Whatever the test does, no file and no row comes of it."""
    yield
    assert on_disk(places) == []
    assert not models.Artifact.objects.exists()


@pytest.mark.usefixtures("untouched")
class TestRefused:
    def refused(self, response: Any, status: int, words: str) -> None:
        assert response.status_code == status
        assert response["Content-Type"] == "text/plain; charset=utf-8"
        assert response.content.decode() == f"{words}\n"

    def test_an_empty_file(self, owner: Owner) -> None:
        self.refused(owner.send("a.csv", b""), 400, "a.csv is empty.")

    @pytest.mark.parametrize("form", [{}, {"file": "text"}, {"other": SimpleUploadedFile("a", b"x")}])
    def test_no_file(self, owner: Owner, form: dict[str, Any]) -> None:
        response = owner.client.post(f"/c/{owner.conversation_id}/files/", form)
        self.refused(response, 400, "Send one file, in a form's field named file.")

    def test_several_files_in_one_request(self, owner: Owner) -> None:
        sent_along = [SimpleUploadedFile(name, b"x") for name in ("a", "b")]
        response = owner.client.post(f"/c/{owner.conversation_id}/files/", {"file": sent_along})
        self.refused(response, 400, "Send one file, in a form's field named file.")

    def test_a_body_that_is_no_form(self, owner: Owner) -> None:
        for kind in ("application/json", "multipart/form-data; boundary=x"):
            response = owner.client.post(f"/c/{owner.conversation_id}/files/", b"{}", content_type=kind)
            assert response.status_code == 400

    def test_one_byte_too_many(self, owner: Owner, settings: Settings) -> None:
        limited(settings, agent_upload_max_mib=1)
        response = owner.send("big.bin", bytes(MIB + 1))
        self.refused(response, 413, "big.bin is larger than 1 MB, the most that this site takes.")

    def test_a_type_that_the_site_does_not_take(self, owner: Owner, settings: Settings) -> None:
        limited(settings, agent_upload_types=("csv", "tar.gz"))
        for name in ("a.exe", "a.gz", "csv", "a.csv.exe"):
            self.refused(owner.send(name), 415, f"{name} is not of a type that this site takes: csv, tar.gz.")

    def test_more_than_all_files_of_one_person_may_take(self, owner: Owner, settings: Settings) -> None:
        limited(settings, agent_storage_max_mib_per_user=1)
        words = "your files take 0 of 1 MB. Delete conversations that you don't need"
        self.refused(owner.send("big.bin", bytes(MIB + 1)), 413, f"There is no room for big.bin: {words}.")

    def test_a_full_disk(self, owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
        def full(*_: Any, **__: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(files, "keep", full)
        self.refused(owner.send(), 507, "The server has no room left for sales.csv. Tell whoever runs it.")

    def test_a_fault_half_way(self, owner: Owner, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_: Any, **__: Any) -> None:
            raise RuntimeError("the database is gone")

        monkeypatch.setattr(models.Artifact, "save", fail)
        with pytest.raises(RuntimeError):
            owner.send()

    def test_another_users_conversation_and_one_that_is_not_there(self, owner: Owner) -> None:
        somebody_else = Owner("bob")
        for conversation_id in (owner.conversation_id, uuid.uuid4()):
            response = somebody_else.client.post(
                f"/c/{conversation_id}/files/", {"file": SimpleUploadedFile("a.csv", CSV)}
            )
            assert response.status_code == 404

    def test_a_conversation_that_was_deleted(self, owner: Owner) -> None:
        owner.kept.take(ConversationDeleted(at_ms=NOW_MS))
        assert owner.send().status_code == 404

    def test_somebody_who_is_not_logged_in(self, owner: Owner) -> None:
        path = f"/c/{owner.conversation_id}/files/"
        response = Client().post(path, {"file": SimpleUploadedFile("a.csv", CSV)})
        assert (response.status_code, response["Location"]) == (302, f"/accounts/login/?next={path}")

    def test_a_request_that_was_forged(self, owner: Owner) -> None:
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(owner.user)
        owner.client = strict
        assert owner.send().status_code == 403

    @pytest.mark.parametrize("method", ["get", "head", "put", "delete"])
    def test_other_methods(self, owner: Owner, method: str) -> None:
        response = getattr(owner.client, method)(f"/c/{owner.conversation_id}/files/")
        assert (response.status_code, response["Allow"]) == (405, "POST")


def test_a_type_that_the_site_takes_is_told_by_the_name_in_any_case(owner: Owner, settings: Settings) -> None:
    limited(settings, agent_upload_types=("csv", "tar.gz"))
    assert [owner.taken(name)["name"] for name in ("A.CSV", "a.tar.gz")] == ["A.CSV", "a.tar.gz"]


def test_a_file_of_exactly_the_limit_is_taken(owner: Owner, settings: Settings) -> None:
    limited(settings, agent_upload_max_mib=1)
    assert owner.taken("big.bin", bytes(MIB))["size"] == MIB


def test_what_the_work_folder_has_no_room_for_is_refused_and_changes_nothing(
    owner: Owner, settings: Settings, places: Path
) -> None:
    limited(settings, agent_sandbox_folder_max_mib=2)
    owner.taken("one.bin", bytes(MIB))
    before = on_disk(places)
    response = owner.send("two.bin", bytes(MIB + 1))
    assert response.status_code == 413
    assert response.content.decode() == (
        "There is no room for two.bin in this conversation: 1 of 2 MB in the work folder are taken. "
        "Ask the AI to remove files there, or begin a new conversation.\n"
    )
    assert on_disk(places) == before
    assert models.Artifact.objects.count() == 1
    (owner.folder.path / "one.bin").unlink()
    owner.taken("two.bin", bytes(MIB))
