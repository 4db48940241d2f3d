"""What each reader gets of what another process says, and what heals what is lost."""

from __future__ import annotations

import asyncio
from uuid import UUID

import pytest

from chat import flushes
from chat import relay as relays
from chat.core.ids import ConversationId, RunId
from tests.core.talk import Talk
from tests.relay.site import FAR_S, OTHER_USER, USER, Site, announced, copy_of, other_conversation, seqs, until

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


async def test_text_that_comes_after_its_end_was_read_opens_nothing(a_site: Site) -> None:
    here, there = await a_site.start(), await a_site.start()
    talk = Talk()
    far = await there.read(talk)
    talk.send("a")
    a_site.layer.loses = lambda message: "text" in message
    live = here.write(talk)
    live.append("An answer.")
    late = flushes.text_flush(str(talk.state.conversation_id), live, 0, 0)
    talk.complete("An answer.")
    # Neither the beginning nor the end was heard of before a reader found both in the database.
    there.see(talk, seq=4, performer=None)
    there.relay._hear({"origin": str(here.process_id), **late})
    assert not far.lives


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
