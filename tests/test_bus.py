"""Announcements and text in flight: what each reader gets, and what can't harm the others."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.bus import Bus, Subscriber
from chat.core.announcement import Announcement
from chat.core.ids import ConversationId, MessageId, RunId
from chat.core.state import Conversation
from chat.live import LiveText
from chat.rooms import Room, Subscription
from tests.core.talk import Talk

USER, OTHER_USER = 7, 8
FAR_S = 20.0


def a_bus(*, backlog_max: int = 100, subscribers: tuple[Subscriber, ...] = ()) -> Bus:
    return Bus(backlog_max=backlog_max, subscribers=subscribers)


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


async def test_who_must_not_look_yet_hears_once_of_all_that_came_meanwhile() -> None:
    bus, talk = a_bus(), Talk()
    subscription = await reader(bus, talk)
    loop = asyncio.get_running_loop()
    not_before_s = loop.time() + 0.05
    waiting = asyncio.create_task(subscription.wait(not_before_s=not_before_s))
    for seq in (1, 2):
        bus.announce(announced(talk, seq=seq))
        await asyncio.sleep(0.01)
    assert not waiting.done()
    await waiting
    # A loop runs timers that are due within its clock's step.
    assert loop.time() >= not_before_s - 0.002
    assert seqs(subscription) == [1, 2]
    assert await is_quiet(subscription)


# Announcements


async def test_every_reader_of_a_conversation_gets_its_announcements_in_order() -> None:
    bus, talk = a_bus(), Talk()
    readers = [await reader(bus, talk) for _ in range(3)]
    for seq in (1, 2, 3):
        bus.announce(announced(talk, seq=seq))
    for subscription in readers:
        await woken(subscription)
        assert seqs(subscription) == [1, 2, 3]
        assert await is_quiet(subscription)


async def test_what_readers_make_of_an_announcement_is_shared() -> None:
    bus, talk = a_bus(), Talk()
    first, second = await reader(bus, talk), await reader(bus, talk)
    bus.announce(announced(talk, seq=1))
    assert first.announcements[0] is second.announcements[0]


async def test_a_reader_hears_of_its_users_other_conversations_only_for_the_list() -> None:
    bus, talk = a_bus(), Talk()
    subscription = await reader(bus, talk)
    bus.announce(other_conversation())
    await woken(subscription)
    assert seqs(subscription) == []
    assert [published.announcement.seq for published in subscription.list_changes] == [1]


async def test_a_reader_hears_nothing_of_other_users() -> None:
    bus, talk = a_bus(), Talk()
    subscription = await reader(bus, talk, user_id=OTHER_USER)
    bus.announce(other_conversation())
    assert await is_quiet(subscription)


async def test_who_has_left_gets_nothing_and_leaves_nothing_behind() -> None:
    bus, talk = a_bus(), Talk()
    left, stays = await reader(bus, talk), await reader(bus, talk)
    assert bus.sockets_of(USER) == 2
    bus.unsubscribe(left)
    bus.unsubscribe(left)
    bus.announce(announced(talk, seq=1))
    assert seqs(left) == []
    assert seqs(stays) == [1]
    bus.unsubscribe(stays)
    assert bus.sockets_of(USER) == 0
    assert not bus._rooms
    assert not bus._users


async def test_a_reader_that_lags_is_overrun_and_keeps_a_bounded_backlog() -> None:
    bus, talk = a_bus(backlog_max=3), Talk()
    slow, fast = await reader(bus, talk), await reader(bus, talk)
    for seq in range(1, 11):
        bus.announce(announced(talk, seq=seq))
        fast.announcements.clear()
        fast.list_changes.clear()
    assert (slow.is_overrun, seqs(slow)) == (True, [1, 2, 3])
    assert not fast.is_overrun


async def test_subscribers_are_told_of_every_commit_whoever_reads() -> None:
    told: list[int] = []
    bus = a_bus(subscribers=(lambda announcement: told.append(announcement.seq),))
    bus.announce(announced(Talk(), seq=1))
    bus.announce(announced(Talk(), seq=2, user_id=OTHER_USER))
    assert told == [1, 2]


async def test_a_subscriber_that_fails_harms_nobody_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    told: list[int] = []

    def fails(announcement: Announcement) -> None:
        raise ZeroDivisionError("a bug of a subscriber")

    bus, talk = a_bus(subscribers=(fails, lambda announcement: told.append(announcement.seq))), Talk()
    subscription = await reader(bus, talk)
    bus.announce(announced(talk, seq=1))
    assert told == seqs(subscription) == [1]
    assert "A subscriber failed at event 1" in caplog.text
    assert "a bug of a subscriber" in caplog.text


# Text


async def test_text_wakes_its_readers_and_is_read_from_any_offset() -> None:
    bus, talk = a_bus(), Talk()
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


async def test_a_reader_that_comes_later_gets_the_text_that_is_there() -> None:
    bus, talk = a_bus(), Talk()
    talk.send("a")
    live = opened(bus, talk)
    live.append("so far")
    subscription = await reader(bus, talk)
    assert list(subscription.lives) == [live]
    assert live.since(0) == "so far"


async def test_text_is_let_go_when_its_run_has_ended() -> None:
    bus, talk = a_bus(), Talk()
    talk.send("a")
    live = opened(bus, talk)
    bus.announce(announced(talk, seq=3))
    assert list((await reader(bus, talk)).lives) == [live]
    talk.complete()
    bus.announce(announced(talk, seq=4))
    assert not (await reader(bus, talk)).lives


async def test_text_of_an_order_that_was_taken_over_is_let_go() -> None:
    bus, talk = a_bus(), Talk()
    talk.send("a")
    old = opened(bus, talk)
    talk.lose()
    bus.announce(announced(talk, seq=3))
    new = opened(bus, talk, generation_no=2)
    old.append("late")
    subscription = await reader(bus, talk)
    assert list(subscription.lives) == [new]
    assert new.since(0) == ""


async def test_a_conversation_that_nobody_reads_or_writes_is_forgotten() -> None:
    bus, talk = a_bus(), Talk()
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


async def test_readers_of_a_user_look_after_their_sessions_and_no_others() -> None:
    bus, talk = a_bus(), Talk()
    told, other = await reader(bus, talk), await reader(bus, talk, user_id=OTHER_USER)
    bus.check_sessions(USER)
    await woken(told)
    assert told.must_check_session
    assert not other.must_check_session


async def test_a_goodbye_tells_every_reader_to_come_back_elsewhere() -> None:
    bus, talk = a_bus(), Talk()
    readers = [await reader(bus, talk), await reader(bus, talk, user_id=OTHER_USER)]
    bus.say_goodbye()
    for subscription in readers:
        await woken(subscription)
        assert subscription.is_going_away
