"""Whoever can write to the database alone can't change a log unseen: `check` finds it and says where."""

from __future__ import annotations

import io
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection
from django.db import models as fields
from django.db.models import F, RestrictedError
from pytest_django import Settings

from chat import chain, codec, models
from chat.management.commands import check_replay
from chat.store import replay, seals
from chat.store.log import lines, link_of
from tests.core import talk
from tests.store import golden
from tests.store.kept import Kept, make_user

COLUMNS = [field for field in models.Event._meta.concrete_fields if field.name not in {"id", "conversation"}]
# Of each text so many characters are changed, each in its turn.
CHARACTERS_SAMPLED = 2


def wrong(conversation_id: UUID) -> list[str]:
    return replay.check(conversation_id)[1]


def changes_of(column: fields.Field[Any, Any], held: Any, random: Random) -> Iterator[Any]:
    """Other values than the one a column holds."""
    if isinstance(held, str):
        for at in random.sample(range(len(held)), min(CHARACTERS_SAMPLED, len(held))):
            yield held[:at] + chr(ord(held[at]) ^ 1) + held[at + 1 :]
        yield held[:-1] if held else "x"
    elif isinstance(held, datetime):
        yield from (held + timedelta(microseconds=1), held - timedelta(milliseconds=1))
    elif isinstance(held, int):
        # The next number is taken.
        yield from (held + 100, 0) if column.name == "seq" else (held + 1, held + 100)
    else:
        yield datetime.fromisoformat("2026-01-01T00:00:00+00:00") if column.name.endswith("_at") else 1


@pytest.fixture
def kept() -> Kept:
    kept = Kept(make_user())
    for name in "abc":
        kept.send(name)
        kept.complete()
    return kept


@pytest.mark.django_db(transaction=True)
class TestTampering:
    @pytest.mark.parametrize("log", golden.LOGS, ids=lambda log: log.stem)
    def test_each_column_of_each_event_counts(self, log: Path) -> None:
        place, random = golden.keep(log), Random(7)
        get_user_model().objects.create(id=99, username="eve")
        assert wrong(place) == []
        for line in list(lines(place)):
            row = models.Event.objects.filter(id=line.id)
            for column in COLUMNS:
                held = getattr(line, column.attname)
                for value in changes_of(column, held, random):
                    other = 99 if column.name == "actor" else value
                    row.update(**{column.attname: other})
                    found = wrong(place)
                    assert any(f"event {line.seq}" in fault for fault in found) or "missing" in found[0], (
                        line.seq,
                        column.name,
                        found,
                    )
                    row.update(**{column.attname: held})
        assert wrong(place) == []

    def test_every_event_there_is_was_tried(self) -> None:
        kinds = {type(event) for log in golden.LOGS for event in golden.events_of(log)}
        assert kinds == set(codec.STORED_NAMES)

    @pytest.mark.parametrize(
        ("damage", "words"),
        [
            (lambda: models.Event.objects.filter(seq=4).update(name="queue_resumed"), "event 4: its name was changed"),
            (lambda: models.Event.objects.filter(seq=4).update(version=7), "event 4: its version was changed"),
            (
                lambda: models.Event.objects.filter(seq=1).update(actor=None),
                "event 1: its actor was changed, which was",
            ),
            (
                lambda: models.Event.objects.filter(seq=4).update(actor=models.Conversation.objects.get().user_id),
                "event 4: its actor was changed, which was nobody",
            ),
            (
                lambda: models.Event.objects.filter(seq=3).update(at=F("at") + timedelta(microseconds=1)),
                "event 3: its time was changed",
            ),
            (lambda: models.Event.objects.filter(seq=4).update(salt="0" * 32), "event 4: its payload or salt"),
            (lambda: models.Event.objects.filter(seq=4).update(payload_hash=""), "event 4: its payload_hash"),
            (lambda: models.Event.objects.filter(seq=4).update(hash=""), "event 4: its hash was changed"),
            (lambda: models.Event.objects.filter(seq=7).update(hash=""), "event 7: its hash was changed"),
            (lambda: models.Event.objects.filter(seq=4).delete(), "event 4 is missing"),
            (lambda: models.Event.objects.filter(seq=4).update(seq=9), "event 4 is missing"),
            (lambda: models.Event.objects.filter(seq=7).update(seq=8), "its number was changed, which was 7"),
            (lambda: models.Event.objects.filter(seq=7).delete(), "was sealed at event 7, and its end was cut off"),
            (lambda: models.Event.objects.all().delete(), "was sealed at event 7, and its end was cut off"),
            (lambda: models.Conversation.objects.update(seq=6), "seq or head_hash was changed"),
            (lambda: models.Conversation.objects.update(head_hash="0" * 64), "seq or head_hash was changed"),
            (lambda: models.Conversation.objects.update(seal="0" * 64), "the seal is not this site's"),
            (lambda: models.Conversation.objects.update(seal=""), "the seal is not this site's"),
            (lambda: models.Conversation.objects.update(user=make_user("eve")), "belongs to somebody who did not"),
            (
                lambda: models.Conversation.objects.update(created_at=F("active_at") + timedelta(1)),
                "was not begun when",
            ),
            (lambda: models.Event.objects.filter(seq=4).update(erased_version=1), "its marks of erasure were changed"),
            (lambda: models.Event.objects.filter(seq=4).update(erased_seal="x"), "its marks of erasure were changed"),
            (
                lambda: models.Event.objects.filter(seq=4).update(
                    erased_at=F("at"), erased_version=1, salt="", erased_seal="0" * 64
                ),
                "event 4: it was not erased by this site",
            ),
        ],
    )
    def test_what_was_changed_is_named(self, kept: Kept, damage: Callable[[], object], words: str) -> None:
        assert wrong(kept.conversation_id) == []
        damage()
        found = wrong(kept.conversation_id)
        assert any(words in fault for fault in found), found

    def test_a_chain_that_was_made_anew_lacks_the_seal(self, kept: Kept) -> None:
        rewrite(kept, "An answer.", "A lie.")
        assert [fault.split(":")[0] for fault in wrong(kept.conversation_id)] == ["the seal is not this site's"]

    def test_an_end_that_was_cut_off_together_with_the_head_lacks_the_seal(self, kept: Kept) -> None:
        before = dict(models.Conversation.objects.values().get())
        kept.send("d")
        kept.complete()
        models.Event.objects.filter(seq__gt=7).delete()
        models.Message.objects.filter(position__gt=6).delete()
        models.Conversation.objects.update(**(before | {"seal": kept.row.seal}))
        assert any(fault.startswith("the seal is not this site's") for fault in wrong(kept.conversation_id))

    def test_going_on_does_not_make_right_what_was_done_before(self, kept: Kept) -> None:
        rewrite(kept, "An answer.", "A lie.")
        kept.send("d")
        kept.complete()
        assert [fault.split(":")[0] for fault in wrong(kept.conversation_id)] == ["the seal is not this site's"]

    def test_events_that_were_moved_to_another_conversation_are_found_in_both(self, kept: Kept) -> None:
        other = Kept(kept.user_id)
        models.Event.objects.filter(conversation=kept.row, seq__gt=5).update(
            conversation=other.conversation_id, seq=F("seq") - 4
        )
        assert any("its end was cut off" in fault for fault in wrong(kept.conversation_id))
        assert any("event 2 does not follow" in fault for fault in wrong(other.conversation_id))

    def test_two_logs_that_changed_places_are_found(self, kept: Kept) -> None:
        other = Kept(kept.user_id)
        there = uuid.uuid4()
        models.Conversation.objects.create(
            **(models.Conversation.objects.filter(id=other.conversation_id).values()[0] | {"id": there})
        )
        models.Event.objects.filter(conversation=other.row).update(conversation=there)
        assert any("event 1 does not begin this log" in fault for fault in wrong(there))

    # Keys

    def test_seals_of_a_former_key_hold_while_it_is_known(self, kept: Kept, settings: Settings) -> None:
        former, settings.SECRET_KEY = settings.SECRET_KEY, "another key that is long enough for this"
        assert any(fault.startswith("the seal is not this site's") for fault in wrong(kept.conversation_id))
        settings.SECRET_KEY_FALLBACKS = [former]
        assert wrong(kept.conversation_id) == []
        kept.send("d")
        settings.SECRET_KEY_FALLBACKS = []
        assert wrong(kept.conversation_id) == [], "what goes on is sealed with the new key"

    def test_a_seal_is_of_one_place_number_and_hash(self, kept: Kept) -> None:
        row = kept.row
        assert seals.is_of_head(row.seal, row.id, row.seq, row.head_hash)
        assert not seals.is_of_head(row.seal, uuid.uuid4(), row.seq, row.head_hash)
        assert not seals.is_of_head(row.seal, row.id, row.seq + 1, row.head_hash)
        assert not seals.is_of_head(row.seal, row.id, row.seq, chain.FIRST)

    def test_who_acted_in_another_s_conversation_can_not_be_removed_but_its_owner_can(self, kept: Kept) -> None:
        member = get_user_model().objects.create(username="staff")
        kept.commit(talk.stopped(None), actor_id=member.pk)
        kept.send("d")
        kept.commit(talk.stopped(None), actor_id=member.pk)
        with pytest.raises(RestrictedError):
            member.delete()
        get_user_model().objects.get(id=kept.user_id).delete()
        member.delete()
        assert not models.Event.objects.exists()

    # The command

    def test_the_command_goes_on_after_a_fault(self, kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
        others = [Kept(kept.user_id) for _ in range(2)]
        models.Event.objects.filter(conversation=kept.row, seq=3).update(salt="")
        models.Event.objects.filter(conversation=others[1].row).update(name="x")
        with pytest.raises(SystemExit) as ended:
            call_command("check_replay")
        assert ended.value.code == 1
        *found, total = capsys.readouterr().out.splitlines()
        assert f"{kept.conversation_id}: event 3: its salt was changed" in found
        assert {line.split(":")[0] for line in found} == {str(kept.conversation_id), str(others[1].conversation_id)}
        assert total == f"3 conversations, 9 events, {len(found)} differences"

    @pytest.mark.skipif(connection.vendor != "sqlite", reason="only SQLite holds values that do not fit their column")
    @pytest.mark.parametrize(
        ("damage", "words"),
        [
            ("UPDATE chat_event SET at = 'never' WHERE seq = 3", "event 3: its time was changed"),
            ("UPDATE chat_event SET at = '2023-13-45 00:00:00' WHERE seq = 3", "what follows event 2 can't be read"),
            ("UPDATE chat_event SET version = 'x' WHERE seq = 3", "event 3: its version was changed"),
            ("UPDATE chat_message SET role = 'nobody' WHERE position = 1", "a row that follows from the log can't be"),
            ("UPDATE chat_message SET attachments = '[7]' WHERE position = 1", "can't be read"),
            ("UPDATE chat_conversation SET created_at = 'never'", "was not begun when"),
            ("UPDATE chat_conversation SET created_at = '2023-13-45 00:00:00'", "it can't be checked"),
        ],
    )
    def test_values_that_are_none_are_a_fault_like_others(
        self, kept: Kept, damage: str, words: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA ignore_check_constraints = ON")
            cursor.execute(damage)
            cursor.execute("PRAGMA ignore_check_constraints = OFF")
        with pytest.raises(SystemExit):
            call_command("check_replay")
        assert words in capsys.readouterr().out

    def test_a_terminal_is_told_how_far_it_has_come_and_nothing_else_is(
        self, kept: Kept, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        Kept(kept.user_id)
        monkeypatch.setattr(check_replay, "PROGRESS_INTERVAL_S", 0)
        screen, pipe = Terminal(), io.StringIO()
        call_command("check_replay", stderr=screen, stdout=io.StringIO())
        call_command("check_replay", stderr=pipe, stdout=io.StringIO())
        assert screen.getvalue() == "\r1 of 2 conversations\r2 of 2 conversations\r\x1b[K"
        assert pipe.getvalue() == ""

    def test_what_comes_in_while_it_is_read_is_no_difference(self, kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
        compare = replay._compare_run
        seen: list[int] = []

        def interrupted(row: models.Conversation, state: Any) -> list[str]:
            if not seen:
                kept.send("d")
            seen.append(row.seq)
            return compare(row, state)

        monkeypatch.setattr(replay, "_compare_run", interrupted)
        assert wrong(kept.conversation_id) == []
        assert seen == [7, 8]


class Terminal(io.StringIO):
    """Text that a person looks at."""

    def isatty(self) -> bool:
        return True


def rewrite(kept: Kept, old: str, new: str) -> None:
    """What somebody does who can write to the database and knows how chains are made."""
    head = chain.FIRST
    for line in lines(kept.conversation_id):
        line.payload = line.payload.replace(old, new)
        line.payload_hash = chain.payload_hash(line.salt, line.payload)
        head = line.hash = chain.link_hash(head, link_of(line))
        line.save()
    for message in models.Message.objects.filter(conversation=kept.row):
        message.content = message.content.replace(old, new)
        message.save()
    models.Conversation.objects.filter(id=kept.conversation_id).update(head_hash=head)
