"""What one step writes: all of it, or nothing. The same on every database; select one by DATABASE_URL."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import IntegrityError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from chat import codec, models
from chat.core.effects import StartGeneration
from chat.core.events import (
    ConversationDeleted,
    ConversationRenamed,
    ConversationRestored,
    MessageSubmitted,
    QueueCleared,
    QueueItemEdited,
    QueueItemHeld,
    QueueItemMoved,
    QueueItemRemoved,
    RetryRequested,
)
from chat.core.ids import ConversationId, run_id
from chat.core.messages import Delivery, Message, MessageState, Role
from chat.core.state import Refusal, Refused
from chat.errors import ConversationMissingError
from chat.store import replay
from chat.store.commits import Committed, Repeated, commit
from chat.store.rows import message_columns, message_value, milliseconds
from tests.core import talk
from tests.core.talk import NOW_MS
from tests.store.kept import OWNER, Kept, make_user, message_id, said_in, sent

OTHER = uuid.UUID("00000000-0000-4000-8000-0000000000bb")


@pytest.mark.django_db(transaction=True)
class TestCommits:
    @pytest.fixture
    def kept(self) -> Kept:
        return Kept(make_user())

    # What is written

    def test_a_new_conversation_has_its_row_its_snapshot_and_its_first_event(self, kept: Kept) -> None:
        row = kept.row
        assert (row.user_id, row.seq, row.phase, row.title, row.is_deleted) == (kept.user_id, 1, "idle", "", False)
        assert codec.decode_snapshot(row.snapshot) == kept.state
        event = models.Event.objects.get(conversation=row)
        assert (event.seq, event.name, event.actor_id) == (1, "conversation_started", kept.user_id)

    def test_a_message_writes_event_snapshot_messages_and_run(self, kept: Kept) -> None:
        result = kept.commit(sent("a"), actor_id=kept.user_id)
        assert isinstance(result, Committed)
        row = kept.row
        run = run_id(kept.conversation_id, 1)
        assert (row.seq, row.phase, row.title, milliseconds(row.active_at)) == (2, "generating", "a", NOW_MS)
        assert codec.decode_snapshot(row.snapshot) == kept.state
        event = models.Event.objects.get(conversation=row, seq=2)
        assert codec.decode_event(event.name, event.version, event.payload) == sent("a")
        assert (event.actor_id, milliseconds(event.at)) == (kept.user_id, NOW_MS)
        stored = tuple(map(message_value, models.Message.objects.filter(conversation=row)))
        assert stored == result.announcement.messages
        assert [message.role for message in stored] == [Role.USER, Role.ASSISTANT]
        started = models.Run.objects.get(conversation=row)
        assert (started.id, started.answering, started.generation_no, started.owner, started.ended_at) == (
            run,
            message_id("a"),
            1,
            OWNER,
            None,
        )
        assert not models.QueuedMessage.objects.exists()
        assert result.effects == (StartGeneration(run_id=run, generation_no=1, message_id=stored[1].message_id),)
        told = result.announcement
        assert (told.user_id, told.seq, told.event_type, told.state) == (kept.user_id, 2, "user_message", kept.state)

    def test_what_the_world_answers_has_no_actor(self, kept: Kept) -> None:
        kept.send("a")
        kept.complete()
        assert models.Event.objects.get(conversation=kept.row, seq=3).actor_id is None

    def test_an_end_writes_the_answer_and_closes_its_run(self, kept: Kept) -> None:
        kept.send("a")
        kept.complete("All of it.")
        answer = message_value(models.Message.objects.get(conversation=kept.row, position=2))
        assert (answer.state, answer.content, answer.telemetry) == (MessageState.COMPLETE, "All of it.", talk.TOOK)
        run = models.Run.objects.get(conversation=kept.row)
        assert run.ended_at is not None
        assert (milliseconds(run.ended_at), run.outcome) == (NOW_MS + 5, "complete")

    def test_a_failure_is_stored_with_its_reason(self, kept: Kept) -> None:
        kept.send("a")
        kept.take(talk.failed(kept.run))
        answer = message_value(models.Message.objects.get(conversation=kept.row, position=2))
        assert (answer.state, answer.failure) == (MessageState.FAILED, talk.FAILURE)
        assert models.Run.objects.get().outcome == "failed"

    def test_the_end_of_a_run_and_the_start_of_the_next_are_one_step(self, kept: Kept) -> None:
        kept.send("a", "b")
        kept.complete()
        assert kept.row.seq == 4
        assert list(models.Run.objects.order_by("started_at").values_list("outcome", flat=True)) == ["complete", ""]
        assert not models.QueuedMessage.objects.exists()
        assert [message.content for message in said_in(kept.conversation_id)[0]] == [
            "a",
            "An answer.",
            "b",
            "",
        ]

    def test_waiting_messages_have_rows_in_their_order(self, kept: Kept) -> None:
        kept.send("a", "b", "c")
        kept.take(sent("now", delivery=Delivery.STEER))
        assert self.queue() == [("now", "steer", False), ("b", "queue", False), ("c", "queue", False)]
        kept.take(
            QueueItemMoved(message_id=message_id("c"), position=0, at_ms=NOW_MS),
            QueueItemHeld(message_id=message_id("b"), is_held=True, at_ms=NOW_MS),
            QueueItemEdited(message_id=message_id("now"), content="better", at_ms=NOW_MS),
        )
        assert self.queue() == [("c", "queue", False), ("better", "steer", False), ("b", "queue", True)]

    def queue(self) -> list[tuple[str, str, bool]]:
        rows = models.QueuedMessage.objects.filter(place__isnull=False).order_by("place")
        assert list(rows.values_list("place", flat=True)) == list(range(len(rows)))
        return list(rows.values_list("content", "delivery", "is_edited"))

    def test_withdrawn_messages_keep_a_row_without_a_place(self, kept: Kept) -> None:
        kept.send("a", "b", "c", "d")
        kept.take(QueueItemRemoved(message_id=message_id("c"), at_ms=NOW_MS))
        assert self.queue() == [("b", "queue", False), ("d", "queue", False)]
        kept.take(QueueCleared(at_ms=NOW_MS))
        assert self.queue() == []
        assert models.QueuedMessage.objects.filter(place=None).count() == 3

    def test_an_answer_that_is_asked_for_again_moves_its_run_to_whoever_asks(self, kept: Kept) -> None:
        kept.send("a")
        assert kept.save_text(kept.run, "so far", "why")
        kept.take(talk.lost(kept.run), owner=OTHER)
        run = models.Run.objects.get()
        assert (run.generation_no, run.owner, run.ended_at) == (2, OTHER, None)
        answer = models.Message.objects.get(position=2)
        assert (answer.state, answer.content, answer.reasoning) == ("streaming", "", "")

    def test_names_and_deletion_are_columns_too(self, kept: Kept) -> None:
        kept.take(ConversationRenamed(title="A name", at_ms=NOW_MS))
        assert kept.row.title == "A name"
        kept.take(ConversationDeleted(at_ms=NOW_MS))
        assert kept.row.is_deleted
        kept.take(ConversationRestored(at_ms=NOW_MS))
        assert not kept.row.is_deleted

    def test_only_a_sent_message_makes_a_conversation_newer(self, kept: Kept) -> None:
        kept.take(ConversationRenamed(title="A name", at_ms=NOW_MS + 1_000))
        assert milliseconds(kept.row.active_at) == NOW_MS
        kept.take(
            MessageSubmitted(
                message_id=message_id("a"), content="a", delivery=Delivery.QUEUE, queue_limit=5, at_ms=NOW_MS + 2_000
            )
        )
        assert milliseconds(kept.row.active_at) == NOW_MS + 2_000

    @pytest.mark.parametrize("content", ["\U0001f469\u200d\U0001f467" * 500, "\r\n\t\x1b\x7f\u2028", " ", "é\u0301ß"])
    def test_any_text_comes_back_as_it_was(self, kept: Kept, content: str) -> None:
        kept.take(sent("a", content=content))
        kept.complete(content)
        transcript, _ = said_in(kept.conversation_id)
        assert [message.content for message in transcript] == [content, content]

    # All or nothing

    def test_what_is_refused_writes_nothing(self, kept: Kept) -> None:
        kept.send("a", "b")
        before = kept.rows()
        for event, code in (
            (RetryRequested(at_ms=NOW_MS), Refusal.BUSY),
            (talk.stopped(run_id(kept.conversation_id, 9)), Refusal.NOTHING_TO_STOP),
            (QueueItemRemoved(message_id=message_id("x"), at_ms=NOW_MS), Refusal.NOT_QUEUED),
        ):
            result = kept.commit(event, actor_id=kept.user_id)
            assert isinstance(result, Refused)
            assert result.code is code
        assert kept.rows() == before

    @pytest.mark.parametrize("table", ["event", "message", "run"])
    def test_a_fault_in_the_middle_of_a_step_leaves_nothing_of_it(self, kept: Kept, table: str) -> None:
        kept.send("a", "b")
        row = kept.row
        match table:
            case "event":
                models.Event.objects.create(
                    conversation=row, seq=4, name="x", version=1, payload="{}", at=row.created_at
                )
            case "message":
                columns = message_columns(said_in(kept.conversation_id)[0][0])
                columns |= {"position": 3, "message_id": message_id("x"), "changed_seq": 2}
                models.Message.objects.create(conversation=row, **columns)
            case _:
                models.Run.objects.create(
                    id=run_id(kept.conversation_id, 2),
                    conversation=row,
                    answering=message_id("b"),
                    generation_no=1,
                    owner=OWNER,
                    started_at=row.created_at,
                    ended_at=row.created_at,
                )
        before = kept.rows()
        with pytest.raises(IntegrityError):
            kept.commit(talk.completed(kept.run))
        assert kept.rows() == before

    def test_a_step_inside_of_a_transaction_that_is_rolled_back_leaves_nothing(self, kept: Kept) -> None:
        before = kept.rows()
        with transaction.atomic():
            kept.send("a")
            transaction.set_rollback(True)
        assert kept.rows() == before

    def test_two_events_can_not_have_the_same_number(self, kept: Kept) -> None:
        row = kept.row
        with pytest.raises(IntegrityError):
            models.Event.objects.create(conversation=row, seq=1, name="x", version=1, payload="{}", at=row.created_at)

    def test_a_conversation_can_not_have_two_active_runs(self, kept: Kept) -> None:
        kept.send("a")
        with pytest.raises(IntegrityError):
            models.Run.objects.create(
                id=uuid.uuid4(),
                conversation=kept.row,
                answering=message_id("a"),
                generation_no=1,
                owner=OWNER,
                started_at=kept.row.created_at,
            )

    def test_a_conversation_that_does_not_exist_takes_nothing(self, kept: Kept) -> None:
        before = kept.rows()
        with pytest.raises(ConversationMissingError):
            commit(ConversationId(uuid.uuid4()), sent("a"), actor_id=None, process_id=OWNER)
        assert kept.rows() == before

    # The same message twice

    def repeated(self, kept: Kept, name: str, content: str = "") -> tuple[Message, ...]:
        before = kept.rows()
        result = kept.commit(sent(name, content=content), actor_id=kept.user_id)
        assert isinstance(result, Repeated)
        assert kept.rows() == before
        assert (result.announcement.seq, result.announcement.state) == (kept.row.seq, kept.state)
        assert result.announcement.event_type == "user_message"
        return result.announcement.messages

    def test_the_same_id_is_one_message_while_it_is_answered_and_after(self, kept: Kept) -> None:
        kept.send("a")
        assert [message.content for message in self.repeated(kept, "a")] == ["a"]
        kept.complete()
        assert [message.content for message in self.repeated(kept, "a", "other words")] == ["a"]

    def test_the_same_id_is_one_message_while_it_waits(self, kept: Kept) -> None:
        kept.send("a", "b")
        assert self.repeated(kept, "b") == ()

    def test_the_same_id_is_one_message_after_it_was_withdrawn(self, kept: Kept) -> None:
        kept.send("a", "b", "c")
        kept.take(QueueItemRemoved(message_id=message_id("b"), at_ms=NOW_MS), QueueCleared(at_ms=NOW_MS))
        assert self.repeated(kept, "b") == ()
        assert self.repeated(kept, "c") == ()

    def test_a_message_that_was_refused_can_be_sent_again(self, kept: Kept) -> None:
        kept.send("a")
        assert isinstance(kept.commit(talk.sent("b", queue_limit=0)), Refused)
        kept.take(talk.sent("b"))

    def test_the_same_id_in_two_conversations_is_two_messages(self, kept: Kept) -> None:
        other = Kept(kept.user_id)
        kept.send("a")
        other.send("a")
        assert models.Message.objects.filter(message_id=message_id("a")).count() == 2

    def test_events_of_another_conversations_run_change_nothing(self, kept: Kept) -> None:
        other = Kept(kept.user_id)
        kept.send("a")
        other.send("a")
        before = kept.rows()
        assert isinstance(kept.commit(talk.completed(other.run)), Refused)
        assert kept.rows() == before

    # At the same time

    def test_the_same_message_from_many_sides_at_once_is_one_message(self, kept: Kept) -> None:
        results = self.at_once(kept, [sent("a")] * 8)
        assert sorted(type(result).__name__ for result in results) == ["Committed"] + ["Repeated"] * 7
        assert models.Message.objects.filter(message_id=message_id("a")).count() == 1

    def test_events_from_many_sides_at_once_come_one_after_the_other(self, kept: Kept) -> None:
        results = self.at_once(kept, [sent(f"message {number}") for number in range(8)])
        seqs = sorted(result.announcement.seq for result in results if isinstance(result, Committed))
        assert seqs == list(range(2, 10))
        assert len(codec.decode_snapshot(kept.row.snapshot).queue) == 7
        assert replay.check(kept.conversation_id) == (9, [])

    def at_once(self, kept: Kept, events: list[MessageSubmitted]) -> list[Committed | Repeated | Refused]:
        gate = Barrier(len(events))

        def send(event: MessageSubmitted) -> Committed | Repeated | Refused:
            try:
                gate.wait(timeout=20)
                return commit(kept.conversation_id, event, actor_id=None, process_id=OWNER)
            finally:
                connections.close_all()

        with ThreadPoolExecutor(len(events)) as threads:
            return list(threads.map(send, events))

    # What it costs

    def test_a_step_takes_as_many_queries_in_turn_300_as_in_turn_1(self, kept: Kept) -> None:
        # The first answer of a day opens the count of its tokens.
        self.queries_of_a_turn(kept, "opening")
        first = self.queries_of_a_turn(kept, "first")
        size = len(kept.row.snapshot)
        for turn in range(300):
            kept.send(f"turn {turn}")
            kept.complete()
        assert self.queries_of_a_turn(kept, "first") == first
        # Only the counters have more digits.
        assert len(kept.row.snapshot) - size < 10

    def queries_of_a_turn(self, kept: Kept, name: str) -> list[int]:
        counts = []
        turn = uuid.uuid4().hex[:8]
        for event in (
            lambda: sent(f"{turn} a"),
            lambda: sent(f"{turn} b"),
            lambda: talk.started(kept.run),
            lambda: talk.completed(kept.run),
            lambda: talk.stopped(None),
            lambda: talk.interrupted(kept.run),
        ):
            with CaptureQueriesContext(connection) as queries:
                kept.take(event())
            counts.append(len(queries))
        assert max(counts) <= 20
        return counts
