"""Announcements, text in flight and hints: what each reader gets, and what can't harm the others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from uuid import UUID

import pytest
from channels.layers import InMemoryChannelLayer, channel_layers
from hypothesis import given
from hypothesis import strategies as st

from chat.bus import Bus, Room, Subscriber, Subscription
from chat.core.announcement import Announcement
from chat.core.ids import ConversationId, MessageId, RunId
from chat.core.state import Conversation
from chat.live import LiveText
from tests.core.talk import Talk

USER, OTHER_USER = 7, 8
FAR_S = 20.0


class LayerThatIsAway(InMemoryChannelLayer):  # type: ignore[misc]
    """A channel layer that takes nothing while it is away."""

    is_away = True

    async def group_send(self, group: str, message: dict[str, object]) -> None:
        if self.is_away:
            raise OSError("the layer is away")
        await super().group_send(group, message)

    async def group_add(self, group: str, channel: str) -> None:
        if self.is_away:
            raise OSError("the layer is away")
        await super().group_add(group, channel)


class Processes:
    """Several buses, each of a process of its own, that share a channel layer."""

    def __init__(self) -> None:
        self.buses: list[Bus] = []

    async def start(self, *, backlog_max: int = 100, subscribers: tuple[Subscriber, ...] = ()) -> Bus:
        bus = Bus(process_id=UUID(int=len(self.buses)), backlog_max=backlog_max, subscribers=subscribers)
        await bus.start()
        self.buses.append(bus)
        return bus


@pytest.fixture
async def processes() -> AsyncIterator[Processes]:
    """Stopped when the test ends; no task may be left."""
    before = channel_layers.set("default", InMemoryChannelLayer())
    processes = Processes()
    yield processes
    for bus in processes.buses:
        await bus.stop()
    channel_layers.set("default", before)
    assert asyncio.all_tasks() == {asyncio.current_task()}


def announced(talk: Talk, *, seq: int, user_id: int = USER) -> Announcement:
    return Announcement(user_id=user_id, seq=seq, event_type="user_message", state=talk.state, messages=talk.messages)


def other_conversation() -> Announcement:
    state = Conversation(conversation_id=ConversationId(UUID(int=99)))
    return Announcement(user_id=USER, seq=1, event_type="conversation_started", state=state, messages=())


async def reader(bus: Bus, talk: Talk, *, user_id: int = USER) -> Subscription:
    return await bus.subscribe(conversation_id=talk.state.conversation_id, user_id=user_id)


def opened(bus: Bus, talk: Talk, *, generation_no: int = 1) -> LiveText:
    return bus.open_text(
        talk.state.conversation_id,
        message_id=talk.run.answer.message_id,
        run_id=talk.run.run_id,
        generation_no=generation_no,
        opened_seq=3,
    )


async def woken(subscription: Subscription) -> None:
    async with asyncio.timeout(FAR_S):
        await subscription.wait()


async def is_quiet(subscription: Subscription) -> bool:
    """Whether the reader has no reason to wake, once all that was under way has arrived."""
    for _ in range(20):
        await asyncio.sleep(0)
    waiting = asyncio.create_task(subscription.wait())
    for _ in range(3):
        await asyncio.sleep(0)
    is_woken = waiting.done()
    waiting.cancel()
    await asyncio.wait({waiting})
    return not is_woken


def seqs(subscription: Subscription) -> list[int]:
    return [published.announcement.seq for published in subscription.announcements]


# Announcements


async def test_every_reader_of_a_conversation_gets_its_announcements_in_order(processes: Processes) -> None:
    bus, talk = await processes.start(), Talk()
    readers = [await reader(bus, talk) for _ in range(3)]
    for seq in (1, 2, 3):
        bus.announce(announced(talk, seq=seq))
    for subscription in readers:
        await woken(subscription)
        assert seqs(subscription) == [1, 2, 3]
        assert await is_quiet(subscription)


async def test_what_readers_make_of_an_announcement_is_shared(processes: Processes) -> None:
    bus, talk = await processes.start(), Talk()
    first, second = await reader(bus, talk), await reader(bus, talk)
    bus.announce(announced(talk, seq=1))
    assert first.announcements[0] is second.announcements[0]


async def test_a_reader_hears_of_its_users_other_conversations_only_for_the_list(processes: Processes) -> None:
    bus, talk = await processes.start(), Talk()
    subscription = await reader(bus, talk)
    bus.announce(other_conversation())
    await woken(subscription)
    assert seqs(subscription) == []
    assert [published.announcement.seq for published in subscription.list_changes] == [1]


async def test_a_reader_hears_nothing_of_other_users(processes: Processes) -> None:
    bus, talk = await processes.start(), Talk()
    subscription = await reader(bus, talk, user_id=OTHER_USER)
    bus.announce(other_conversation())
    assert await is_quiet(subscription)


async def test_who_has_left_gets_nothing_and_leaves_nothing_behind(processes: Processes) -> None:
    bus, talk = await processes.start(), Talk()
    left, stays = await reader(bus, talk), await reader(bus, talk)
    assert bus.sockets_of(USER) == 2
    await bus.unsubscribe(left)
    await bus.unsubscribe(left)
    bus.announce(announced(talk, seq=1))
    assert seqs(left) == []
    assert seqs(stays) == [1]
    await bus.unsubscribe(stays)
    assert bus.sockets_of(USER) == 0
    assert not bus._rooms
    assert not bus._users


async def test_a_reader_that_lags_is_overrun_and_keeps_a_bounded_backlog(processes: Processes) -> None:
    bus, talk = await processes.start(backlog_max=3), Talk()
    slow, fast = await reader(bus, talk), await reader(bus, talk)
    for seq in range(1, 11):
        bus.announce(announced(talk, seq=seq))
        fast.announcements.clear()
        fast.list_changes.clear()
    assert (slow.is_overrun, seqs(slow)) == (True, [1, 2, 3])
    assert not fast.is_overrun


async def test_subscribers_are_told_of_every_commit_whoever_reads(processes: Processes) -> None:
    told: list[int] = []
    bus = await processes.start(subscribers=(lambda announcement: told.append(announcement.seq),))
    bus.announce(announced(Talk(), seq=1))
    bus.announce(announced(Talk(), seq=2, user_id=OTHER_USER))
    assert told == [1, 2]


async def test_a_subscriber_that_fails_harms_nobody_and_is_logged(
    processes: Processes, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[int] = []

    def fails(announcement: Announcement) -> None:
        raise ZeroDivisionError("a bug of a subscriber")

    bus, talk = await processes.start(subscribers=(fails, lambda announcement: told.append(announcement.seq))), Talk()
    subscription = await reader(bus, talk)
    bus.announce(announced(talk, seq=1))
    assert told == seqs(subscription) == [1]
    assert "A subscriber failed at event 1" in caplog.text
    assert "a bug of a subscriber" in caplog.text


# Text


async def test_text_wakes_its_readers_and_is_read_from_any_offset(processes: Processes) -> None:
    bus, talk = await processes.start(), Talk()
    talk.send("a")
    subscription = await reader(bus, talk)
    live = opened(bus, talk)
    assert list(subscription.lives) == [live]
    live.append("Hel")
    await woken(subscription)
    live.append("lo 👩‍👩‍👧\r\n", "thought")
    await woken(subscription)
    assert (live.since(0), live.length) == ("Hello 👩‍👩‍👧\r\n", 13)
    assert [live.since(offset) for offset in (3, 6, 7, 13)] == [
        "lo 👩‍👩‍👧\r\n",
        "👩‍👩‍👧\r\n",
        "\u200d👩\u200d👧\r\n",
        "",
    ]
    assert (live.reasoning_since(3), live.reasoning_length) == ("ught", 7)


async def test_a_reader_that_comes_later_gets_the_text_that_is_there(processes: Processes) -> None:
    bus, talk = await processes.start(), Talk()
    talk.send("a")
    live = opened(bus, talk)
    live.append("so far")
    subscription = await reader(bus, talk)
    assert list(subscription.lives) == [live]
    assert live.since(0) == "so far"


async def test_text_is_let_go_when_its_run_has_ended(processes: Processes) -> None:
    bus, talk = await processes.start(), Talk()
    talk.send("a")
    live = opened(bus, talk)
    bus.announce(announced(talk, seq=3))
    assert list((await reader(bus, talk)).lives) == [live]
    talk.complete()
    bus.announce(announced(talk, seq=4))
    assert not (await reader(bus, talk)).lives


async def test_text_of_an_order_that_was_taken_over_is_let_go(processes: Processes) -> None:
    bus, talk = await processes.start(), Talk()
    talk.send("a")
    old = opened(bus, talk)
    talk.lose()
    bus.announce(announced(talk, seq=3))
    new = opened(bus, talk, generation_no=2)
    old.append("late")
    subscription = await reader(bus, talk)
    assert list(subscription.lives) == [new]
    assert new.since(0) == ""


async def test_a_conversation_that_nobody_reads_or_writes_is_forgotten(processes: Processes) -> None:
    bus, talk = await processes.start(), Talk()
    talk.send("a")
    opened(bus, talk)
    talk.complete()
    bus.announce(announced(talk, seq=3))
    assert not bus._rooms


@given(st.lists(st.text(max_size=5), max_size=8), st.integers(0, 50))
def test_text_from_an_offset_is_the_end_of_the_whole_text(parts: list[str], offset: int) -> None:
    live = LiveText(
        room=Room(),
        message_id=MessageId(UUID(int=2)),
        run_id=RunId(UUID(int=1)),
        generation_no=1,
        opened_seq=1,
    )
    for part in parts:
        live.append(part, part)
        live.since(offset)
    whole = "".join(parts)
    assert live.length == live.reasoning_length == len(whole)
    assert live.since(offset) == live.reasoning_since(offset) == whole[offset:]


# Other processes


async def test_a_commit_in_one_process_makes_readers_in_others_stale(processes: Processes) -> None:
    here, there = await processes.start(), await processes.start()
    talk = Talk()
    near, far = await reader(here, talk), await reader(there, talk)
    here.announce(announced(talk, seq=1))
    await woken(far)
    assert (far.is_stale, far.is_list_stale, seqs(far)) == (True, True, [])
    # Who was told at once is not told again.
    assert seqs(near) == [1]
    await woken(near)
    assert await is_quiet(near)
    assert (near.is_stale, near.is_list_stale) == (False, False)


async def test_a_commit_elsewhere_in_another_conversation_makes_only_the_list_stale(processes: Processes) -> None:
    here, there = await processes.start(), await processes.start()
    far = await reader(there, Talk())
    here.announce(other_conversation())
    await woken(far)
    assert (far.is_stale, far.is_list_stale) == (False, True)


async def test_hints_go_only_to_the_processes_of_their_user(processes: Processes) -> None:
    here, there = await processes.start(), await processes.start()
    talk = Talk()
    far = await reader(there, talk, user_id=OTHER_USER)
    here.announce(announced(talk, seq=1))
    assert await is_quiet(far)
    assert not far.is_list_stale


async def test_a_user_whose_last_reader_left_and_came_back_is_told_again(processes: Processes) -> None:
    here, there = await processes.start(), await processes.start()
    talk = Talk()
    await there.unsubscribe(await reader(there, talk))
    far = await reader(there, talk)
    here.announce(announced(talk, seq=1))
    await woken(far)
    assert far.is_stale


async def test_readers_of_a_user_look_after_their_sessions_in_all_processes_and_no_others(processes: Processes) -> None:
    here, there = await processes.start(), await processes.start()
    talk = Talk()
    told = [await reader(bus, talk) for bus in (here, there)]
    other = await reader(there, talk, user_id=OTHER_USER)
    here.check_sessions(USER)
    for subscription in told:
        await woken(subscription)
        assert subscription.must_check_session
    assert not other.must_check_session


async def test_stopping_tells_every_reader_to_come_back_elsewhere(processes: Processes) -> None:
    bus, talk = await processes.start(), Talk()
    readers = [await reader(bus, talk), await reader(bus, talk, user_id=OTHER_USER)]
    await bus.stop()
    for subscription in readers:
        await woken(subscription)
        assert subscription.is_going_away


async def test_a_channel_layer_that_is_away_harms_nobody_here(
    processes: Processes, caplog: pytest.LogCaptureFixture
) -> None:
    layer = LayerThatIsAway()
    channel_layers.set("default", layer)
    here, there = await processes.start(), await processes.start()
    talk = Talk()
    near = await reader(here, talk)
    here.announce(announced(talk, seq=1))
    await woken(near)
    assert seqs(near) == [1]
    assert await is_quiet(near)
    assert "did not take" in caplog.text
    layer.is_away = False
    far = await reader(there, talk)
    here.announce(announced(talk, seq=2))
    await woken(far)
    assert far.is_stale


async def test_a_bus_that_was_not_started_serves_its_own_process(processes: Processes) -> None:
    bus, talk = Bus(process_id=UUID(int=1), backlog_max=3), Talk()
    subscription = await reader(bus, talk)
    bus.announce(announced(talk, seq=1))
    bus.check_sessions(USER)
    await woken(subscription)
    assert (seqs(subscription), subscription.must_check_session) == ([1], True)
