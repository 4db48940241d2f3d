"""What people deleted goes for good when its time has come, with its files, and nothing else does."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.db import connections
from django.test import override_settings

from chat import models
from chat.core.events import ConversationDeleted, ConversationRestored
from chat.errors import ConversationMissingError
from chat.store import files, purge
from chat.store.commits import commit
from chat.store.rows import when
from tests.core.talk import NOW_MS
from tests.store.kept import OWNER, TABLES, Kept, make_user

DAY_MS = 86_400_000
DELETED_AT_MS = NOW_MS + DAY_MS


def later(**delta: float) -> datetime:
    """So long after the deletion."""
    return when(DELETED_AT_MS) + timedelta(**delta)


@pytest.fixture
def artifacts(tmp_path: Path) -> Iterator[Path]:
    """Where the bytes of files lie."""
    with override_settings(MEDIA_ROOT=tmp_path):
        yield tmp_path


def bytes_in(folder: Path) -> list[bytes]:
    return sorted(path.read_bytes() for path in folder.rglob("*") if path.is_file())


class Folder:
    """A work folder that counts how often it was removed."""

    def __init__(self) -> None:
        self.removals = 0

    def remove(self) -> None:
        self.removals += 1


@pytest.mark.django_db(transaction=True)
class TestPurge:
    @pytest.fixture
    def kept(self) -> Kept:
        conversation = Kept(make_user())
        conversation.send("a")
        conversation.complete()
        return conversation

    def test_it_goes_with_every_row_and_file_and_the_others_stay(self, kept: Kept, artifacts: Path) -> None:
        other = Kept(kept.user_id)
        other.send("b")
        other.complete()
        for conversation, content in ((kept, b"gone"), (kept, b"gone, too"), (other, b"stays")):
            files.keep(conversation.conversation_id, name="a", mime="text/plain", content=ContentFile(content))
        kept.take(ConversationDeleted(at_ms=DELETED_AT_MS))
        before = [row for row in other.rows() if other.conversation_id in row[1].values()]
        folder = Folder()
        assert purge.due(deleted_before=later(days=1)) == (kept.conversation_id,)
        assert purge.remove(kept.conversation_id, deleted_before=later(days=1), remove_folder=folder.remove)
        assert folder.removals == 1
        assert bytes_in(artifacts) == [b"stays"]
        assert {row.conversation_id for row in models.Artifact.objects.all()} == {other.conversation_id}
        for table in TABLES[1:]:
            assert not table._default_manager.filter(conversation_id=kept.conversation_id).exists()
        assert [row for row in other.rows() if other.conversation_id in row[1].values()] == before
        assert purge.due(deleted_before=later(days=1)) == ()

    @pytest.mark.parametrize("after", [timedelta(seconds=-1), timedelta(0)])
    def test_it_stays_until_its_time_has_come(self, kept: Kept, after: timedelta) -> None:
        kept.take(ConversationDeleted(at_ms=DELETED_AT_MS))
        before = when(DELETED_AT_MS) + after
        assert purge.due(deleted_before=before) == ()
        assert not purge.remove(kept.conversation_id, deleted_before=before, remove_folder=never)
        assert kept.row.is_deleted

    def test_the_time_counts_from_the_last_deletion(self, kept: Kept) -> None:
        kept.take(ConversationDeleted(at_ms=NOW_MS), ConversationRestored(at_ms=NOW_MS))
        assert purge.due(deleted_before=later(days=9)) == ()
        kept.take(ConversationDeleted(at_ms=DELETED_AT_MS))
        assert purge.due(deleted_before=when(NOW_MS + 1)) == ()
        assert purge.due(deleted_before=later(seconds=1)) == (kept.conversation_id,)

    def test_what_still_comes_to_its_end_waits_for_the_next_time(self, kept: Kept) -> None:
        kept.send("b")
        kept.take(ConversationDeleted(at_ms=DELETED_AT_MS))
        assert kept.row.phase == "stopping"
        assert purge.due(deleted_before=later(days=9)) == ()

    def test_one_that_was_taken_back_since_it_was_looked_for_stays(self, kept: Kept) -> None:
        kept.take(ConversationDeleted(at_ms=DELETED_AT_MS))
        assert purge.due(deleted_before=later(days=1)) == (kept.conversation_id,)
        kept.take(ConversationRestored(at_ms=DELETED_AT_MS))
        assert not purge.remove(kept.conversation_id, deleted_before=later(days=1), remove_folder=never)

    def test_who_takes_it_back_while_it_is_removed_finds_nothing_instead_of_a_half(self, kept: Kept) -> None:
        kept.take(ConversationDeleted(at_ms=DELETED_AT_MS))
        outcomes: list[object] = []

        def restore() -> None:
            try:
                event = ConversationRestored(at_ms=DELETED_AT_MS)
                outcomes.append(commit(kept.conversation_id, event, actor_id=None, process_id=OWNER))
            except ConversationMissingError as fault:
                outcomes.append(fault)
            finally:
                connections.close_all()

        restoring = threading.Thread(target=restore)

        def meanwhile() -> None:
            restoring.start()
            # It waits for the row, so this can only run out.
            restoring.join(0.3)
            assert outcomes == []

        assert purge.remove(kept.conversation_id, deleted_before=later(days=1), remove_folder=meanwhile)
        restoring.join()
        assert isinstance(outcomes[0], ConversationMissingError)

    def test_when_its_folder_can_not_be_removed_it_is_found_again(self, kept: Kept, artifacts: Path) -> None:
        files.keep(kept.conversation_id, name="a", mime="text/plain", content=ContentFile(b"a"))
        kept.take(ConversationDeleted(at_ms=DELETED_AT_MS))
        with pytest.raises(OSError, match="busy"):
            purge.remove(kept.conversation_id, deleted_before=later(days=1), remove_folder=busy)
        assert purge.due(deleted_before=later(days=1)) == (kept.conversation_id,)
        assert purge.remove(kept.conversation_id, deleted_before=later(days=1), remove_folder=Folder().remove)
        assert bytes_in(artifacts) == []


def busy() -> None:
    raise OSError("the folder is busy")


never: Callable[[], None] = pytest.fail
