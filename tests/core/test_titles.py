from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.core.titles import DIRECTION_CHARACTERS, TITLE_LIMIT_CHARACTERS, title_of


@pytest.mark.parametrize(
    ("content", "title"),
    [
        ("Hello", "Hello"),
        ("  Hello\n\n\tthere   you ", "Hello there you"),
        ("a" * 60, "a" * 60),
        ("a" * 61, "a" * 59 + "…"),
        ("word " * 30, "word " * 10 + "word…"),
        ("ab\u202ecd\u2066e\x00\x1bf\x7f", "abcdef"),
        ("👩‍👩‍👧 family", "👩‍👩‍👧 family"),
        ("你" * 100, "你" * 59 + "…"),
        ("\u200e \n", ""),
        ("", ""),
    ],
)
def test_a_title_is_the_beginning_of_the_message_as_one_line(content: str, title: str) -> None:
    assert title_of(content) == title


def test_a_short_last_word_is_not_cut_and_a_very_long_one_is() -> None:
    assert title_of("Please " + "x" * 100) == "Please " + "x" * 52 + "…"
    assert title_of("x" * 40 + " " + "y" * 40) == "x" * 40 + "…"


@given(st.text(max_size=200) | st.text(alphabet=" \t\n\u202e\u2067ab", max_size=200))
def test_no_title_is_longer_than_its_limit_or_turns_the_text_around_it(content: str) -> None:
    title = title_of(content)
    assert len(title) <= TITLE_LIMIT_CHARACTERS
    assert not DIRECTION_CHARACTERS & set(title)
    assert all(unicodedata.category(char) != "Cc" for char in title)
    assert title == " ".join(title.split())
    assert title or not any(char.isalnum() for char in content)
