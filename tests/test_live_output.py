"""What tools print while they run: to everybody who looks on, in order, from any moment, within its bound."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from uuid import UUID

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from chat.bus import Bus
from chat.core.calls import Policy
from chat.core.ids import CallId, ConversationId
from chat.live import LiveOutput
from chat.rooms import Published, Room
from chat.web.out_html import HtmlOut
from chat.web.out_json import JsonOut
from tests.core.talk import Talk, proposal
from tests.test_bus import a_bus, announced, reader, woken

CALL = CallId(UUID(int=1))
ELSEWHERE = ConversationId(UUID(int=2))


def output(limit_characters: int = 100) -> LiveOutput:
    return LiveOutput(room=Room(), call_id=CALL, execution_no=1, limit_characters=limit_characters)


def of_stream(live: LiveOutput, stream: str) -> str:
    """What a reader joins by offset."""
    text = ""
    for segment in live.segments:
        if segment.stream == stream:
            assert segment.offset == len(text)
            text += segment.text
    return text


def opened(bus: Bus, talk: Talk, *, limit_characters: int = 100) -> LiveOutput:
    call = talk.call()
    return bus.open_output(
        talk.state.conversation_id,
        call_id=call.call_id,
        execution_no=call.execution_no,
        limit_characters=limit_characters,
    )


def running() -> Talk:
    talk = Talk()
    talk.send("a")
    talk.make_calls(proposal(policy=Policy.AUTO))
    talk.claim()
    return talk


def test_each_stream_has_offsets_of_its_own_and_the_whole_is_in_the_order_it_came() -> None:
    live = output()
    for stream, text in (("stdout", "ab"), ("stderr", "é\n"), ("stdout", "👩‍👩‍👧"), ("stderr", "x")):
        live.append(stream, text)
    assert [(segment.stream, segment.offset) for segment in live.segments] == [
        ("stdout", 0),
        ("stderr", 0),
        ("stdout", 2),
        ("stderr", 2),
    ]
    assert (of_stream(live, "stdout"), of_stream(live, "stderr")) == ("ab👩‍👩‍👧", "é\nx")
    assert live.text() == "abé\n👩‍👩‍👧x"


def test_what_is_over_the_bound_is_left_out_said_once_and_counted() -> None:
    live = output(limit_characters=10)
    for text in ("12345", "6789", "0abc", "def"):
        live.append("stdout", text)
    assert of_stream(live, "stdout") == "1234567890\n[… more output is left out …]\n"
    assert live.text() == "1234567890\n[… 6 more characters left out …]\n"


def test_what_just_fits_is_all_there_and_only_the_next_character_is_too_much() -> None:
    live = output(limit_characters=3)
    live.append("stdout", "abc")
    assert live.text() == "abc"
    live.append("stderr", "d")
    assert of_stream(live, "stderr") == "\n[… more output is left out …]\n"
    assert live.text() == "abc\n[… 1 more characters left out …]\n"


def test_a_tool_that_prints_without_end_takes_no_more_memory() -> None:
    live = output(limit_characters=10)
    for _ in range(10_000):
        live.append("stdout", "x" * 1_000)
    assert len(live.segments) == 1
    assert live.left_out == 10_000 * 1_000 - 10


@given(st.lists(st.tuples(st.sampled_from(["stdout", "stderr"]), st.text(max_size=6)), max_size=12), st.integers(0, 40))
def test_the_beginning_is_kept_and_the_rest_is_counted(parts: list[tuple[str, str]], limit: int) -> None:
    live = output(limit_characters=limit)
    for stream, text in parts:
        live.append(stream, text)
    whole = "".join(text for _, text in parts)
    kept, left_out = whole[:limit], max(0, len(whole) - limit)
    assert live.left_out == left_out
    assert live.text().startswith(kept)
    assert (live.text() == kept) == (left_out == 0)
    assert sum(len(of_stream(live, stream)) for stream in ("stdout", "stderr")) <= limit + 40


def test_of_how_far_a_tool_is_only_the_last_word_is_kept() -> None:
    live = output()
    assert live.latest is None
    for number in range(10_000):
        live.progress(number / 10_000, f"number {number}")
    assert live.latest is not None
    assert (live.latest.fraction, live.latest.text) == (0.9999, "number 9999")
    assert live.segments == []
    assert live.text() == ""


# Readers


async def test_output_wakes_everybody_who_reads_along() -> None:
    bus, talk = a_bus(), running()
    readers = [await reader(bus, talk) for _ in range(2)]
    live = opened(bus, talk)
    live.append("stdout", "tick")
    for subscription in readers:
        await woken(subscription)
        assert subscription.outputs == {talk.call().call_id: live}


async def test_a_reader_that_comes_later_gets_all_that_was_printed() -> None:
    bus, talk = a_bus(), running()
    live = opened(bus, talk)
    live.append("stdout", "so ")
    live.append("stdout", "far")
    late = await reader(bus, talk)
    assert late.outputs[talk.call().call_id].text() == "so far"
    frames = [msgspec.json.decode(frame) for frame in JsonOut().output(live)]
    assert [(frame["offset"], frame["text"]) for frame in frames] == [(0, "so "), (3, "far")]


def told(frames: list[str]) -> list[tuple[str, float | None, str]]:
    decoded = [msgspec.json.decode(frame) for frame in frames]
    return [(frame["type"], frame.get("fraction"), frame["text"]) for frame in decoded]


async def test_how_far_a_tool_is_reaches_everybody_once_and_who_comes_later_hears_the_last_word() -> None:
    bus, talk = a_bus(), running()
    early = await reader(bus, talk)
    live = opened(bus, talk)
    out = JsonOut()
    assert out.output(live) == []
    live.progress(None, "looking")
    live.progress(0.25, "reading")
    live.append("stdout", "tick")
    await woken(early)
    assert told(out.output(live)) == [("tool_output_delta", None, "tick"), ("tool_progress", 0.25, "reading")]
    assert out.output(live) == []
    live.progress(0.25, "reading")
    assert told(out.output(live)) == [("tool_progress", 0.25, "reading")]
    live.progress(None, "")
    late = await reader(bus, talk)
    assert told(JsonOut().output(late.outputs[talk.call().call_id])) == [
        ("tool_output_delta", None, "tick"),
        ("tool_progress", None, ""),
    ]


def test_a_page_shows_how_far_a_tool_is_in_the_calls_own_place() -> None:
    live = output()
    page = HtmlOut(frames_per_second_max=30)
    live.progress(0.5, "<b>half</b>")
    assert page.output(live) == [
        f'<div id="t-{CALL}-progress" hx-swap-oob="innerHTML">'
        '<progress max="1" value="0.5000" aria-label="Progress"></progress><span>&lt;b&gt;half&lt;/b&gt;</span></div>'
    ]
    assert page.output(live) == []
    live.progress(None, "more")
    [frame] = page.output(live)
    assert '<progress max="1" aria-label="Progress"></progress><span>more</span>' in frame


async def test_a_card_that_is_drawn_anew_gets_all_output_and_the_last_word_once_more() -> None:
    bus, talk = a_bus(), running()
    live = opened(bus, talk)
    live.append("stdout", "tick")
    live.progress(0.5, "half")
    page = HtmlOut(frames_per_second_max=30)
    first = page.output(live)
    assert len(first) == 2
    page.update(Published(announcement=replace(announced(talk, seq=3), calls=talk.calls)))
    assert page.output(live) == first


async def test_output_of_a_call_that_has_ended_is_let_go_and_the_conversation_forgotten() -> None:
    bus, talk = a_bus(), running()
    opened(bus, talk)
    bus.announce(replace(announced(talk, seq=3), calls=talk.calls))
    first = await reader(bus, talk)
    assert first.outputs
    bus.unsubscribe(first)
    talk.end_call()
    bus.announce(replace(announced(talk, seq=4), calls=talk.calls))
    assert not bus._rooms
    assert not (await reader(bus, talk)).outputs


async def test_a_call_that_is_run_again_prints_into_an_output_of_its_own() -> None:
    bus, talk = a_bus(), running()
    subscription = await reader(bus, talk)
    old = opened(bus, talk)
    old.append("stdout", "old")
    talk.lose_call(can_run_again=True)
    talk.claim()
    new = opened(bus, talk)
    new.append("stdout", "new")
    assert subscription.outputs[talk.call().call_id] is new
    assert (new.text(), new.execution_no) == ("new", 2)


async def test_output_goes_only_to_readers_of_its_conversation() -> None:
    bus, talk = a_bus(), running()
    other = await bus.subscribe(conversation_id=ELSEWHERE, user_id=7)
    opened(bus, talk).append("stdout", "secret")
    for _ in range(5):
        await asyncio.sleep(0)
    assert not other.outputs
