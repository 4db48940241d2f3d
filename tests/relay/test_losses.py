"""What each reader gets of what another process's tools print, and what heals what nobody hears."""

from __future__ import annotations

import pytest

from chat import relay as relays
from chat.core.calls import Policy
from chat.live import LiveOutput
from tests.core.talk import Talk, proposal
from tests.relay.site import USER, Process, Site, announced, copy_of, seqs, until

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
