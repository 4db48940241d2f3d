"""The text of an answer while it streams: what it costs as it grows, and that it is gone with its last reader."""

from __future__ import annotations

import gc
import uuid
import weakref

import pytest

from chat.core.ids import MessageId, RunId
from chat.live import LiveText
from chat.render.live_markdown import ALWAYS_KEPT, FLUSHES_KEPT_FOR_ONE, SHARE_KEPT, LiveMarkdown
from chat.rooms import Room
from tests.costs import least_ratio

PIECES = 3_000


def a_text(start: str = "") -> LiveText:
    text = LiveText(
        room=Room(), message_id=MessageId(uuid.uuid4()), run_id=RunId(uuid.uuid4()), generation_no=1, opened_seq=1
    )
    text.append(start)
    return text


def grow(text: LiveText) -> None:
    for _ in range(PIECES):
        text.append("word ")
        text.since(text.length - 5)


def test_a_piece_of_a_long_text_costs_what_one_of_a_short_text_does() -> None:
    long, short = a_text("x" * 4_000_000), a_text()
    assert least_ratio(lambda: grow(long), lambda: grow(short), enough=3) < 3
    assert long.since(0) == "x" * 4_000_000 + "word " * (long.length // 5 - 800_000)


def test_a_text_is_gone_with_its_last_reader_and_so_is_what_was_drawn_of_it() -> None:
    text = a_text("# A title\n\nand *words*")
    markdown = LiveMarkdown.of(text)
    assert markdown.frame(0)
    assert markdown.ending(1, text)
    known_text, known_markdown = weakref.ref(text), weakref.ref(markdown)
    gc.disable()
    try:
        del text, markdown
        assert known_text() is None
        assert known_markdown() is None
    finally:
        gc.enable()


def flushed(text: LiveText, *, times: int) -> LiveMarkdown:
    for _ in range(times):
        text.append("and " * 40)
        markdown = LiveMarkdown.of(text)
    return markdown


@pytest.mark.parametrize("length", [1_000, 100_000])
def test_a_reader_that_is_behind_is_sent_what_it_lacks_or_all_of_it_when_that_is_much(length: int) -> None:
    text = a_text("word " * (length // 5))
    assert flushed(text, times=40).frame(1)
    markdown = flushed(text, times=40)
    assert len(markdown.frame(markdown.version - 1)) < 1_000
    assert (len(markdown.frame(markdown.version - 39)) > text.length) == (length == 1_000)
    assert sum(map(len, markdown._frames)) <= max(ALWAYS_KEPT, text.length * SHARE_KEPT)


def test_where_nobody_is_behind_little_is_kept_for_those_who_are() -> None:
    text = a_text()
    markdown = flushed(text, times=40)
    assert len(markdown.frame(markdown.version - 2)) < 1_000
    assert len(markdown._frames) == FLUSHES_KEPT_FOR_ONE
