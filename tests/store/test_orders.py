"""What workers look for: orders that nobody has taken."""

from __future__ import annotations

import uuid

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chat import models
from chat.core.calls import Policy
from chat.core.effects import Order, StartGeneration
from chat.core.events import Event
from chat.core.state import Refusal, Refused
from chat.store import orders
from chat.store.commits import Committed, Repeated, commit
from tests.core import talk
from tests.store.kept import OWNER, Kept, make_user
from tests.store.test_texts import answering

pytestmark = pytest.mark.django_db(transaction=True)


def test_each_run_that_nobody_has_is_found_with_its_answer_and_in_as_many_queries_as_one() -> None:
    user_id, counts = make_user(), []
    for number in (1, 20):
        kept = answering(number, user_id)
        models.Run.objects.update(owner=None)
        with CaptureQueriesContext(connection) as queries:
            found = orders.untaken()
        counts.append(len(queries))
        wanted = {
            StartGeneration(run_id=one.run.run_id, generation_no=1, message_id=one.run.answer.message_id)
            for one in kept
        }
        assert wanted <= {order for _, order in found}
    assert counts == [2, 2]


def test_of_a_call_that_was_left_for_workers_only_the_one_that_claimed_it_says_how_it_ended() -> None:
    kept, left = Kept(make_user()), list[Order]()
    mine, another = OWNER, uuid.uuid4()

    def apply(event: Event, process_id: uuid.UUID) -> Committed | Repeated | Refused:
        return commit(
            kept.conversation_id,
            event,
            actor_id=None,
            process_id=process_id,
            hand_over=lambda row, given: left.extend(given),
        )

    kept.send("a")
    apply(talk.completed(kept.run, calls=(talk.proposal("do", policy=Policy.AUTO),)), mine)
    call = kept.call()
    assert [order.call_id for order in left if not isinstance(order, StartGeneration)] == [call.call_id]
    assert isinstance(apply(talk.claimed(call), mine), Committed)
    for event in (talk.claimed(call), talk.ended(call)):
        refused = apply(event, another)
        assert isinstance(refused, Refused)
        assert refused.code is Refusal.LATE
    assert isinstance(apply(talk.ended(call), mine), Committed)
