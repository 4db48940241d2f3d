"""Several processes of one site: what each reader gets of what another process does, and what heals what is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from uuid import UUID

import pytest
from channels.layers import InMemoryChannelLayer, channel_layers

from chat import flushes
from chat import relay as relays
from chat.bus import Bus
from chat.core.announcement import Announcement
from chat.core.calls import Policy
from chat.core.ids import ConversationId, RunId
from chat.core.state import Conversation
from chat.live import LiveOutput, LiveText
from chat.relay import Relay
from chat.rooms import Subscription
from tests.core.talk import Talk, proposal

USER, OTHER_USER = 7, 8
FAR_S = 20.0


class LossyLayer(InMemoryChannelLayer):  # type: ignore[misc]
    """A channel layer that can be away, and that can lose what is said without an error."""

    is_away = False
    loses: Callable[[dict[str, object]], bool] = staticmethod(lambda message: False)

    async def group_send(self, group: str, message: dict[str, object]) -> None:
        if self.is_away:
            raise OSError("the layer is away")
        if not self.loses(message):
            await super().group_send(group, message)

    async def group_add(self, group: str, channel: str) -> None:
        if self.is_away:
            raise OSError("the layer is away")
        await super().group_add(group, channel)


class Process:
    """One process of the site."""

    def __init__(self, number: int) -> None:
        self.process_id = UUID(int=number)
        self.bus = Bus(backlog_max=100)
        self.cancelled: list[RunId] = []
        self.relay = Relay(
            self.bus, process_id=self.process_id, flushes_per_second_max=1000, cancel=self.cancelled.append
        )
        self.bus.exchange = self.relay

    async def read(self, talk: Talk, *, user_id: int = USER) -> Subscription:
        return await self.bus.subscribe(conversation_id=talk.state.conversation_id, user_id=user_id)

    def write(self, talk: Talk, *, generation_no: int = 1, seq: int = 3) -> LiveText:
        return self.bus.open_text(
            talk.state.conversation_id,
            message_id=talk.run.answer.message_id,
            run_id=talk.run.run_id,
            generation_no=generation_no,
            opened_seq=seq,
        )

    def see(self, talk: Talk, *, seq: int, performer: UUID | None) -> None:
        """A reader here has read the database."""
        self.relay.copies.see(seq, talk.state, tuple(talk.ledger.messages.values()), performer)


Start = Callable[[], "asyncio.Future[Process]"]


class Site:
    """The processes, and the layer between them."""

    def __init__(self, layer: LossyLayer) -> None:
        self.layer = layer
        self.processes: list[Process] = []

    async def start(self) -> Process:
        process = Process(len(self.processes) + 1)
        self.processes.append(process)
        await process.relay.start()
        return process


@pytest.fixture
async def a_site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """Stopped when the test ends; no task may be left."""
    monkeypatch.setattr(relays, "RETRY_DELAY_S", 0.01)
    monkeypatch.setattr(relays, "ASK_INTERVAL_S", 0.0)
    layer = LossyLayer(capacity=10_000)
    before = channel_layers.set("default", layer)
    found = Site(layer)
    yield found
    for process in found.processes:
        await process.relay.stop()
    channel_layers.set("default", before)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(FAR_S):
        while not is_so():  # noqa: ASYNC110 - what is waited for is any state of any process
            await asyncio.sleep(0.001)


def announced(talk: Talk, *, seq: int, user_id: int = USER) -> Announcement:
    return Announcement(
        user_id=user_id,
        seq=seq,
        event_type="user_message",
        state=talk.state,
        messages=talk.messages,
        calls=tuple(talk.ledger.calls.values()),
    )


def other_conversation(*, user_id: int = USER) -> Announcement:
    state = Conversation(conversation_id=ConversationId(UUID(int=99)))
    return Announcement(user_id=user_id, seq=1, event_type="conversation_started", state=state, messages=())


def seqs(subscription: Subscription) -> list[int]:
    return [published.announcement.seq for published in subscription.announcements]


def copy_of(subscription: Subscription) -> LiveText:
    live = subscription.lives[-1]
    assert live.is_copy
    return live


# Announcements


async def test_a_commit_in_one_process_is_told_to_readers_in_others_as_it_is(a_site: Site) -> None:
    here, there = await a_site.start(), await a_site.start()
    talk = Talk()
    talk.send("a")
    near, far = await here.read(talk), await there.read(talk)
    told = announced(talk, seq=1)
    here.bus.announce(told)
    await until(lambda: seqs(far))
    assert far.announcements[0].announcement == told
    assert far.list_changes[0].announcement == told
    # Who was told at once is not told again.
    assert seqs(near) == [1]


async def test_a_commit_that_is_long_is_told_without_its_content(a_site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    here, there = await a_site.start(), await a_site.start()
    talk = Talk()
    far, other = (
        await there.read(talk),
        await there.bus.subscribe(conversation_id=ConversationId(UUID(int=5)), user_id=USER),
    )
    monkeypatch.setattr(relays, "ANNOUNCEMENT_MAX_CHARACTERS", 10)
    here.bus.announce(announced(talk, seq=1))
    await until(lambda: far.is_stale and far.is_list_stale and other.is_list_stale)
    assert not other.is_stale
    assert seqs(far) == []


async def test_words_go_only_to_the_processes_of_their_user(a_site: Site) -> None:
    here, there = await a_site.start(), await a_site.start()
    talk = Talk()
    far = await there.read(talk, user_id=OTHER_USER)
    here.bus.announce(announced(talk, seq=1))
    here.bus.announce(other_conversation(user_id=OTHER_USER))
    await until(lambda: far.list_changes)
    assert [published.announcement.user_id for published in far.list_changes] == [OTHER_USER]


async def test_a_user_whose_last_reader_left_and_came_back_is_told_again(a_site: Site) -> None:
    here, there = await a_site.start(), await a_site.start()
    talk = Talk()
    there.bus.unsubscribe(await there.read(talk))
    far = await there.read(talk)
    here.bus.announce(announced(talk, seq=1))
    await until(lambda: seqs(far))


async def test_readers_look_after_their_sessions_in_all_processes(a_site: Site) -> None:
    here, there = await a_site.start(), await a_site.start()
    talk = Talk()
    told, other = await there.read(talk), await there.read(talk, user_id=OTHER_USER)
    here.bus.check_sessions(USER)
    await until(lambda: told.must_check_session)
    assert not other.must_check_session


async def test_a_run_is_cancelled_wherever_it_is_performed(a_site: Site) -> None:
    here, there = await a_site.start(), await a_site.start()
    await until(lambda: there.relay._joined)
    run_id = RunId(UUID(int=77))
    here.relay.cancel_elsewhere(run_id)
    await until(lambda: there.cancelled)
    assert (here.cancelled, there.cancelled) == ([], [run_id])


# Text


async def test_text_streams_to_readers_in_other_processes(a_site: Site) -> None:
    here, there = await a_site.start(), await a_site.start()
    talk = Talk()
    talk.send("a")
    far = await there.read(talk)
    live = here.write(talk)
    live.append("Hel", "hm")
    await until(lambda: far.lives)
    copy = copy_of(far)
    live.append("lo 👩‍👩‍👧\r\n", "…")
    live.write_call("act")
    await until(lambda: copy.calling)
    assert (copy.since(0), copy.reasoning_since(0)) == ("Hello 👩‍👩‍👧\r\n", "hm…")
    assert (copy.message_id, copy.run_id, copy.opened_seq) == (live.message_id, live.run_id, live.opened_seq)


async def test_text_that_was_lost_on_the_way_is_asked_for(a_site: Site) -> None:
    here, there = await a_site.start(), await a_site.start()
    talk = Talk()
    talk.send("a")
    far = await there.read(talk)
    live = here.write(talk)
    live.append("one ")
    await until(lambda: far.lives)
    copy = copy_of(far)
    lost: list[object] = []

    def loses(message: dict[str, object]) -> bool:
        is_text = "text" in message and not lost
        if is_text:
            lost.append(message)
        return is_text

    a_site.layer.loses = loses
    live.append("two ")
    await until(lambda: lost)
    live.append("three")
    await until(lambda: copy.since(0) == "one two three")
    assert there.relay.copies.healed_count == 1


async def test_a_reader_that_comes_later_asks_for_the_text_that_is_there(a_site: Site) -> None:
    here, there = await a_site.start(), await a_site.start()
    talk = Talk()
    talk.send("a")
    live = here.write(talk)
    live.append("so far")
    far = await there.read(talk)
    there.see(talk, seq=3, performer=here.process_id)
    copy = copy_of(far)
    await until(lambda: copy.since(0) == "so far")
    live.append(", and on")
    await until(lambda: copy.since(0) == "so far, and on")


async def test_no_copy_is_made_of_what_nobody_performs_yet_or_this_process_itself_does(a_site: Site) -> None:
    here = await a_site.start()
    talk = Talk()
    talk.send("a")
    subscription = await here.read(talk)
    here.see(talk, seq=3, performer=None)
    here.see(talk, seq=3, performer=here.process_id)
    assert not subscription.lives


async def test_the_rest_of_a_text_comes_with_the_word_that_it_has_ended(a_site: Site) -> None:
    here, there = await a_site.start(), await a_site.start()
    talk = Talk()
    talk.send("a")
    far = await there.read(talk)
    live = here.write(talk)
    live.append("An ")
    await until(lambda: far.lives)
    copy = copy_of(far)
    a_site.layer.loses = lambda message: "text" in message
    live.append("answer.")
    talk.complete("An answer.")
    here.bus.announce(announced(talk, seq=4))
    await until(lambda: seqs(far))
    assert copy.since(0) == "An answer."


async def test_text_that_ends_at_once_comes_before_the_word_of_its_end(
    a_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = await a_site.start(), await a_site.start()
    monkeypatch.setattr(here.relay, "_pause_s", FAR_S)
    talk = Talk()
    talk.send("a")
    far = await there.read(talk)
    live = here.write(talk)
    live.append("First")
    await until(lambda: far.lives)
    talk.complete("First")
    here.bus.announce(announced(talk, seq=4))
    talk.send("b")
    here.bus.announce(announced(talk, seq=5))
    # What is in flight is sent again after a long pause only.
    live = here.write(talk, seq=6)
    live.append("An answer.")
    assert not far.lives[1:]
    talk.complete("An answer.")
    here.bus.announce(announced(talk, seq=7))
    await until(lambda: 7 in seqs(far))
    assert [copy.since(0) for copy in far.lives] == ["First", "An answer."]


async def test_text_that_comes_after_an_end_of_which_no_copy_was_there_opens_nothing(a_site: Site) -> None:
    here, there = await a_site.start(), await a_site.start()
    talk = Talk()
    talk.send("a")
    far = await there.read(talk)
    here.bus.announce(announced(talk, seq=3))
    a_site.layer.loses = lambda message: "text" in message
    live = here.write(talk)
    live.append("An answer.")
    late = flushes.text_flush(str(talk.state.conversation_id), live, 0, 0)
    talk.complete("An answer.")
    here.bus.announce(announced(talk, seq=4))
    await until(lambda: 4 in seqs(far))
    there.relay._hear({"origin": str(here.process_id), **late})
    assert not far.lives


async def test_text_that_comes_after_its_end_opens_nothing(a_site: Site) -> None:
    here, there = await a_site.start(), await a_site.start()
    talk = Talk()
    talk.send("a")
    far = await there.read(talk)
    live = here.write(talk)
    live.append("An answer.")
    await until(lambda: far.lives)
    late = flushes.text_flush(str(talk.state.conversation_id), live, 0, 0)
    talk.complete("An answer.")
    here.bus.announce(announced(talk, seq=4))
    await until(lambda: seqs(far))
    there.relay._hear({"origin": str(here.process_id), **late})
    assert not (await there.read(talk)).lives


async def test_text_of_an_order_that_was_taken_over_gives_way(a_site: Site) -> None:
    here, there, reads_along = await a_site.start(), await a_site.start(), await a_site.start()
    talk = Talk()
    talk.send("a")
    far = await reads_along.read(talk)
    old = here.write(talk)
    old.append("old")
    await until(lambda: far.lives)
    talk.lose()
    new = there.write(talk, generation_no=2, seq=5)
    new.append("new")
    await until(lambda: far.lives[-1].generation_no == 2)
    # The process that was held to be dead goes on.
    old.append(" and late")
    await asyncio.sleep(0.01)
    assert [live.generation_no for live in far.lives] == [1, 2]
    assert copy_of(far).since(0) == "new"


# Output of tools


def write_output(process: Process, talk: Talk) -> LiveOutput:
    [call] = talk.state.calls
    return process.bus.open_output(
        talk.state.conversation_id, call_id=call.call_id, execution_no=1, limit_characters=1000
    )


async def test_what_a_tool_prints_streams_to_readers_in_other_processes(a_site: Site) -> None:
    here, there = await a_site.start(), await a_site.start()
    talk = Talk()
    talk.send("a")
    talk.make_calls(proposal(policy=Policy.AUTO))
    far = await there.read(talk)
    output = write_output(here, talk)
    output.append("stdout", "one\n")
    output.append("stderr", "two\n")
    output.progress(0.5, "half")
    await until(lambda: far.outputs and next(iter(far.outputs.values())).latest)
    [copy] = far.outputs.values()
    assert (copy.segments, copy.latest) == (output.segments, copy.latest)
    assert (copy.latest and copy.latest.fraction, copy.latest and copy.latest.text) == (0.5, "half")


async def test_output_that_was_lost_on_the_way_is_asked_for(a_site: Site) -> None:
    here, there = await a_site.start(), await a_site.start()
    talk = Talk()
    talk.send("a")
    talk.make_calls(proposal(policy=Policy.AUTO))
    far = await there.read(talk)
    output = write_output(here, talk)
    lost: list[object] = []

    def loses(message: dict[str, object]) -> bool:
        is_first = "output" in message and not lost
        if is_first:
            lost.append(message)
        return is_first

    a_site.layer.loses = loses
    output.append("stdout", "one\n")
    await until(lambda: lost)
    output.append("stdout", "two\n")
    await until(lambda: far.outputs and next(iter(far.outputs.values())).segments == output.segments)


# Loss


async def test_what_is_not_heard_of_is_found_in_the_database(a_site: Site) -> None:
    there = await a_site.start()
    talk = Talk()
    far = await there.read(talk)
    there.see(talk, seq=3, performer=None)
    copies, conversation_id = there.relay.copies, talk.state.conversation_id
    assert copies.wanted() == ([conversation_id], [])
    # It may be on its way yet; the next time it is not.
    assert not copies.found(conversation_id, seq=4, text=None, reasoning=None, may_come=True)
    assert not far.is_stale
    assert copies.found(conversation_id, seq=4, text=None, reasoning=None, may_come=True)
    assert far.is_stale
    assert not copies.found(conversation_id, seq=4, text=None, reasoning=None, may_come=True)


async def test_while_nobody_can_be_heard_nothing_is_waited_for(a_site: Site) -> None:
    there = await a_site.start()
    talk = Talk()
    far = await there.read(talk)
    there.see(talk, seq=3, performer=None)
    assert there.relay.copies.found(talk.state.conversation_id, seq=4, text=None, reasoning=None, may_come=False)
    assert far.is_stale


async def test_a_text_of_which_nothing_comes_is_mended_by_what_was_saved(a_site: Site) -> None:
    here, there = await a_site.start(), await a_site.start()
    talk = Talk()
    talk.send("a")
    far = await there.read(talk)
    here.write(talk).append("so ")
    await until(lambda: far.lives)
    a_site.layer.is_away = True
    copies, message_id = there.relay.copies, talk.run.answer.message_id
    assert copies.wanted()[1] == []
    assert copies.wanted()[1] == [message_id]
    copies.found(talk.state.conversation_id, seq=3, text="so far", reasoning="", may_come=True)
    assert copy_of(far).since(0) == "so far"
    copies.found(talk.state.conversation_id, seq=3, text="another text", reasoning="", may_come=True)
    assert copy_of(far).since(0) == "so far"


async def test_a_layer_that_is_away_harms_nobody_here_and_is_joined_when_it_is_back(
    a_site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(relays, "JOIN_TIMEOUT_S", 0.01)
    a_site.layer.is_away = True
    here, there = await a_site.start(), await a_site.start()
    talk = Talk()
    near, far = await here.read(talk), await there.read(talk)
    here.bus.announce(announced(talk, seq=1))
    assert seqs(near) == [1]
    await until(lambda: here.relay.dropped_count)
    assert "can't be reached" in caplog.text
    a_site.layer.is_away = False
    await until(lambda: there.relay._wanted == there.relay._joined)
    here.bus.announce(announced(talk, seq=2))
    await until(lambda: seqs(far) == [2])


async def test_when_the_layer_is_heard_again_every_list_is_read_again(
    a_site: Site,
) -> None:
    here = await a_site.start()
    subscription = await here.read(Talk())
    here.relay._lose("a fault")
    assert not here.relay.is_heard
    await until(lambda: subscription.is_list_stale)
    assert here.relay.is_heard


async def test_words_of_another_version_are_passed_over(a_site: Site, caplog: pytest.LogCaptureFixture) -> None:
    here, there = await a_site.start(), await a_site.start()
    talk = Talk()
    far = await there.read(talk)
    for words in ({"announcement": "{}"}, {"text": {}, "of": "no id"}, {"a word of tomorrow": 1}):
        here.relay._say(f"agentsite.user.{USER}", words)
    here.bus.announce(announced(talk, seq=1))
    await until(lambda: seqs(far))
    assert "not understood" in caplog.text
