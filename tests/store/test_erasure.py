"""What was said can be erased: nothing of it is left, and what is left can be checked as before."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from pytest_django import Settings

from chat import codec, models, workplace
from chat.core.calls import Proposal
from chat.core.events import ConversationRenamed, MessageSubmitted
from chat.core.ids import ConversationId
from chat.core.messages import Delivery
from chat.core.state import Refused
from chat.errors import AgentsiteError, ConversationMissingError
from chat.store import erasure, replay
from tests.core import talk
from tests.core.calm import calm_down
from tests.core.wandering import wander
from tests.core.world import World
from tests.store import golden
from tests.store.kept import Kept, make_user, said_in, sent
from tests.store.spoken import WORD, proposal, spoken

TABLES = (
    models.Conversation,
    models.Event,
    models.Message,
    models.QueuedMessage,
    models.Run,
    models.ToolCall,
    models.Artifact,
    models.Erasure,
)


def wrong(kept: Kept) -> list[str]:
    return replay.check(kept.conversation_id)[1]


def everything() -> str:
    """All that any table holds."""
    return "\n".join(str(row) for table in TABLES for row in table._default_manager.order_by("pk").values())


def erase(kept: Kept, *, by: str = "", remove_folder: Callable[[], None] = lambda: None) -> erasure.Erased:
    return erasure.erase(kept.conversation_id, by=by, remove_folder=remove_folder)


@pytest.fixture
def media(settings: Settings, tmp_path: Path) -> Path:
    settings.MEDIA_ROOT = tmp_path
    return tmp_path


@pytest.fixture
def kept(media: Path) -> Kept:
    """A conversation with the word in everything that can hold a word."""
    kept = spoken()
    assert wrong(kept) == []
    return kept


@pytest.mark.django_db(transaction=True)
class TestErasure:
    def test_nothing_that_was_said_is_left_in_any_row(self, kept: Kept) -> None:
        assert everything().count(WORD) > 40
        erased = erase(kept)
        assert WORD not in everything()
        assert erased.files == 1
        assert erased.events == models.Event.objects.filter(erased_at__isnull=False).count() > 10
        assert models.Event.objects.filter(erased_at__isnull=False).exclude(salt="").count() == 0

    def test_what_is_left_can_be_checked(self, kept: Kept) -> None:
        before = list(models.Event.objects.values_list("seq", "name", "hash", "payload_hash", "actor", "at"))
        sealed = (kept.row.head_hash, kept.row.seal)
        erase(kept)
        assert wrong(kept) == []
        assert list(models.Event.objects.values_list("seq", "name", "hash", "payload_hash", "actor", "at")) == before
        assert (kept.row.head_hash, kept.row.seal) == sealed

    def test_rows_say_the_same_but_for_their_text(self, kept: Kept) -> None:
        messages, calls = said_in(kept.conversation_id)
        erase(kept)
        after, calls_after = said_in(kept.conversation_id)
        assert [(m.message_id, m.position, m.role, m.state, m.created_at_ms) for m in after] == [
            (m.message_id, m.position, m.role, m.state, m.created_at_ms) for m in messages
        ]
        assert {message.content for message in after} == {codec.ERASED}
        assert kept.row.title == codec.ERASED
        was = [call for made in calls.values() for call in made]
        now = [call for made in calls_after.values() for call in made]
        assert [(c.call_id, c.state, c.execution_no) for c in now] == [
            (c.call_id, c.state, c.execution_no) for c in was
        ]
        assert [call.tool for call in now] == ["act"] * 4 + [codec.ERASED]
        assert {call.arguments for call in now} == {codec.ERASED_JSON}

    def test_a_digest_tells_nothing_of_the_arguments_it_was_of(self, kept: Kept) -> None:
        was = {call.digest for made in said_in(kept.conversation_id)[1].values() for call in made}
        guessed = hashlib.sha256(f"act\n{proposal(2).arguments}".encode()).hexdigest()
        assert guessed in everything()
        erase(kept)
        assert not [digest for digest in {*was, guessed} if digest in everything()]

    def test_files_and_the_work_folder_are_removed(self, kept: Kept, media: Path) -> None:
        removed: list[str] = []
        assert [path for path in media.rglob("*") if path.is_file()]
        erase(kept, remove_folder=lambda: removed.append("folder"))
        assert removed == ["folder"]
        assert not [path for path in media.rglob("*") if path.is_file()]
        assert not models.Artifact.objects.exists()

    def test_the_erasure_leaves_a_trace_outside_of_the_log(self, kept: Kept) -> None:
        seq = kept.row.seq
        erased = erase(kept, by="staff")
        trace = models.Erasure.objects.get()
        assert (trace.conversation_id, trace.by) == (kept.conversation_id, "staff")
        assert (trace.events, trace.files) == (erased.events, erased.files)
        assert set(models.Event.objects.exclude(erased_at=None).values_list("erased_at", flat=True)) == {trace.at}
        assert kept.row.seq == seq

    def test_the_conversation_goes_on_and_can_be_erased_again(self, kept: Kept) -> None:
        first = erase(kept)
        kept.state = codec.decode_snapshot(kept.row.snapshot)
        kept.take(sent("later", content=f"{WORD} later"))
        kept.complete(f"{WORD} answer")
        assert wrong(kept) == []
        second = erase(kept)
        assert WORD not in everything()
        assert wrong(kept) == []
        assert 0 < second.events < first.events
        assert models.Erasure.objects.count() == 2
        assert erase(kept) == erasure.Erased(events=0, files=0)
        assert models.Erasure.objects.count() == 2

    @pytest.mark.skipif(connection.vendor != "sqlite", reason="other databases keep their files to themselves")
    def test_the_database_s_files_have_forgotten_it(self, kept: Kept) -> None:
        place = Path(connection.settings_dict["NAME"])
        with connection.cursor() as cursor:
            # Whether it overwrites by itself depends on how it was built.
            cursor.execute("PRAGMA secure_delete = OFF")

        def is_in_files() -> bool:
            return any(WORD.encode() in path.read_bytes() for path in place.parent.glob(f"{place.name}*"))

        assert is_in_files()
        erase(kept)
        assert not is_in_files()

    @pytest.mark.parametrize("seed", range(15))
    def test_whatever_happened_can_be_erased(self, seed: int) -> None:
        kept = Kept(make_user())
        world = World(step=kept.step, user_id=kept.user_id)
        world.start()
        wander(world, Random(seed), steps=90)
        calm_down(world)
        erase(kept)
        assert wrong(kept) == []
        assert set(models.Message.objects.exclude(content="").values_list("content", flat=True)) <= {codec.ERASED}

    @pytest.mark.parametrize("log", golden.LOGS, ids=lambda log: log.stem)
    def test_a_golden_log_can_be_erased_unless_something_runs(self, log: Path) -> None:
        place = ConversationId(golden.keep(log))
        state = codec.decode_snapshot(models.Conversation.objects.get().snapshot)
        if state.run is None:
            erasure.erase(place, by="", remove_folder=lambda: None)
            assert replay.check(place)[1] == []
        else:
            with pytest.raises(erasure.RunActiveError, match="Stop it first"):
                erasure.erase(place, by="", remove_folder=lambda: None)

    def test_an_event_of_an_old_version_is_erased_in_the_newest(
        self, kept: Kept, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        name = "conversation_renamed"
        monkeypatch.setitem(codec.STORED_NAMES, ConversationRenamed, (name, 2))
        monkeypatch.setitem(codec._UPGRADES, (name, 1), lambda old: {"title": old["title"], "at_ms": old["at_ms"]})
        erase(kept)
        assert models.Event.objects.filter(name=name).values_list("version", "erased_version").get() == (1, 2)
        # What would be done to the first version is not done to it any more.
        monkeypatch.setitem(codec._UPGRADES, (name, 1), lambda old: {})
        assert wrong(kept) == []

    # What is refused

    @pytest.mark.parametrize("calls", [(), (proposal(1),)])
    def test_nothing_is_erased_while_something_runs_or_waits(self, media: Path, calls: tuple[Proposal, ...]) -> None:
        kept = Kept(make_user())
        kept.send("a")
        if calls:
            kept.take(talk.completed(kept.run, calls=calls))
        before = kept.rows()
        with pytest.raises(erasure.RunActiveError):
            erase(kept)
        assert kept.rows() == before

    def test_a_log_that_was_changed_is_not_erased_since_that_would_hide_it(self, kept: Kept) -> None:
        models.Event.objects.filter(seq=2).update(
            payload=models.Event.objects.get(seq=2).payload.replace(WORD, "daffodil")
        )
        before = kept.rows()
        with pytest.raises(erasure.DamagedLogError, match="event 2: its payload or salt was changed"):
            erase(kept)
        assert kept.rows() == before

    def test_a_folder_that_can_not_be_removed_leaves_the_rows_to_be_found_again(self, kept: Kept) -> None:
        def breaks() -> None:
            raise OSError("no")

        before = kept.rows()
        with pytest.raises(OSError, match="no"):
            erase(kept, remove_folder=breaks)
        assert kept.rows() == before
        erase(kept)
        assert WORD not in everything()

    def test_a_conversation_that_is_not_there_is_said(self) -> None:
        with pytest.raises(ConversationMissingError):
            erasure.erase(uuid4(), by="", remove_folder=lambda: None)
        with pytest.raises(AgentsiteError, match="There is no user nobody"):
            erasure.conversations_of("nobody")

    # What can be done to what was erased

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"payload": "{}"}, "was not erased by this site, or was changed since"),
            ({"salt": "0" * 32}, "has a salt although it was erased"),
            ({"erased_at": None}, "its salt was changed"),
            ({"erased_version": 2}, "was not erased by this site, or was changed since"),
            ({"erased_version": None}, "was not erased by this site, or was changed since"),
            ({"erased_seal": ""}, "was not erased by this site, or was changed since"),
            ({"payload_hash": "0" * 64}, "does not follow"),
            ({"hash": "0" * 64}, "its hash was changed"),
        ],
    )
    def test_what_was_erased_can_not_be_changed_unseen(self, kept: Kept, change: dict[str, Any], words: str) -> None:
        erase(kept)
        models.Event.objects.filter(seq=2).update(**change)
        assert any(fault.startswith("event 2") and words in fault for fault in wrong(kept)), wrong(kept)

    def test_another_wish_can_not_be_put_in_the_place_of_an_erased_one(self, kept: Kept) -> None:
        erase(kept)
        line = models.Event.objects.filter(name="user_message").order_by("seq")[0]
        event = codec.decode_event(line.name, 1, line.payload)
        assert isinstance(event, MessageSubmitted)
        line.payload = codec.encode_event(replace(event, delivery=Delivery.INTERRUPT))[2]
        line.save()
        assert any(f"event {line.seq}: it was not erased by this site" in fault for fault in wrong(kept))

    def test_a_trace_that_was_removed_is_missed(self, kept: Kept) -> None:
        erase(kept)
        models.Erasure.objects.all().delete()
        assert "event 2: the trace of its erasure is missing" in wrong(kept)

    # The command

    @pytest.fixture
    def work(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(workplace, "WORK_ROOT", tmp_path / "work")
        return tmp_path / "work"

    def test_the_command_erases_all_of_a_user_and_nothing_of_others(
        self, kept: Kept, work: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        other = Kept(make_user("bob"))
        other.take(sent("x", content="a daffodil"))
        folder = work / str(kept.conversation_id)
        folder.mkdir(parents=True)
        (folder / f"{WORD}.csv").write_text("1")
        call_command("erase_user", "ann", yes=True)
        count = models.Event.objects.exclude(erased_at=None).count()
        assert capsys.readouterr().out == f"1 conversations, {count} events erased, 1 files removed, 0 refused\n"
        assert not folder.exists()
        assert WORD not in everything()
        assert "daffodil" in everything()
        assert models.Erasure.objects.get().by == ""
        call_command("check_replay")
        assert f" ({count} of them erased), 0 differences\n" in capsys.readouterr().out

    def test_the_command_erases_one_conversation_when_told_which(self, kept: Kept, work: Path) -> None:
        other = Kept(kept.user_id)
        other.take(sent("x", content="a daffodil"))
        other.complete()
        call_command("erase_user", "ann", yes=True, conversation=other.conversation_id, stdout=io.StringIO())
        assert "daffodil" not in everything()
        assert WORD in everything()

    def test_the_command_goes_on_after_a_conversation_that_is_refused(
        self, kept: Kept, work: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        other = Kept(kept.user_id)
        other.send("x")
        with pytest.raises(SystemExit) as ended:
            call_command("erase_user", "ann", yes=True)
        assert ended.value.code == 1
        told = capsys.readouterr()
        assert told.out.endswith(" 1 refused\n")
        assert told.err.startswith(f"{other.conversation_id}: Something runs in this conversation")
        assert WORD not in everything()

    @pytest.fixture
    def answers(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
        given: list[str] = []

        def answer(_: str) -> str:
            if not given:
                raise EOFError
            return given.pop(0)

        monkeypatch.setattr("builtins.input", answer)
        yield given
        assert not given

    def test_the_command_erases_nothing_unless_the_name_is_repeated(
        self, kept: Kept, work: Path, answers: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        for answer in (["y"], [""], []):
            answers[:] = answer
            with pytest.raises(CommandError, match=r"Nothing was erased\."):
                call_command("erase_user", "ann")
        assert WORD in everything()
        answers[:] = ["ann"]
        call_command("erase_user", "ann")
        assert WORD not in everything()
        assert "This erases what was said in 1 conversations of ann" in capsys.readouterr().out

    def test_the_command_says_whom_or_what_it_does_not_find(self, kept: Kept) -> None:
        with pytest.raises(CommandError, match="There is no user nobody"):
            call_command("erase_user", "nobody", yes=True)
        make_user("bob")
        with pytest.raises(CommandError, match="bob has no conversation"):
            call_command("erase_user", "bob", yes=True, conversation=kept.conversation_id)
        assert WORD in everything()
        assert not isinstance(kept.commit(sent("z")), Refused)
