from __future__ import annotations

import math
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.llm.faults import MAX_RETRY_AFTER_S, MAX_SAID_CHARACTERS, quotable, retry_after_s, server_error
from chat.llm.port import ModelFault


@given(st.text(max_size=2_000))
def test_what_a_server_said_is_shown_short_on_one_line_and_can_be_encoded(text: str) -> None:
    shown = quotable(text)
    assert len(shown) <= MAX_SAID_CHARACTERS
    assert "\n" not in shown
    assert "\0" not in shown
    shown.encode()


def test_a_lone_surrogate_can_be_shown() -> None:
    quotable("a\ud800b").encode()


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-proj-abcDEF0123456789.",
        "Incorrect API key provided: sk-abcd*********************wxyz.",
        "got Authorization: Bearer abc.def",
        "the key my own secret is wrong",
    ],
)
def test_no_key_is_repeated(text: str) -> None:
    shown = quotable(text, secret="my own secret")
    assert "[key]" in shown
    assert not any(part in shown for part in ("abc", "wxyz", "secret"))


def test_a_web_page_is_not_quoted() -> None:
    error = server_error("<html><h1>502 Bad Gateway</h1></html>", status=502)
    assert error.fault is ModelFault.UNAVAILABLE
    assert error.words == "The model server is not available at the moment. (HTTP 502)"


@pytest.mark.parametrize(
    ("milliseconds", "seconds", "delay_s"),
    [
        (None, None, None),
        (None, "7", 7.0),
        (None, "0.5", 0.5),
        ("1500", "7", 1.5),
        ("junk", "7", 7.0),
        (None, "junk", None),
        (None, "nan", None),
        (None, "-3", 0.0),
        (None, "inf", MAX_RETRY_AFTER_S),
        (None, formatdate(1_000_030, usegmt=True), 30.0),
        (None, formatdate(999_000, usegmt=True), 0.0),
    ],
)
def test_the_delay_that_a_server_asks_for_is_read(
    milliseconds: str | None, seconds: str | None, delay_s: float | None
) -> None:
    found = retry_after_s(milliseconds, seconds, now_s=1_000_000)
    assert found == delay_s or (found is not None and delay_s is not None and math.isclose(found, delay_s))
