"""The fold of a log up to an event gives what was true then, and says which event is to blame when it can't."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chat import models
from chat.store import history, reads
from chat.store.history import BrokenLogError
from tests.core import talk
from tests.store.kept import Kept, make_user


@pytest.mark.django_db(transaction=True)
class TestHistory:
    @pytest.fixture
    def kept(self) -> Kept:
        kept = Kept(make_user())
        kept.send("a", "b")
        return kept

    def test_the_past_is_what_the_rows_were_then(self, kept: Kept) -> None:
        seen = {}
        for event in (
            lambda: talk.completed(kept.run, calls=(talk.proposal(),)),
            lambda: replace(talk.rejected(kept.call(), "no"), user_id=kept.user_id),
            lambda: talk.failed(kept.run),
            lambda: talk.stopped(None),
        ):
            if kept.state.run is None:
                break
            kept.take(event())
            view = reads.view(kept.conversation_id, limit=None)
            seen[kept.row.seq] = (view.state, view.messages, view.calls)
        assert len(seen) >= 3
        for seq, then in seen.items():
            past = history.past(kept.conversation_id, seq)
            assert (past.moment.state, past.messages, past.calls) == then

    def test_what_was_before_is_known_and_of_the_first_event_nothing(self, kept: Kept) -> None:
        first = history.past(kept.conversation_id, 1)
        assert (first.moment.before, first.messages) == (None, ())
        assert history.past(kept.conversation_id, 2).moment.before == first.moment.state

    def test_it_reads_no_further_than_it_must(self, kept: Kept) -> None:
        models.Event.objects.filter(seq=3).update(payload="{")
        assert history.past(kept.conversation_id, 2).moment.line.seq == 2
        with pytest.raises(BrokenLogError, match="event 3"):
            history.past(kept.conversation_id, 3)

    def test_an_event_that_is_not_there_is_said_in_words(self, kept: Kept) -> None:
        with pytest.raises(BrokenLogError, match="There is no event 9"):
            history.past(kept.conversation_id, 9)
        models.Event.objects.filter(seq=2).delete()
        with pytest.raises(BrokenLogError, match="event 2 is missing"):
            history.past(kept.conversation_id, 3)
