"""What one person may do within a time, counted with the very steps that do it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from chat import models
from chat.core.events import ConversationDeleted, Event, QueueResumed, RetryRequested
from chat.core.ids import ConversationId
from chat.core.messages import Telemetry
from chat.core.state import Refusal, Refused
from chat.store import quotas
from chat.store.commits import Committed, Repeated, commit, start_conversation
from chat.store.quotas import Counted, Quota
from tests.core import talk
from tests.core.talk import NOW_MS
from tests.store.kept import OWNER, Kept, make_user, sent

HOUR_MS = 3_600_000
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def submit(kept: Kept, name: str, quota: Quota, *, later_ms: int = 0) -> Committed | Repeated | Refused:
    return wish(kept, replace(sent(name), at_ms=NOW_MS + later_ms), quota)


def wish(kept: Kept, event: Event, quota: Quota) -> Committed | Repeated | Refused:
    result = commit(kept.conversation_id, event, actor_id=kept.user_id, process_id=OWNER, quota=quota)
    if isinstance(result, Committed):
        kept.state = result.announcement.state
    return result


def code(result: Committed | Repeated | Refused) -> Refusal | None:
    return result.code if isinstance(result, Refused) else None


def tallied() -> int:
    return sum(models.Tally.objects.values_list("count", flat=True))


@pytest.mark.django_db(transaction=True)
class TestQuotas:
    @pytest.fixture
    def kept(self) -> Kept:
        return Kept(make_user())

    def another_conversation(self, kept: Kept) -> ConversationId:
        return start_conversation(user_id=kept.user_id, at_ms=NOW_MS).state.conversation_id

    def test_messages_are_counted_by_the_hour_over_all_conversations(self, kept: Kept) -> None:
        quota = Quota(messages_per_hour=2)
        assert code(submit(kept, "a", quota)) is None
        other = commit(self.another_conversation(kept), sent("b"), actor_id=kept.user_id, process_id=OWNER, quota=quota)
        assert code(other) is None
        seq = kept.row.seq
        refused = submit(kept, "c", quota)
        assert isinstance(refused, Refused)
        assert refused.code is Refusal.TOO_MANY_MESSAGES
        assert "2 messages within an hour" in refused.words
        assert "Go on in" in refused.words
        assert (kept.row.seq, tallied()) == (seq, 2)
        assert code(submit(kept, "c", quota, later_ms=HOUR_MS)) is None

    def test_a_message_that_comes_twice_counts_once(self, kept: Kept) -> None:
        quota = Quota(messages_per_hour=1)
        assert code(submit(kept, "a", quota)) is None
        assert isinstance(submit(kept, "a", quota), Repeated)

    def test_what_the_reducer_refuses_counts_for_nothing(self, kept: Kept) -> None:
        kept.take(ConversationDeleted(at_ms=NOW_MS))
        assert code(submit(kept, "a", Quota(messages_per_hour=1))) is Refusal.GONE
        assert tallied() == 0

    def test_people_have_each_their_own(self, kept: Kept) -> None:
        quota = Quota(messages_per_hour=1)
        assert code(submit(kept, "a", quota)) is None
        assert code(submit(Kept(make_user("ben")), "a", quota)) is None

    def test_only_so_many_conversations_are_answered_at_once_and_messages_still_queue(self, kept: Kept) -> None:
        quota = Quota(runs_at_once=1)
        assert code(submit(kept, "a", quota)) is None
        other_id = self.another_conversation(kept)
        refused = commit(other_id, sent("b"), actor_id=kept.user_id, process_id=OWNER, quota=quota)
        assert code(refused) is Refusal.TOO_MANY_RUNS
        assert code(submit(kept, "queued", quota)) is None
        kept.stop()
        assert code(commit(other_id, sent("b"), actor_id=kept.user_id, process_id=OWNER, quota=quota)) is None
        # Retry and Resume start a run too.
        wishes = (RetryRequested(at_ms=NOW_MS), QueueResumed(at_ms=NOW_MS))
        assert [code(wish(kept, event, quota)) for event in wishes] == [Refusal.TOO_MANY_RUNS] * 2

    def test_tokens_are_counted_by_the_day_as_the_models_server_counts_them(self, kept: Kept) -> None:
        quota = Quota(tokens_per_day=100)
        assert code(submit(kept, "a", quota)) is None
        took = Telemetry(prompt_tokens=70, completion_tokens=30)
        kept.take(replace(talk.completed(kept.run), telemetry=took))
        day = models.UsageDay.objects.get()
        assert (day.user_id, day.prompt_tokens, day.completion_tokens) == (kept.user_id, 70, 30)
        refused = submit(kept, "b", quota)
        assert isinstance(refused, Refused)
        assert refused.code is Refusal.NO_TOKENS_LEFT
        assert "100 tokens of today are used up" in refused.words
        assert code(submit(kept, "b", quota, later_ms=24 * HOUR_MS)) is None

    def test_an_answer_whose_tokens_nobody_counted_is_estimated(self, kept: Kept) -> None:
        kept.send("a")
        kept.take(replace(talk.completed(kept.run, "x" * 401), reasoning="", telemetry=Telemetry()))
        assert models.UsageDay.objects.get().completion_tokens == 101

    def test_what_the_world_answers_is_never_too_much(self, kept: Kept) -> None:
        kept.send("a", "b")
        none_left = Quota(messages_per_hour=0, runs_at_once=0, tokens_per_day=0)
        ended = talk.completed(kept.run)
        result = commit(kept.conversation_id, ended, actor_id=None, process_id=OWNER, quota=none_left)
        assert isinstance(result, Committed)
        assert result.announcement.state.run is not None


@pytest.mark.django_db
class TestTallies:
    def take(self, at: datetime, *, limit: int = 2, key: str = "here") -> int | None:
        return quotas.take(Counted.SIGNUPS_OF_ADDRESS, key, limit=limit, window_s=300, at=at)

    def test_who_has_reached_the_limit_waits_for_the_end_of_the_window(self) -> None:
        assert self.take(NOON) is None
        assert self.take(NOON + timedelta(seconds=10)) is None
        assert self.take(NOON + timedelta(seconds=10)) == 290
        assert self.take(NOON + timedelta(seconds=299.5)) == 1
        assert self.take(NOON, key="there") is None
        assert self.take(NOON + timedelta(seconds=300)) is None

    def test_what_was_refused_counts_for_nothing_and_what_is_given_back_neither(self) -> None:
        for _ in range(2):
            self.take(NOON)
        for _ in range(3):
            assert self.take(NOON) is not None
        quotas.give_back(Counted.SIGNUPS_OF_ADDRESS, "here", window_s=300, at=NOON)
        assert self.take(NOON) is None
        assert self.take(NOON) is not None

    def test_nobody_is_given_back_what_they_did_not_take(self) -> None:
        quotas.give_back(Counted.SIGNUPS_OF_ADDRESS, "here", window_s=300, at=NOON)
        assert self.take(NOON, limit=1) is None
        for _ in range(3):
            quotas.give_back(Counted.SIGNUPS_OF_ADDRESS, "here", window_s=300, at=NOON)
        assert [self.take(NOON, limit=1) is None for _ in range(2)] == [True, False]

    def test_windows_that_are_over_are_forgotten(self) -> None:
        self.take(NOON)
        self.take(NOON + timedelta(seconds=300))
        assert models.Tally.objects.count() == 1
        quotas.forget_old(NOON + timedelta(days=1))
        assert models.Tally.objects.count() == 0

    def test_a_key_of_any_length_is_counted(self) -> None:
        assert [self.take(NOON, key="x" * 5_000) for _ in range(3)] == [None, None, 300]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "1 second"), (59, "59 seconds"), (61, "2 minutes"), (3_600, "60 minutes"), (3_601, "2 hours")],
)
def test_a_time_to_wait_is_said_in_words(seconds: int, words: str) -> None:
    assert quotas.words_for(seconds) == words
