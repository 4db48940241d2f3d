"""What is remembered of a conversation is what the database holds."""

from __future__ import annotations

from random import Random
from uuid import uuid4

import pytest

from chat.core.calls import CallState, ToolCall
from chat.core.ids import CallId, MessageId, RunId
from chat.core.messages import Message, MessageState, Role
from chat.store import erasure, transcripts
from chat.store.transcripts import CHARACTERS_EACH, KEPT_MAX_CHARACTERS, KEPT_S, LONG_MESSAGES, Transcript, Transcripts
from tests.core.talk import NOW_MS
from tests.core.wandering import wander
from tests.core.world import World
from tests.store.kept import Kept, make_user

pytestmark = pytest.mark.django_db(transaction=True)


def same(known: Transcript, kept: Kept) -> bool:
    now = transcripts.read(kept.conversation_id)
    return (known.messages, known.calls) == (now.messages, now.calls)


@pytest.mark.parametrize("seed", range(10))
def test_what_changed_since_makes_it_whole_again_whatever_happened(seed: int) -> None:
    kept, random = Kept(make_user()), Random(seed)
    world = World(step=kept.step, user_id=kept.user_id)
    world.start()
    known = transcripts.read(kept.conversation_id, as_of=kept.row.seq)
    for _ in range(12):
        wander(world, random, steps=random.randrange(1, 15))
        known = transcripts.read(kept.conversation_id, as_of=kept.row.seq, known=known)
        assert same(known, kept)


def test_text_that_grew_without_an_event_is_read_again() -> None:
    kept = Kept(make_user())
    kept.send("a")
    known = transcripts.read(kept.conversation_id, as_of=kept.row.seq)
    kept.save_text(kept.run, "so far")
    known = transcripts.read(kept.conversation_id, as_of=kept.row.seq, known=known)
    assert known.messages[-1].content == "so far"


def test_what_was_erased_is_not_remembered() -> None:
    kept = Kept(make_user())
    kept.send("a")
    kept.complete("A secret.")
    known = transcripts.read(kept.conversation_id, as_of=kept.row.seq)
    erasure.erase(kept.conversation_id, by="", remove_folder=lambda: None)
    assert same(transcripts.read(kept.conversation_id, as_of=kept.row.seq, known=known), kept)


class Memory:
    """Transcripts over conversations of so many messages, and which of them had to be read whole."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.whole: list[str] = []
        self.length = LONG_MESSAGES
        self.text = "x"
        self.result = ""
        self.transcripts = Transcripts(read=self.read, clock=lambda: self.now_s)

    def read(self, conversation_id: str, *, as_of: int, known: Transcript | None) -> Transcript:
        if known is None:
            self.whole.append(conversation_id)
        message = Message(
            message_id=MessageId(uuid4()),
            position=1,
            role=Role.USER,
            state=MessageState.COMPLETE,
            content=self.text,
            created_at_ms=NOW_MS,
            ended_at_ms=NOW_MS,
        )
        call = ToolCall(
            call_id=CallId(uuid4()),
            message_id=message.message_id,
            run_id=RunId(uuid4()),
            number=1,
            provider_id="",
            tool="run_shell",
            proposed_arguments="{}",
            arguments="{}",
            state=CallState.SUCCEEDED,
            result=self.result,
            proposed_at_ms=NOW_MS,
        )
        calls = {message.message_id: [call]} if self.result else {}
        return Transcript(messages=(message,) * self.length, calls=calls, as_of=as_of)

    async def ask(self, *names: str) -> list[str]:
        self.whole.clear()
        for name in names:
            await self.transcripts.read(name, as_of=1)  # type: ignore[arg-type]
        return list(self.whole)


async def test_a_long_one_is_remembered_for_a_while() -> None:
    memory = Memory()
    assert await memory.ask("a", "a") == ["a"]
    memory.now_s = KEPT_S - 1
    assert await memory.ask("a") == []
    memory.now_s += KEPT_S
    assert await memory.ask("b", "a") == ["b", "a"]


async def test_a_short_one_is_read_anew() -> None:
    memory = Memory()
    memory.length = LONG_MESSAGES - 1
    assert await memory.ask("a", "a") == ["a", "a"]


async def test_of_too_much_text_the_newest_is_remembered() -> None:
    memory = Memory()
    memory.text = "x" * (KEPT_MAX_CHARACTERS // LONG_MESSAGES // 2 - CHARACTERS_EACH)
    assert await memory.ask("a", "b", "c", "c", "b", "a") == ["a", "b", "c", "a"]


async def test_what_calls_brought_is_text_as_well() -> None:
    memory = Memory()
    memory.result = "x" * (KEPT_MAX_CHARACTERS // 2)
    assert await memory.ask("a", "b", "b", "a") == ["a", "b", "a"]
