"""`check` proves that the log gives the rows, and finds each way in which it does not."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from random import Random

import pytest
from django.core.management import CommandError, call_command

from chat import models
from chat.core.events import QueueItemRemoved
from chat.errors import AgentsiteError
from chat.store import replay
from tests.core import talk
from tests.core.calm import calm_down
from tests.core.talk import NOW_MS
from tests.core.wandering import wander
from tests.core.world import World
from tests.store.kept import OWNER, Kept, make_user, message_id, said_in


@pytest.fixture
def kept() -> Kept:
    """A conversation in which a message is answered, two wait, one was withdrawn and one answer failed."""
    kept = Kept(make_user())
    kept.send("a")
    kept.complete()
    kept.send("b")
    kept.take(talk.failed(kept.run))
    kept.send("c", "d", "e", "f")
    kept.take(QueueItemRemoved(message_id=message_id("e"), at_ms=NOW_MS))
    return kept


def wrong(kept: Kept) -> list[str]:
    return replay.check(kept.conversation_id)[1]


@pytest.mark.django_db(transaction=True)
class TestReplay:
    def test_a_conversation_as_it_was_written_is_clean(self, kept: Kept) -> None:
        assert replay.check(kept.conversation_id) == (10, [])
        assert list(replay.conversation_ids()) == [kept.conversation_id]

    def test_text_in_flight_is_no_difference(self, kept: Kept) -> None:
        assert kept.save_text(kept.run, "so", "f")
        assert wrong(kept) == []

    @pytest.mark.parametrize("seed", range(25))
    def test_whatever_happened_the_log_gives_the_rows(self, seed: int) -> None:
        kept = Kept(make_user())
        world = World(step=kept.step, user_id=kept.user_id)
        world.start()
        wander(world, Random(seed), steps=90)
        assert wrong(kept) == []
        calm_down(world)
        count, differences = replay.check(kept.conversation_id)
        assert (count, differences) == (len(world.log), [])
        transcript, calls = said_in(kept.conversation_id)
        assert {message.message_id: message for message in transcript} == world.ledger.messages
        stored = {call.call_id: call for made in calls.values() for call in made}
        assert stored == world.ledger.calls

    @pytest.mark.parametrize(
        ("damage", "words"),
        [
            (
                lambda: models.Event.objects.filter(seq=3).update(
                    payload=models.Event.objects.get(seq=3).payload.replace("An answer.", "A lie.")
                ),
                "is not what the log says",
            ),
            (lambda: models.Event.objects.filter(seq=3).update(payload="{}"), "event 3: The stored event"),
            (lambda: models.Event.objects.filter(seq=3).update(payload="{"), "event 3: The stored event"),
            (lambda: models.Event.objects.filter(seq=3).update(name="no_such_event"), "does not know"),
            (lambda: models.Event.objects.filter(seq=3).update(version=99), "in version 99"),
            (lambda: models.Event.objects.filter(seq=3).delete(), "event 3 is missing"),
            (lambda: models.Event.objects.filter(seq=1).delete(), "event 1 is missing"),
            (lambda: models.Event.objects.filter(seq=10).delete(), "the log ends at 9"),
            (lambda: models.Event.objects.filter(seq__gt=0).delete(), "the log is empty"),
            (
                lambda: models.Event.objects.filter(seq=10).update(
                    name="queue_resumed", payload=f'{{"at_ms":{NOW_MS}}}', seq=11
                ),
                "event 10 is missing",
            ),
            (lambda: models.Event.objects.filter(seq=10).update(name="llm_response_completed"), "event 10"),
            (lambda: models.Conversation.objects.update(seq=9), "the snapshot is of event 9"),
            (lambda: models.Conversation.objects.update(message_count=9), "message_count of the row is 9"),
            (lambda: models.Conversation.objects.update(prompt_tokens=9), "prompt_tokens of the row is 9"),
            (
                lambda: models.Conversation.objects.update(
                    snapshot=models.Conversation.objects.get().snapshot.replace('"held":null', '"held":"stopped"')
                ),
                "the stored snapshot is not what the log says",
            ),
            (lambda: models.Conversation.objects.update(snapshot="{}"), "A stored snapshot is damaged"),
            (lambda: models.Conversation.objects.update(phase="idle"), "phase, name or deletion"),
            (lambda: models.Conversation.objects.update(title="Other"), "phase, name or deletion"),
            (lambda: models.Conversation.objects.update(is_deleted=True), "phase, name or deletion"),
            (lambda: models.Message.objects.filter(position=1).update(content="other"), "is not what the log says"),
            (lambda: models.Message.objects.filter(position=2).update(state="failed"), "is not what the log says"),
            (lambda: models.Message.objects.filter(position=2).update(total_ms=9), "is not what the log says"),
            (lambda: models.Message.objects.filter(position=1).delete(), "is not what the log says"),
            (
                lambda: models.Message.objects.create(
                    conversation=models.Conversation.objects.get(),
                    message_id=uuid.uuid4(),
                    position=99,
                    role="user",
                    state="complete",
                    changed_seq=1,
                    created_at=models.Conversation.objects.get().created_at,
                ),
                "is not in the log",
            ),
            (lambda: models.QueuedMessage.objects.filter(place=0).update(content="other"), "the queue's rows"),
            (lambda: models.QueuedMessage.objects.filter(place=0).update(place=7), "the queue's rows"),
            (lambda: models.QueuedMessage.objects.filter(place=0).update(place=None), "the queue's rows"),
            (lambda: models.QueuedMessage.objects.filter(place=None).update(place=2), "the queue's rows"),
            (lambda: models.QueuedMessage.objects.filter(place=0).delete(), "the queue's rows"),
            (lambda: models.Run.objects.filter(ended_at=None).update(generation_no=2), "the active run's row"),
            (
                lambda: models.Run.objects.filter(ended_at=None).update(
                    ended_at=models.Conversation.objects.get().created_at
                ),
                "the active run's row",
            ),
            (lambda: models.Run.objects.filter(outcome="complete").delete(), "the number of runs"),
            (
                lambda: models.Run.objects.create(
                    id=uuid.uuid4(),
                    conversation=models.Conversation.objects.get(),
                    answering=uuid.uuid4(),
                    generation_no=1,
                    owner=OWNER,
                    started_at=models.Conversation.objects.get().created_at,
                    ended_at=models.Conversation.objects.get().created_at,
                ),
                "the number of runs",
            ),
        ],
    )
    def test_each_kind_of_damage_is_found(self, kept: Kept, damage: Callable[[], object], words: str) -> None:
        damage()
        assert any(words in line for line in wrong(kept)), wrong(kept)

    def test_a_conversation_that_does_not_exist_is_said(self) -> None:
        with pytest.raises(AgentsiteError, match="There is no conversation"):
            replay.check(uuid.uuid4())

    def test_the_command_counts_what_it_folded(self, kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
        Kept(kept.user_id)
        call_command("check_replay")
        assert capsys.readouterr().out == "2 conversations, 11 events, 0 differences\n"
        call_command("check_replay", conversation=kept.conversation_id)
        assert capsys.readouterr().out == "1 conversations, 10 events, 0 differences\n"

    def test_the_command_fails_on_a_difference(self, kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
        models.Message.objects.filter(position=1).update(content="other")
        with pytest.raises(SystemExit) as ended:
            call_command("check_replay")
        assert ended.value.code == 1
        found, total = capsys.readouterr().out.splitlines()
        assert found.startswith(f"{kept.conversation_id}: message {message_id('a')} is not what the log says")
        assert total == "1 conversations, 10 events, 1 differences"

    def test_the_command_fails_for_a_conversation_that_does_not_exist(self) -> None:
        with pytest.raises(CommandError, match="There is no conversation"):
            call_command("check_replay", conversation=uuid.uuid4())
