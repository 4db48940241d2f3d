"""An export proves where it comes from to whoever knows the site's key, and shows each change."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from django.core.management import CommandError, call_command
from pytest_django import Settings

from chat import models, verify_export
from chat.errors import ConversationMissingError
from chat.store import erasure, exports
from chat.verify_export import NotGenuineError, canonical, verify
from tests.core.talk import NOW_MS
from tests.server import ROOT
from tests.store import golden
from tests.store.kept import Kept, make_user

AT_MS = NOW_MS + 1_000
APPROVALS = next(log for log in golden.LOGS if log.stem == "approvals")


def export(conversation_id: UUID) -> bytes:
    return b"".join(exports.signed_export(conversation_id, at_ms=AT_MS))


def fault(file: bytes, key: str | None = None) -> str:
    with pytest.raises(NotGenuineError) as raised:
        verify(io.BytesIO(file), key=key)
    return str(raised.value)


@pytest.fixture(autouse=True)
def key_file(settings: Settings, tmp_path: Path) -> Path:
    settings.EXPORT_KEY_FILE = tmp_path / "var" / "export_key"
    return tmp_path / "var" / "export_key"


@pytest.fixture
def kept() -> Kept:
    kept = Kept(make_user())
    for name in "äöü":
        kept.send(name)
        kept.complete("Grüße\n\u2028 🌷")
    return kept


def resigned(file: bytes, change: Callable[[list[dict[str, Any]]], object]) -> bytes:
    """A changed export that somebody else has signed rightly: header, events and footer may be changed."""
    rows = [json.loads(line) for line in file.splitlines()]
    key = Ed25519PrivateKey.from_private_bytes(b"e" * 32)
    rows[0]["public_key"] = key.public_key().public_bytes_raw().hex()
    del rows[-1]["signature"]
    change(rows)
    digest = hashlib.sha256(b"".join(map(canonical, rows))).digest()
    rows[-1]["signature"] = key.sign(verify_export.SIGNED + digest).hex()
    return b"".join(map(canonical, rows))


@pytest.mark.django_db(transaction=True)
class TestExports:
    @pytest.mark.parametrize("log", golden.LOGS, ids=lambda log: log.stem)
    def test_an_export_is_genuine(self, log: Path) -> None:
        place = golden.keep(log)
        found = verify(io.BytesIO(export(place)), key=exports.public_key())
        assert (found.conversation, found.events, found.erased) == (str(place), len(golden.events_of(log)), 0)
        assert found.exported_at.timestamp() == AT_MS // 1000

    def test_it_holds_the_log_as_it_is_stored(self, kept: Kept) -> None:
        header, *events, footer = [json.loads(line) for line in export(kept.conversation_id).split(b"\n") if line]
        assert (header["owner"], header["created_at_ms"], header["exported_at_ms"]) == ("ann", NOW_MS, AT_MS)
        stored = models.Event.objects.order_by("seq").values("seq", "name", "payload", "salt", "payload_hash", "hash")
        assert [{name: event[name] for name in row} for event, row in zip(events, stored, strict=True)] == list(stored)
        assert (footer["events"], footer["head_hash"]) == (7, kept.row.head_hash)

    def test_the_same_log_gives_the_same_bytes(self, kept: Kept) -> None:
        assert export(kept.conversation_id) == export(kept.conversation_id)

    def test_each_byte_of_it_counts(self) -> None:
        file = export(golden.keep(APPROVALS))
        footer_at = file.rindex(b"\n", 0, -1)
        for at in range(len(file)):
            # The second makes capitals of letters, and the signature does not sign itself.
            for bit in (1, 32) if at > footer_at else (1,):
                changed = file[:at] + bytes([file[at] ^ bit]) + file[at + 1 :]
                assert fault(changed), (at, file[max(at - 30, 0) : at + 30])

    def test_each_field_of_it_counts(self, kept: Kept) -> None:
        file = export(kept.conversation_id)
        rows = [json.loads(line) for line in file.splitlines()]
        for number, row in enumerate(rows):
            for name, held in row.items():
                for value in _others(held):
                    changed = [dict(each) for each in rows]
                    changed[number][name] = value
                    assert fault(b"".join(map(canonical, changed)))
                changed = [dict(each) for each in rows]
                del changed[number][name]
                assert fault(b"".join(map(canonical, changed)))
            changed = [dict(each) for each in rows]
            changed[number]["more"] = 1
            assert "'more' too many" in fault(b"".join(map(canonical, changed)))

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda rows: rows.pop(3), "line 4: event 3 is missing"),
            (lambda rows: rows.insert(3, rows[3]), "line 5: event 3 stands where event 4 should"),
            (lambda rows: rows.insert(3, rows.pop(4)), "line 4: event 3 is missing"),
            (lambda rows: rows.pop(-2), "the footer speaks of 7 events, and there are 6"),
            (lambda rows: rows[3].update(payload="{}"), "line 4: event 3: its payload or salt was changed"),
            (lambda rows: rows[3].update(salt=""), "line 4: event 3: its salt was changed"),
            (lambda rows: rows[3].update(at_ms=5), "line 4: event 3: its time was changed"),
            (lambda rows: rows[3].update(hash="0" * 64), "line 5: event 3: its hash was changed"),
            (lambda rows: rows[3].update(name="x"), "line 5: event 3 does not follow"),
            (lambda rows: rows[3].update(version=2), "line 4: event 3: its version was changed"),
            (lambda rows: rows[3].update(seq=True), "line 4: the event has no fitting value in the field seq"),
            (lambda rows: rows[0].update(conversation="x"), "line 3: event 1 does not begin this log"),
            (lambda rows: rows[0].update(version=2), "it is of a version that this program does not know"),
            (lambda rows: rows[0].update(format="x"), "it does not begin as an exported log does"),
            (lambda rows: rows[-1].update(events=8), "the footer speaks of 8 events"),
            (lambda rows: rows[-1].update(head_hash="0" * 64), "the footer's head_hash"),
        ],
    )
    def test_a_fault_is_named_though_the_file_was_signed(
        self, kept: Kept, change: Callable[[list[dict[str, Any]]], object], words: str
    ) -> None:
        assert fault(resigned(export(kept.conversation_id), change)).startswith(words)

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda file: b"", "it does not begin as an exported log does"),
            (lambda file: b"\xff\n", "line 1 can't be read"),
            (lambda file: b"[" * 100_000, "line 1 can't be read"),
            (lambda file: b"[]\n", "line 1 is not in the form"),
            (lambda file: file[:-1], "is not in the form"),
            (lambda file: file.replace(b'"events":7', b'"events": 7'), "is not in the form"),
            (lambda file: file.replace(b'"events":7', b'"events":7,"events":7'), "is not in the form"),
            (lambda file: b"".join(file.splitlines(keepends=True)[:-1]), "the footer with the signature is missing"),
            (lambda file: file + b"{}\n", "something follows after the footer"),
            (lambda file: file + file, "something follows after the footer"),
            (lambda file: file.replace(b"ann", b"eve"), "the signature is not this key's over this file"),
        ],
    )
    def test_a_file_that_is_none_is_named(self, kept: Kept, change: Callable[[bytes], bytes], words: str) -> None:
        assert words in fault(change(export(kept.conversation_id)))

    def test_who_signs_it_anew_has_another_key(self, kept: Kept) -> None:
        forged = resigned(export(kept.conversation_id), lambda rows: rows[0].update(owner="eve"))
        assert verify(io.BytesIO(forged), key=None).events == 7
        assert fault(forged, exports.public_key()).startswith("it was signed by another key")

    def test_an_erased_log_is_genuine_and_its_marks_count(self, kept: Kept) -> None:
        erasure.erase(kept.conversation_id, by="", remove_folder=lambda: None)
        file = export(kept.conversation_id)
        assert verify(io.BytesIO(file), key=exports.public_key()).erased == 6
        assert "the signature is not this key's" in fault(file.replace(b"[erased]", b"[erasde]"))

    @pytest.mark.parametrize(
        "damage",
        [
            lambda: models.Event.objects.filter(seq=3).update(salt="0" * 32),
            lambda: models.Event.objects.filter(seq=7).delete(),
            lambda: models.Conversation.objects.update(seal="0" * 64),
        ],
    )
    def test_a_log_that_is_not_as_it_was_written_is_not_signed(self, kept: Kept, damage: Callable[[], object]) -> None:
        damage()
        with pytest.raises(exports.UnsignableError, match="not as it was written"):
            export(kept.conversation_id)

    def test_what_comes_in_meanwhile_is_left_out(self, kept: Kept) -> None:
        lines = exports.signed_export(kept.conversation_id, at_ms=AT_MS)
        first = next(lines)
        kept.send("later")
        assert verify(io.BytesIO(first + b"".join(lines)), key=None).events == 7

    def test_a_conversation_that_is_not_there_is_said(self) -> None:
        with pytest.raises(ConversationMissingError):
            export(uuid4())

    # The key

    def test_the_key_is_made_once_and_only_its_owner_can_read_it(self, key_file: Path) -> None:
        with ThreadPoolExecutor(8) as threads:
            keys = set(threads.map(lambda _: exports.public_key(), range(16)))
        assert len(keys) == 1
        assert key_file.stat().st_mode & 0o777 == 0o600
        assert list(key_file.parent.iterdir()) == [key_file]

    @pytest.mark.parametrize("text", ["", "no key", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
    def test_a_damaged_key_is_said_and_not_replaced(self, key_file: Path, text: str) -> None:
        key_file.parent.mkdir()
        key_file.write_text(text)
        with pytest.raises(exports.UnsignableError, match="can't be read"):
            exports.public_key()
        assert key_file.read_text() == text

    # The commands

    def test_the_commands_write_and_verify_a_file(
        self, kept: Kept, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        place = tmp_path / "log.jsonl"
        call_command("export_log", str(kept.conversation_id), output=place)
        call_command("export_log", show_key=True)
        key = capsys.readouterr().out.strip()
        assert place.stat().st_mode & 0o777 == 0o600
        told = verified(place, "--key", key)
        assert told.returncode == 0
        assert told.stdout.startswith(f"7 events, signed by {key} at 20")
        assert told.stdout.endswith(" UTC: genuine\n")
        told = verified(place)
        assert told.returncode == 0
        assert "genuine" not in told.stdout
        assert "a key that nothing vouches for" in told.stdout
        told = verified(place, "--key", "0" * 64)
        assert (told.returncode, "signed by another key" in told.stdout) == (1, True)
        place.write_bytes(place.read_bytes().replace(b'seq":3', b'seq":4'))
        told = verified(place, "--key", key)
        assert (told.returncode, told.stdout) == (1, f"{place}: not genuine: line 4: event 3 is missing\n")
        assert verified(tmp_path / "nowhere").returncode == 1

    def test_the_command_writes_to_standard_output_when_no_file_is_named(
        self, kept: Kept, capfdbinary: pytest.CaptureFixture[bytes]
    ) -> None:
        call_command("export_log", str(kept.conversation_id))
        assert verify(io.BytesIO(capfdbinary.readouterr().out), key=exports.public_key()).events == 7

    def test_a_pipe_is_written_to_and_not_replaced(self, kept: Kept, tmp_path: Path) -> None:
        pipe = tmp_path / "pipe"
        os.mkfifo(pipe)
        with open(os.open(pipe, os.O_RDONLY | os.O_NONBLOCK), "rb") as reader:
            call_command("export_log", str(kept.conversation_id), output=pipe)
            assert pipe.is_fifo()
            assert verify(io.BytesIO(reader.read()), key=exports.public_key()).events == 7

    def test_a_refused_export_leaves_the_file_that_was_there(self, kept: Kept, tmp_path: Path) -> None:
        place = tmp_path / "folder" / "log.jsonl"
        place.parent.mkdir()
        place.write_text("before")
        models.Event.objects.filter(seq=7).update(name="x")
        with pytest.raises(CommandError, match="not as it was written"):
            call_command("export_log", str(kept.conversation_id), output=place)
        assert (place.read_text(), list(place.parent.iterdir())) == ("before", [place])
        with pytest.raises(CommandError, match="There is no such conversation"):
            call_command("export_log", str(uuid4()))
        with pytest.raises(CommandError, match="Say which conversation"):
            call_command("export_log")

    def test_verifying_needs_nothing_of_the_site(self) -> None:
        program = "import sys, chat.verify_export; print(sorted({'django', 'msgspec', 'chat.conf'} & set(sys.modules)))"
        told = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
        assert told.stdout == "[]\n"


def verified(*words: Path | str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "chat.verify_export", *map(str, words)]
    return subprocess.run(command, cwd=ROOT, env={}, capture_output=True, text=True, check=False)


def _others(held: Any) -> Iterator[Any]:
    """Other values than this one, of the same type and of others."""
    yield from (None, "", "x", 0, -1, 1.5, True, [], {}) if held is not None else (1, "x")
    if isinstance(held, str):
        yield from (held + "0", held[:-1], held[::-1] + "1")
    if isinstance(held, int):
        yield from (held + 1, 10**30)
