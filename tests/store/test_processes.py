"""Whose runs are lost, and whose are not."""

from __future__ import annotations

import os
import socket
import uuid
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db.models.functions import Now

from chat import models
from chat.core.calls import Policy
from chat.core.ids import RunId
from chat.store import processes, reads
from chat.store.processes import Lost, LostCall, LostGeneration
from tests.core import talk
from tests.store.kept import Kept, make_user, said_in

HERE = uuid.UUID("00000000-0000-4000-8000-0000000000aa")
THERE = uuid.UUID("00000000-0000-4000-8000-0000000000bb")


def fall_silent(process_id: uuid.UUID, *, for_s: float) -> None:
    """That process was last heard of so long ago."""
    models.Process.objects.filter(id=process_id).update(beat_at=Now() - timedelta(seconds=for_s))


def heard() -> set[uuid.UUID]:
    return {known.process_id for known in processes.known(silent_for_s=10) if known.is_heard}


def lost(*alive: uuid.UUID) -> list[Lost]:
    """What is lost as long as these live, and all that were heard of."""
    return processes.lost_orders({*alive, *heard()}, with_unclaimed=False)


@pytest.mark.django_db(transaction=True)
class TestProcesses:
    @pytest.fixture
    def kept(self) -> Kept:
        """A conversation whose run is performed there."""
        processes.beat(HERE, kind="server")
        processes.beat(THERE, kind="server")
        kept = Kept(make_user())
        kept.take(talk.sent("a"), owner=THERE)
        return kept

    def generation(self, kept: Kept, *, text: str = "", generation_no: int = 1) -> LostGeneration:
        return LostGeneration(
            conversation_id=kept.conversation_id,
            run_id=kept.run.run_id,
            generation_no=generation_no,
            text=text,
            loss_count=0,
        )

    def test_a_run_whose_process_lives_is_not_lost(self, kept: Kept) -> None:
        assert lost(HERE) == []
        fall_silent(THERE, for_s=5)
        assert lost(HERE) == []

    def test_a_run_whose_process_is_silent_is_lost_with_what_was_saved(self, kept: Kept) -> None:
        kept.save_text(kept.run, "so far")
        fall_silent(THERE, for_s=11)
        assert lost(HERE) == [self.generation(kept, text="so far")]

    def test_a_process_that_is_heard_of_again_has_its_runs_back(self, kept: Kept) -> None:
        fall_silent(THERE, for_s=11)
        processes.beat(THERE, kind="server")
        assert lost(HERE) == []

    def test_a_process_that_said_goodbye_leaves_its_runs_at_once(self, kept: Kept) -> None:
        processes.say_goodbye(THERE)
        assert lost(HERE) == [self.generation(kept)]

    def test_the_runs_of_a_process_that_was_never_heard_of_are_lost(self, kept: Kept) -> None:
        models.Process.objects.all().delete()
        assert lost(HERE) == [self.generation(kept)]

    def test_a_process_never_loses_its_own_runs(self, kept: Kept) -> None:
        fall_silent(THERE, for_s=1_000)
        assert lost(THERE) == []

    def test_a_run_that_is_taken_over_belongs_to_whoever_took_it(self, kept: Kept) -> None:
        fall_silent(THERE, for_s=11)
        kept.take(talk.lost(kept.run), owner=HERE)
        assert lost(HERE) == []
        processes.say_goodbye(HERE)
        [order] = lost()
        assert isinstance(order, LostGeneration)
        assert (order.generation_no, order.loss_count) == (2, 1)

    def test_the_order_after_a_tool_counts_as_no_loss(self, kept: Kept) -> None:
        kept.take(talk.completed(kept.run, calls=(talk.proposal(policy=Policy.AUTO),)), owner=THERE)
        kept.take(talk.claimed(kept.call()), owner=THERE)
        kept.take(talk.ended(kept.call()), owner=THERE)
        processes.say_goodbye(THERE)
        [order] = lost()
        assert isinstance(order, LostGeneration)
        assert (order.generation_no, order.loss_count) == (2, 0)

    def test_a_run_that_has_ended_is_not_lost(self, kept: Kept) -> None:
        kept.complete()
        processes.say_goodbye(THERE)
        assert lost(HERE) == []

    def test_text_of_an_order_that_was_taken_over_is_not_saved(self, kept: Kept) -> None:
        old = kept.run
        kept.take(talk.lost(old), owner=HERE)
        for generation_no, is_saved in ((1, False), (2, True), (3, False)):
            assert kept.save_text(old, f"of {generation_no}", generation_no=generation_no) is is_saved
        assert said_in(kept.conversation_id)[0][1].content == "of 2"
        kept.complete("All of it.")
        assert not kept.save_text(old, "late", generation_no=2)
        assert said_in(kept.conversation_id)[0][1].content == "All of it."

    def test_runs_that_somebody_stops_are_told_to_their_process_only(self, kept: Kept) -> None:
        assert processes.stopping_runs(THERE) == set()
        kept.take(talk.stopped(None))
        assert processes.stopping_runs(THERE) == {RunId(kept.run.run_id)}
        assert processes.stopping_runs(HERE) == set()
        kept.take(talk.interrupted(kept.run))
        assert processes.stopping_runs(THERE) == set()

    def test_processes_are_forgotten_a_day_after_their_last_run(self, kept: Kept) -> None:
        fall_silent(THERE, for_s=2 * 86_400)
        processes.beat(uuid.uuid4(), kind="server")
        assert models.Process.objects.filter(id=THERE).exists()
        kept.complete()
        processes.beat(uuid.uuid4(), kind="server")
        assert not models.Process.objects.filter(id=THERE).exists()
        assert models.Process.objects.filter(id=HERE).exists()

    # Tool calls

    def lost_call(self, kept: Kept, *, execution_no: int = 1, output: str = "") -> LostCall:
        return LostCall(
            conversation_id=kept.conversation_id,
            run_id=kept.run.run_id,
            call_id=kept.call().call_id,
            execution_no=execution_no,
            tool="act",
            output=output,
        )

    @pytest.mark.parametrize("is_claimed", [True, False])
    def test_an_order_to_a_tool_is_lost_with_its_process_claimed_or_not(self, kept: Kept, is_claimed: bool) -> None:
        kept.take(talk.completed(kept.run, calls=(talk.proposal(policy=Policy.AUTO),)), owner=THERE)
        if is_claimed:
            kept.take(talk.claimed(kept.call()), owner=THERE)
        assert lost(HERE) == []
        assert lost(THERE) == []
        fall_silent(THERE, for_s=11)
        assert lost(HERE) == [self.lost_call(kept)]
        processes.say_goodbye(THERE)
        assert lost(HERE) == [self.lost_call(kept)]

    def test_a_lost_call_has_what_it_had_printed(self, kept: Kept) -> None:
        kept.take(talk.completed(kept.run, calls=(talk.proposal(policy=Policy.AUTO),)), owner=THERE)
        kept.take(talk.claimed(kept.call()), owner=THERE)
        reads.save_output(kept.call().call_id, execution_no=1, output="so far")
        processes.say_goodbye(THERE)
        assert lost(HERE) == [self.lost_call(kept, output="so far")]

    def test_a_run_that_waits_for_a_person_can_not_be_lost(self, kept: Kept) -> None:
        kept.take(talk.completed(kept.run, calls=(talk.proposal(),)), owner=THERE)
        processes.say_goodbye(THERE)
        assert lost(HERE) == []

    def test_an_approved_call_belongs_to_whoever_took_the_decision(self, kept: Kept) -> None:
        kept.take(talk.completed(kept.run, calls=(talk.proposal(), talk.proposal())), owner=THERE)
        kept.take(replace(talk.approved(kept.call()), user_id=kept.user_id), owner=HERE)
        processes.say_goodbye(THERE)
        assert lost(HERE) == []
        processes.say_goodbye(HERE)
        assert lost(THERE) == [self.lost_call(kept)]

    def test_a_call_whose_order_was_given_anew_belongs_to_whoever_gave_it(self, kept: Kept) -> None:
        kept.take(talk.completed(kept.run, calls=(talk.proposal(policy=Policy.AUTO),)), owner=THERE)
        processes.say_goodbye(THERE)
        kept.take(talk.lost_call(kept.call()), owner=HERE)
        assert lost(HERE) == []
        processes.say_goodbye(HERE)
        assert lost() == [self.lost_call(kept, execution_no=2)]

    @pytest.mark.parametrize("outcome", ["succeeded", "unknown"])
    def test_a_call_that_has_ended_or_is_unknown_is_not_lost(self, kept: Kept, outcome: str) -> None:
        kept.take(talk.completed(kept.run, calls=(talk.proposal(policy=Policy.AUTO), talk.proposal())), owner=THERE)
        kept.take(talk.claimed(kept.call()), owner=THERE)
        kept.take(talk.lost_call(kept.call()) if outcome == "unknown" else talk.ended(kept.call()), owner=HERE)
        processes.say_goodbye(THERE)
        assert lost(HERE) == []

    def test_the_process_that_runs_a_tool_is_told_that_its_run_is_being_stopped(self, kept: Kept) -> None:
        kept.take(talk.completed(kept.run, calls=(talk.proposal(),)), owner=THERE)
        kept.take(replace(talk.approved(kept.call()), user_id=kept.user_id), owner=HERE)
        kept.take(talk.stopped(None), owner=THERE)
        assert kept.run.run_id in processes.stopping_runs(HERE)
        kept.take(talk.ended(kept.call(), "stopped", is_claimed=False))
        assert processes.stopping_runs(HERE) == set()

    def test_an_order_that_nobody_has_taken_is_lost_only_where_there_is_nobody_to_take_it(self, kept: Kept) -> None:
        models.Run.objects.update(owner=None)
        assert processes.lost_orders({HERE, THERE}, with_unclaimed=False) == []
        assert processes.lost_orders({HERE, THERE}, with_unclaimed=True) == [self.generation(kept)]

    def test_a_process_is_known_by_what_it_does_and_where_it_runs(self, kept: Kept) -> None:
        row = models.Process.objects.get(id=HERE)
        assert (row.kind, row.host, row.pid) == ("server", socket.gethostname(), os.getpid())
        fall_silent(THERE, for_s=11)
        assert {known.process_id: known.is_heard for known in processes.known(silent_for_s=10)} == {
            HERE: True,
            THERE: False,
        }
