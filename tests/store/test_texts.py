"""What answers have so far is kept for many streams at once."""

from __future__ import annotations

import random
import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from chat.store import texts
from chat.store.texts import Checkpoint
from tests.core import talk
from tests.store.kept import Kept, make_user, said_in

pytestmark = pytest.mark.django_db(transaction=True)

SAVES = 20


def answering(count: int, user_id: int | None = None) -> list[Kept]:
    """So many conversations in which an answer streams."""
    user_id = user_id or make_user()
    kept = [Kept(user_id) for _ in range(count)]
    for one in kept:
        one.send("a")
    return kept


def checkpoint(kept: Kept, text: str) -> Checkpoint:
    return Checkpoint(
        conversation_id=kept.conversation_id,
        message_id=kept.run.answer.message_id,
        run_id=kept.run.run_id,
        generation_no=1,
        text=text,
        reasoning="",
    )


def texts_of(kept: list[Kept]) -> list[str]:
    return [said_in(one.conversation_id)[0][1].content for one in kept]


def test_each_answer_gets_its_own_text_and_one_that_has_ended_keeps_what_it_has() -> None:
    kept = answering(3)
    wanted = [checkpoint(one, f"text {number}") for number, one in enumerate(kept)]
    kept[1].complete("All of it.")
    assert texts.save(wanted) == [True, False, True]
    assert texts_of(kept) == ["text 0", "All of it.", "text 2"]


def test_a_conversation_that_asks_again_meanwhile_does_not_hold_up_the_others() -> None:
    kept = answering(2)
    wanted = [checkpoint(one, "old") for one in kept]
    kept[0].take(talk.lost(kept[0].run))
    assert texts.save(wanted) == [False, True]
    assert texts_of(kept) == ["", "old"]


def test_many_streams_take_few_queries_which_are_the_same_for_more() -> None:
    user_id, told = make_user(), []
    for number in (1, texts.ROWS_AT_A_TIME, 2 * texts.ROWS_AT_A_TIME):
        kept = answering(number, user_id)
        with CaptureQueriesContext(connection) as queries:
            assert texts.save([checkpoint(one, "so far") for one in kept]) == [True] * number
        assert texts_of(kept) == ["so far"] * number
        told.append([re.sub(r"'[^']*'", "?", query["sql"]) for query in queries])
    assert len(told[0]) == len(told[1])
    assert set(told[1]) == set(told[2])


def test_whoever_saves_the_same_answers_in_any_order_while_they_end_waits_for_nobody_for_ever() -> None:
    kept = answering(3 * texts.ROWS_AT_A_TIME)
    wanted = [checkpoint(one, "so far") for one in kept]

    def save(chance: random.Random) -> None:
        with closing(connection):
            for _ in range(SAVES):
                texts.save(chance.sample(wanted, len(wanted)))

    def end(some: list[Kept]) -> None:
        with closing(connection):
            for one in some:
                one.complete("All of it.")

    with ThreadPoolExecutor() as pool:
        working = [pool.submit(save, random.Random(seed)) for seed in range(3)]
        working += [pool.submit(end, kept[start::2]) for start in range(2)]
        for one in working:
            one.result()
    assert texts_of(kept) == ["All of it."] * len(kept)
