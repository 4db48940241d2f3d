"""Whatever a client sends is a frame, or an error in words, and nothing else happens."""

from __future__ import annotations

import json
import os
from typing import get_args

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chat.core.events import (
    MessageSubmitted,
    QueueItemEdited,
    ToolApproved,
    ToolRejected,
    WishEvent,
)
from chat.web import frames
from chat.web.frames import (
    CONTENT_LIMIT_CHARACTERS,
    Frame,
    FrameError,
    Sync,
    event_of,
    parse,
)
from tests.web.shapes import ID, SHAPES

MALFORMED_FRAMES = int(os.environ.get("MALFORMED_FRAMES", "10000"))
AT_MS = 1_700_000_000_000
PERSON = 9

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(10**400), max_value=10**400)
    | st.floats()
    | st.text(max_size=10)
    | st.sampled_from([ID, "queue", "once", "\0", "x" * 32_001]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
NAMES = st.sampled_from(sorted({name for shape in SHAPES for name in shape} | {"HEADERS", "extra", ""}))
TYPES = st.sampled_from(frames.TYPES)


@st.composite
def damaged_frames(draw: st.DrawFn) -> str:
    """A frame of the contract with fields changed, removed or added."""
    shape = dict(draw(st.sampled_from(SHAPES)))
    shape |= draw(st.dictionaries(NAMES, JSON_VALUES, max_size=2))
    for name in draw(st.lists(NAMES, max_size=1)):
        shape.pop(name, None)
    return json.dumps(shape, ensure_ascii=draw(st.booleans()))


@st.composite
def damaged_texts(draw: st.DrawFn) -> str:
    """A frame whose text was cut, or has something in it that does not belong there."""
    text = draw(damaged_frames())
    at = draw(st.integers(0, len(text)))
    put_in = draw(
        st.sampled_from(["", "\0", "\ud83d", "\udc00", '"', "\\", "\\ud800", "{", "]", "1e999", "\ufffe", "é"])
    )
    return text[:at] + put_in + draw(st.sampled_from([text[at:], ""]))


DEPTHS = st.integers(1, 20_000)
NESTED = st.builds(
    lambda depth, before, opening: before + opening * depth,
    DEPTHS,
    st.sampled_from(
        [
            "",
            '{"type":"approve","call_id":"123e4567-e89b-42d3-a456-426614174000","digest":"d","arguments":',
            '{"HEADERS":',
        ]
    ),
    st.sampled_from(["[", '{"a":', "[[],"]),
)
CLOSED_NESTED = st.builds(
    lambda depth: (
        '{"type":"approve","call_id":"123e4567-e89b-42d3-a456-426614174000","digest":"d","arguments":'
        + '{"a":' * depth
        + "1"
        + "}" * depth
        + "}"
    ),
    DEPTHS,
)
BINARY = st.binary(max_size=40).map(lambda data: data.decode("latin-1"))
ANY_TEXT = st.text(st.characters(exclude_categories=()), max_size=40)
HOSTILE = st.one_of(
    damaged_frames(),
    damaged_texts(),
    damaged_texts(),
    NESTED,
    CLOSED_NESTED,
    BINARY,
    ANY_TEXT,
    JSON_VALUES.map(json.dumps),
)


@settings(
    max_examples=MALFORMED_FRAMES,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=list(HealthCheck),
)
@given(HOSTILE)
@example('{"type":"stop","type":"retry"}')
@example('{"HEADERS":' + "[" * 900 + "]" * 900 + "}")
def test_whatever_a_client_sends_is_a_frame_or_an_error_in_words(text: str) -> None:
    fault: FrameError | None = None
    try:
        frame = parse(text)
        event = None if isinstance(frame, Sync) else event_of(frame, at_ms=AT_MS, queue_limit=7, user_id=PERSON)
    except FrameError as raised:
        fault = raised
    if fault is not None:
        assert fault.code in {"too_long", "invalid_json", "unknown_type", "invalid_frame", "not_found"}
        assert fault.words
        # It goes back to the client, so it must be possible to send it.
        json.dumps([fault.code, fault.words, fault.ref], ensure_ascii=False).encode()
        return
    assert isinstance(frame, get_args(Frame))
    assert event is None or isinstance(event, get_args(WishEvent))
    if isinstance(event, MessageSubmitted | QueueItemEdited):
        assert 1 <= len(event.content) <= CONTENT_LIMIT_CHARACTERS
        event.content.encode()
        assert "\0" not in event.content
    if isinstance(event, ToolApproved) and event.arguments is not None:
        event.arguments.encode()
        assert isinstance(json.loads(event.arguments), dict)
        assert "\\u0000" not in event.arguments.replace("\\\\", "")
    if isinstance(event, ToolRejected):
        event.reason.encode()
        assert "\0" not in event.reason
