"""The rows of tool calls: what each step writes, what is saved in between, and what is damage. On every database."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from uuid import UUID

import msgspec
import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from chat import codec, models
from chat.core.calls import Artifact, CallState, Choice, Decision, Policy, Proposal, Scope
from chat.core.effects import RunTool, StartGeneration
from chat.core.events import Event
from chat.core.ids import ArtifactId
from chat.core.messages import Delivery
from chat.core.permissions import Decided
from chat.core.state import Refusal, Refused
from chat.store import reads, replay
from chat.store.commits import Committed, Repeated, commit
from chat.store.rows import when
from tests.core import talk
from tests.core.talk import NOW_MS
from tests.store.kept import OWNER, Kept, make_user, message_id, said_in, sent

OTHER = uuid.UUID("00000000-0000-4000-8000-0000000000bb")
ASK, AUTO = talk.proposal(), talk.proposal("do", policy=Policy.AUTO)
A_FILE = Artifact(artifact_id=ArtifactId(UUID(int=1)), name="plot.png", mime="image/png", size=7)


def calling(kept: Kept, *proposals: Proposal) -> None:
    """The model has answered `a` with these calls."""
    kept.send("a")
    kept.take(talk.completed(kept.run, calls=proposals))


def row(number: int = 1) -> models.ToolCall:
    return models.ToolCall.objects.get(number=number)


def by(kept: Kept, event: Decided) -> Event:
    """The same, decided by the conversation's owner."""
    return replace(event, user_id=kept.user_id)


def wrong(kept: Kept) -> list[str]:
    return replay.check(kept.conversation_id)[1]


@pytest.mark.django_db(transaction=True)
class TestCalls:
    @pytest.fixture
    def kept(self) -> Kept:
        return Kept(make_user())

    def test_a_call_is_a_row_that_reads_as_it_was(self, kept: Kept) -> None:
        calling(kept, ASK, AUTO)
        assert [models.ToolCall.objects.count(), kept.row.phase] == [2, "awaiting_approval"]
        _, calls = said_in(kept.conversation_id)
        assert tuple(calls[kept.run.answer.message_id]) == kept.state.calls == kept.announcement.calls
        assert (row(1).state, row(1).owner, row(1).decided_by) == ("proposed", None, None)
        assert (row(2).state, row(2).owner, row(2).execution_no) == ("approved", OWNER, 1)
        assert reads.call(kept.conversation_id, kept.call().call_id) == kept.call()
        assert reads.call(Kept(kept.user_id).conversation_id, kept.call().call_id) is None

    def test_a_decision_is_kept_with_who_made_it_and_the_order_belongs_to_who_took_it(self, kept: Kept) -> None:
        calling(kept, ASK)
        event = by(kept, talk.approved(kept.call(), arguments='{"n":2}', scope=Scope.CONVERSATION))
        result = kept.commit(event, actor_id=kept.user_id, owner=OTHER)
        assert isinstance(result, Committed)
        [order] = result.effects
        assert isinstance(order, RunTool)
        stored = row()
        assert (stored.state, stored.owner, stored.decided_by_id) == ("approved", OTHER, kept.user_id)
        assert (stored.proposed_arguments, stored.arguments) == ('{"n":1}', '{"n":2}')
        assert kept.call().decision == Decision(
            user_id=kept.user_id, scope=Scope.CONVERSATION, reason="", at_ms=NOW_MS + 10
        )
        assert codec.decode_snapshot(kept.row.snapshot).allowed_tools == ("act",)
        assert models.Event.objects.get(conversation=kept.row, seq=kept.row.seq).actor_id == kept.user_id

    def test_a_call_is_written_through_to_its_end(self, kept: Kept) -> None:
        calling(kept, AUTO)
        kept.take(talk.claimed(kept.call()))
        assert (row().state, row().started_at is None) == ("running", False)
        kept.take(talk.ended(kept.call(), "succeeded", "a chart", artifacts=(A_FILE,)))
        call = kept.call()
        assert (call.state, call.output, call.result, call.artifacts) == (
            CallState.SUCCEEDED,
            "printed",
            "a chart",
            (A_FILE,),
        )
        assert models.ToolCall.objects.count() == 1
        assert row().changed_seq == kept.row.seq
        assert (kept.row.phase, kept.run.generation_no) == ("generating", 2)
        assert models.Run.objects.get().generation_no == 2

    def test_rows_never_hold_more_calls_than_were_made_whatever_becomes_of_them(self, kept: Kept) -> None:
        calling(kept, AUTO)
        kept.take(talk.claimed(kept.call()))
        kept.take(talk.lost_call(kept.call()))
        assert row().state == "unknown"
        kept.take(by(kept, talk.resolved(kept.call(), Choice.RUN_AGAIN)), owner=OTHER)
        assert (row().state, row().execution_no, row().owner, row().result) == ("approved", 2, OTHER, "")
        kept.take(talk.claimed(kept.call()), talk.lost_call(kept.call()))
        kept.take(by(kept, talk.resolved(kept.call(), Choice.CONTINUE)))
        assert (row().state, row().is_settled, models.ToolCall.objects.count()) == ("unknown", True, 1)
        assert wrong(kept) == []

    def test_a_run_that_is_stopped_among_its_calls_is_closed(self, kept: Kept) -> None:
        calling(kept, ASK)
        kept.take(talk.stopped(None))
        run = models.Run.objects.get()
        assert (run.ended_at is None, run.outcome, row().state) == (False, "interrupted", "stopped")
        assert wrong(kept) == []

    def test_a_run_whose_model_calls_tools_while_it_is_stopped_has_ended_as_stopped(self, kept: Kept) -> None:
        kept.send("a")
        run = kept.run
        kept.take(talk.stopped(None), talk.completed(run, calls=(ASK,)))
        assert (models.Run.objects.get().outcome, row().state) == ("interrupted", "stopped")
        assert wrong(kept) == []

    def test_a_message_that_joins_is_written_before_the_next_answer(self, kept: Kept) -> None:
        calling(kept, AUTO)
        kept.take(talk.claimed(kept.call()), sent("s", delivery=Delivery.STEER))
        result = kept.commit(talk.ended(kept.call()))
        assert isinstance(result, Committed)
        assert [type(effect) for effect in result.effects] == [StartGeneration]
        transcript, _ = said_in(kept.conversation_id)
        assert [message.content for message in transcript] == ["a", "An answer.", "s", ""]
        assert not models.QueuedMessage.objects.exists()
        assert models.Run.objects.count() == 1
        assert wrong(kept) == []

    def test_files_go_with_a_waiting_message_and_into_the_transcript(self, kept: Kept) -> None:
        kept.send("a")
        event = replace(sent("b"), attachments=(A_FILE,))
        refused = kept.commit(event)
        assert isinstance(refused, Refused)
        assert refused.code is Refusal.NOT_FOUND
        models.Artifact.objects.create(
            id=A_FILE.artifact_id, conversation=kept.row, name="plot.png", size=7, created_at=when(NOW_MS)
        )
        kept.take(event)
        assert wrong(kept) == []
        models.QueuedMessage.objects.update(attachments=[])
        assert wrong(kept) == ["the queue's rows are not what the log says"]
        models.QueuedMessage.objects.update(attachments=[msgspec.to_builtins(A_FILE)])
        kept.complete()
        assert said_in(kept.conversation_id)[0][2].attachments == (A_FILE,)
        assert wrong(kept) == []

    def test_what_is_refused_writes_nothing(self, kept: Kept) -> None:
        calling(kept, ASK)
        other = Kept(kept.user_id)
        calling(other, ASK)
        before = kept.rows()
        for event, code in (
            (talk.approved(kept.call(), digest="0" * 64), Refusal.WRONG_DIGEST),
            (talk.approved(other.call()), Refusal.NOT_FOUND),
            (talk.resolved(kept.call(), Choice.RUN_AGAIN), Refusal.ALREADY_DECIDED),
            (talk.claimed(kept.call()), Refusal.LATE),
            (talk.ended(other.call()), Refusal.LATE),
        ):
            result = kept.commit(event, actor_id=kept.user_id)
            assert isinstance(result, Refused)
            assert result.code is code
        assert kept.rows() == before

    # At the same time

    def test_a_yes_from_many_sides_at_once_is_one_order(self, kept: Kept) -> None:
        calling(kept, ASK)
        event = by(kept, talk.approved(kept.call()))
        results = self.at_once(kept, event)
        assert sorted(type(result).__name__ for result in results) == ["Committed"] + ["Refused"] * 7
        assert (row().execution_no, models.Event.objects.filter(name="tool_approved").count()) == (1, 1)

    def test_a_claim_from_many_sides_at_once_is_granted_once(self, kept: Kept) -> None:
        calling(kept, AUTO)
        results = self.at_once(kept, talk.claimed(kept.call()))
        assert sorted(type(result).__name__ for result in results) == ["Committed"] + ["Refused"] * 7

    def at_once(self, kept: Kept, event: Event) -> list[Committed | Repeated | Refused]:
        gate = Barrier(8)

        def apply(_: int) -> Committed | Repeated | Refused:
            try:
                gate.wait(timeout=20)
                return commit(kept.conversation_id, event, actor_id=None, process_id=OWNER)
            finally:
                connections.close_all()

        with ThreadPoolExecutor(8) as threads:
            return list(threads.map(apply, range(8)))

    # Output in flight

    def test_output_is_saved_only_while_the_call_runs_and_only_by_its_own_execution(self, kept: Kept) -> None:
        calling(kept, AUTO)
        name = kept.call().call_id
        reads.save_output(name, execution_no=1, output="too early")
        assert row().output == ""
        kept.take(talk.claimed(kept.call()))
        reads.save_output(name, execution_no=1, output="so far")
        reads.save_output(name, execution_no=2, output="of another")
        reads.save_output(kept.run.run_id, execution_no=1, output="of none")  # type: ignore[arg-type]
        assert row().output == "so far"
        assert wrong(kept) == []
        kept.take(talk.ended(kept.call()))
        reads.save_output(name, execution_no=1, output="too late")
        assert row().output == "printed"
        assert wrong(kept) == []

    def test_the_view_has_the_calls_of_its_messages_and_those_that_changed(self, kept: Kept) -> None:
        calling(kept, ASK, AUTO)
        seq = kept.row.seq
        view = reads.view(kept.conversation_id, limit=50)
        assert [call.number for call in view.calls] == [1, 2]
        kept.take(talk.claimed(kept.call(2)))
        newer = reads.view(kept.conversation_id, limit=50, changed_after=seq)
        assert [(call.number, call.state.value) for call in newer.calls] == [(2, "running")]
        assert newer.messages == ()

    # Damage

    @pytest.mark.parametrize(
        ("damage", "words"),
        [
            (lambda: models.ToolCall.objects.filter(number=1).update(state="approved"), "is not what the log says"),
            (lambda: models.ToolCall.objects.filter(number=1).update(arguments="{}"), "is not what the log says"),
            (lambda: models.ToolCall.objects.filter(number=2).update(execution_no=2), "is not what the log says"),
            (lambda: models.ToolCall.objects.filter(number=2).update(is_settled=True), "is not what the log says"),
            (lambda: models.ToolCall.objects.filter(number=2).update(result="a lie"), "is not what the log says"),
            (lambda: models.ToolCall.objects.filter(number=3).update(output="a lie"), "is not what the log says"),
            (lambda: models.ToolCall.objects.filter(number=3).update(result="a lie"), "is not what the log says"),
            (lambda: models.ToolCall.objects.filter(number=3).update(artifacts=[]), "is not what the log says"),
            (lambda: models.ToolCall.objects.filter(number=3).update(tool="other"), "is not what the log says"),
            (lambda: models.ToolCall.objects.filter(number=4).update(decision_reason="x"), "is not what the log says"),
            (lambda: models.ToolCall.objects.filter(number=4).update(decided_at=None), "is not what the log says"),
            (lambda: models.ToolCall.objects.filter(number=4).delete(), "is not what the log says"),
            (
                lambda: models.ToolCall.objects.filter(number=4).update(message_id=uuid.uuid4()),
                "is not what the log says",
            ),
            (
                lambda: models.ToolCall.objects.create(
                    id=uuid.uuid4(),
                    conversation=models.Conversation.objects.get(),
                    message_id=uuid.uuid4(),
                    run_id=uuid.uuid4(),
                    number=1,
                    tool="act",
                    proposed_arguments="{}",
                    arguments="{}",
                    state="proposed",
                    is_settled=False,
                    execution_no=0,
                    changed_seq=1,
                    proposed_at=models.Conversation.objects.get().created_at,
                ),
                "is not in the log",
            ),
            (
                lambda: models.Conversation.objects.update(
                    snapshot=models.Conversation.objects.get().snapshot.replace(
                        '"state":"proposed"', '"state":"approved"'
                    )
                ),
                "the stored snapshot is not what the log says",
            ),
            (
                lambda: models.Event.objects.filter(name="tool_ended").update(
                    payload=models.Event.objects.get(name="tool_ended").payload.replace("a chart", "a lie")
                ),
                "is not what the log says",
            ),
            (lambda: models.Event.objects.filter(name="tool_started").delete(), "is missing"),
            (
                lambda: models.Event.objects.filter(name="tool_approved").update(
                    payload=models.Event.objects.get(name="tool_approved").payload.replace('"digest":"', '"digest":"0')
                ),
                "is refused",
            ),
        ],
    )
    def test_each_kind_of_damage_is_found(self, kept: Kept, damage: Callable[[], object], words: str) -> None:
        calling(kept, ASK, AUTO, ASK, ASK)
        kept.take(by(kept, talk.approved(kept.call(3))))
        kept.take(talk.claimed(kept.call(3)))
        kept.take(talk.ended(kept.call(3), "succeeded", "a chart", artifacts=(A_FILE,)))
        kept.take(by(kept, talk.rejected(kept.call(4), "No.")))
        assert wrong(kept) == []
        damage()
        assert any(words in line for line in wrong(kept)), wrong(kept)

    # What it costs

    def test_a_call_costs_as_many_queries_in_turn_100_as_in_turn_1(self, kept: Kept) -> None:
        # The first answer of a day opens the count of its tokens.
        self.queries_of_a_turn(kept)
        first, size = self.queries_of_a_turn(kept), len(kept.row.snapshot)
        for _ in range(100):
            self.queries_of_a_turn(kept)
        assert self.queries_of_a_turn(kept) == first
        assert len(kept.row.snapshot) - size < 20

    def queries_of_a_turn(self, kept: Kept) -> list[int]:
        name = uuid.uuid4().hex[:8]
        counts = []
        events: tuple[Callable[[], Event], ...] = (
            lambda: sent(name),
            lambda: talk.completed(kept.run, calls=(ASK, AUTO)),
            lambda: by(kept, talk.approved(kept.state.calls[0])),
            lambda: talk.claimed(kept.state.calls[0]),
            lambda: talk.claimed(kept.state.calls[1]),
            lambda: talk.ended(kept.state.calls[0]),
            lambda: talk.ended(kept.state.calls[1]),
            lambda: talk.completed(kept.run),
        )
        for event in events:
            made = event()
            with CaptureQueriesContext(connection) as queries:
                kept.take(made)
            counts.append(len(queries))
        assert max(counts) <= 20
        return counts

    def test_the_same_message_twice_during_tools_is_one(self, kept: Kept) -> None:
        calling(kept, ASK)
        kept.send("b")
        assert isinstance(kept.commit(sent("b")), Repeated)
        assert models.QueuedMessage.objects.filter(message_id=message_id("b")).count() == 1
