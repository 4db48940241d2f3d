from __future__ import annotations

import uuid

from chat.core.ids import OWN_VERSION, ConversationId, answer_id, run_id

CONVERSATION = ConversationId(uuid.UUID("6f9619ff-8b86-4d01-b42d-00cf4fc964ff"))


def test_ids_follow_from_what_is_known_and_never_change() -> None:
    run = run_id(CONVERSATION, 1)
    assert str(run) == "4a5c65c6-b88d-80dc-a7c7-caa5fc1fb1c9"
    assert str(answer_id(run, 1)) == "17b8f03a-af8a-8909-9eb0-8c8799ea28e9"


def test_no_two_runs_or_answers_have_the_same_id() -> None:
    other = ConversationId(uuid.uuid4())
    runs = [run_id(conversation, number) for conversation in (CONVERSATION, other) for number in range(1, 200)]
    answers = [answer_id(run, number) for run in runs for number in (1, 2)]
    assert len({*runs, *answers}) == len(runs) + len(answers)


def test_the_ids_of_answers_are_of_a_version_that_no_client_may_use() -> None:
    answer = answer_id(run_id(CONVERSATION, 1), 1)
    assert answer.version == OWN_VERSION
    assert answer.variant == uuid.RFC_4122
