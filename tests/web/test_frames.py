"""Frames of clients: each shape of the contract is taken, everything else is refused in words, nothing else happens."""

from __future__ import annotations

import json
from typing import Any, get_args
from uuid import UUID

import pytest

from chat.core.calls import Artifact, Choice, Scope
from chat.core.events import (
    MessageSubmitted,
    QueueCleared,
    QueueItemEdited,
    QueueItemHeld,
    QueueItemMoved,
    QueueItemRemoved,
    QueueResumed,
    RetryRequested,
    StopRequested,
    ToolAllowanceRevoked,
    ToolApproved,
    ToolRejected,
    UnknownOutcomeResolved,
    WishEvent,
)
from chat.core.ids import ArtifactId, CallId, ConversationId, MessageId, RunId, answer_id, run_id
from chat.core.messages import Delivery
from chat.web import frames
from chat.web.frames import (
    ARGUMENTS_DEPTH_MAX,
    CONTENT_LIMIT_CHARACTERS,
    FRAME_LIMIT_CHARACTERS,
    Frame,
    FrameError,
    Reject,
    Sync,
    call_id_of,
    event_of,
    parse,
)
from tests.web.shapes import ID, SHAPES

AN_ID = UUID(ID)

CONTRACTS_TYPES = {
    *("user_message", "stop", "approve", "reject", "retry", "resolve_unknown", "sync"),
    *("queue_edit", "queue_remove", "queue_move", "queue_clear", "queue_resume"),
}


def refused(text: str) -> FrameError:
    with pytest.raises(FrameError) as raised:
        parse(text)
    assert raised.value.words == str(raised.value)
    return raised.value


@pytest.mark.parametrize("shape", SHAPES, ids=json.dumps)
def test_every_shape_of_the_contract_is_taken(shape: dict[str, Any]) -> None:
    frame = parse(json.dumps(shape))
    assert isinstance(frame, get_args(Frame))
    for name in shape.keys() - {"type"}:
        assert getattr(frame, name, None) is not None or shape[name] is None


def test_every_type_is_in_the_table_of_shapes_and_the_contracts_are_all_there() -> None:
    assert {shape["type"] for shape in SHAPES} == set(frames.TYPES)
    assert set(frames.TYPES) >= CONTRACTS_TYPES


@pytest.mark.parametrize("shape", SHAPES, ids=json.dumps)
@pytest.mark.parametrize("headers", [{}, {"HX-Request": "true", "HX-Target": None}, None, "x", 7])
def test_the_headers_that_htmx_adds_are_dropped(shape: dict[str, Any], headers: object) -> None:
    assert parse(json.dumps({**shape, "HEADERS": headers})) == parse(json.dumps(shape))


AT_MS = 1_700_000_000_000
PERSON = 9
WISHES: list[tuple[dict[str, Any], WishEvent]] = [
    (
        {"type": "user_message", "content": "x", "id": ID, "delivery": "steer"},
        MessageSubmitted(message_id=MessageId(AN_ID), content="x", delivery=Delivery.STEER, queue_limit=7, at_ms=AT_MS),
    ),
    ({"type": "stop"}, StopRequested(run_id=None, at_ms=AT_MS)),
    ({"type": "stop", "run_id": ID}, StopRequested(run_id=RunId(AN_ID), at_ms=AT_MS)),
    ({"type": "retry"}, RetryRequested(at_ms=AT_MS)),
    (
        {"type": "queue_edit", "id": ID, "content": "y"},
        QueueItemEdited(message_id=MessageId(AN_ID), content="y", at_ms=AT_MS),
    ),
    (
        {"type": "queue_hold", "id": ID, "held": False},
        QueueItemHeld(message_id=MessageId(AN_ID), is_held=False, at_ms=AT_MS),
    ),
    ({"type": "queue_remove", "id": ID}, QueueItemRemoved(message_id=MessageId(AN_ID), at_ms=AT_MS)),
    (
        {"type": "queue_move", "id": ID, "position": 3},
        QueueItemMoved(message_id=MessageId(AN_ID), position=3, at_ms=AT_MS),
    ),
    ({"type": "queue_clear"}, QueueCleared(at_ms=AT_MS)),
    ({"type": "queue_resume"}, QueueResumed(at_ms=AT_MS)),
    (
        {"type": "approve", "call_id": ID, "digest": "d"},
        ToolApproved(call_id=CallId(AN_ID), digest="d", arguments=None, scope=Scope.ONCE, user_id=PERSON, at_ms=AT_MS),
    ),
    (
        {
            "type": "approve",
            "call_id": ID,
            "digest": "d",
            "arguments": {"b": [1, 2.5, None, "é\u2028"], "a": {}},
            "scope": "conversation",
        },
        ToolApproved(
            call_id=CallId(AN_ID),
            digest="d",
            arguments='{"b":[1,2.5,null,"é\u2028"],"a":{}}',
            scope=Scope.CONVERSATION,
            user_id=PERSON,
            at_ms=AT_MS,
        ),
    ),
    (
        {"type": "approve", "call_id": ID, "digest": "d", "arguments": {}},
        ToolApproved(call_id=CallId(AN_ID), digest="d", arguments="{}", scope=Scope.ONCE, user_id=PERSON, at_ms=AT_MS),
    ),
    (
        {"type": "reject", "call_id": ID},
        ToolRejected(call_id=CallId(AN_ID), reason="", user_id=PERSON, at_ms=AT_MS),
    ),
    (
        {"type": "reject", "call_id": ID, "reason": "Not now."},
        ToolRejected(call_id=CallId(AN_ID), reason="Not now.", user_id=PERSON, at_ms=AT_MS),
    ),
    (
        {"type": "resolve_unknown", "call_id": ID, "choice": "run_again"},
        UnknownOutcomeResolved(call_id=CallId(AN_ID), choice=Choice.RUN_AGAIN, user_id=PERSON, at_ms=AT_MS),
    ),
    (
        {"type": "resolve_unknown", "call_id": ID, "choice": "continue"},
        UnknownOutcomeResolved(call_id=CallId(AN_ID), choice=Choice.CONTINUE, user_id=PERSON, at_ms=AT_MS),
    ),
    ({"type": "tool_revoke", "tool": "act"}, ToolAllowanceRevoked(tool="act", at_ms=AT_MS)),
]


@pytest.mark.parametrize(("shape", "event"), WISHES)
def test_a_frame_becomes_the_event_that_it_wishes_for(shape: dict[str, Any], event: WishEvent) -> None:
    frame = parse(json.dumps(shape))
    assert not isinstance(frame, Sync)
    assert event_of(frame, at_ms=AT_MS, queue_limit=7, user_id=PERSON) == event


def test_a_message_without_an_id_gets_a_new_one_each_time() -> None:
    frame = parse('{"type":"user_message","content":"x"}')
    assert not isinstance(frame, Sync)
    events = [event_of(frame, at_ms=AT_MS, queue_limit=7, user_id=PERSON) for _ in range(2)]
    ids = {event.message_id for event in events if isinstance(event, MessageSubmitted)}
    assert len(ids) == 2


def test_attachments_go_with_their_message_as_they_were_found() -> None:
    frame = parse(json.dumps({"type": "user_message", "content": "x", "id": ID, "attachments": [ID]}))
    assert isinstance(frame, frames.UserMessage)
    assert frame.attachments == (AN_ID,)
    file = Artifact(artifact_id=ArtifactId(AN_ID), name="sales.csv", mime="text/csv", size=7)
    event = event_of(frame, at_ms=AT_MS, queue_limit=7, user_id=PERSON, attachments=(file,))
    assert isinstance(event, MessageSubmitted)
    assert event.attachments == (file,)


def nested(depth: int) -> dict[str, Any]:
    """Arguments so deep, the outermost being 1."""
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


def test_arguments_are_as_deep_as_everybody_can_follow_and_no_deeper() -> None:
    shape = {"type": "approve", "call_id": ID, "digest": "d"}
    assert parse(json.dumps({**shape, "arguments": nested(ARGUMENTS_DEPTH_MAX)}))
    assert refused(json.dumps({**shape, "arguments": nested(ARGUMENTS_DEPTH_MAX + 1)})).code == "invalid_frame"


# What is refused

NO_JSON = [
    "",
    " ",
    "null",
    "true",
    "7",
    '"stop"',
    "[]",
    '[{"type":"stop"}]',
    "{",
    "{}{}",
    '{"type":"stop"',
    '{"type":"stop",}',
    "{'type':'stop'}",
    '{"type":stop}',
    "\ufeff" + '{"type":"stop"}',
    "\0",
    "\ud800",
    '{"type":"stop\ud800"}',
    '{"type":"st\nop"}',
    '{"type":"\\ud800"}',
    "[" * 100_000,
    '{"a":' * 5_000,
    "\x89PNG\r\n\x1a\n",
    "NaN",
    '{"type":"sync","after":NaN}',
    '{"type":"sync","after":01}',
]
UNKNOWN = [
    {},
    {"type": None},
    {"type": 7},
    {"type": ["stop"]},
    {"type": {"stop": 1}},
    {"type": True},
    {"type": ""},
    {"type": "Stop"},
    {"type": "stop "},
    {"type": "state_update"},
    {"type": "error"},
    {"Type": "stop"},
    {"HEADERS": {"type": "stop"}},
]


def with_each(shape: dict[str, Any], name: str, values: tuple[Any, ...]) -> list[dict[str, Any]]:
    return [{**shape, name: value} for value in values]


WRONG_FIELDS: list[dict[str, Any]] = [
    *with_each({"type": "user_message"}, "content", (None, 7, True, [], ["x"], {}, "")),
    {"type": "user_message"},
    {"type": "user_message", "content": "x", "extra": 1},
    {"type": "user_message", "content": "x", "role": "assistant"},
    {"type": "user_message", "content": "x", "headers": {}},
    {"type": "user_message", "content": "a\0b"},
    *with_each({"type": "user_message", "content": "x"}, "id", ("", "x", 7, ID + "0", f"{{{ID}}}x", [ID])),
    *with_each({"type": "user_message", "content": "x"}, "delivery", (None, "", "QUEUE", "later", 0)),
    *with_each({"type": "user_message", "content": "x"}, "attachments", (None, ID, [7], ["x"], {}, [ID] * 21)),
    {"type": "stop", "run_id": "x"},
    {"type": "stop", "content": "x"},
    {"type": "retry", "id": ID},
    {"type": "queue_edit", "id": ID},
    {"type": "queue_edit", "content": "x"},
    {"type": "queue_edit", "id": ID, "content": ""},
    {"type": "queue_edit", "id": None, "content": "x"},
    {"type": "queue_edit", "id": ID, "content": "a\0b"},
    *with_each({"type": "queue_hold", "id": ID}, "held", (None, 0, 1, "true", [])),
    {"type": "queue_remove"},
    {"type": "queue_remove", "id": 7},
    *with_each({"type": "queue_move", "id": ID}, "position", (None, -1, 1.5, "1", True, 10**7, 10**30)),
    {"type": "queue_clear", "id": ID},
    {"type": "queue_resume", "held": True},
    {"type": "approve", "call_id": ID},
    {"type": "approve", "digest": "d"},
    {"type": "approve", "call_id": 7, "digest": "d"},
    {"type": "approve", "call_id": ID, "digest": "d", "arguments": []},
    {"type": "approve", "call_id": ID, "digest": "d", "scope": "always"},
    {"type": "approve", "call_id": ID, "digest": "d", "result": "done"},
    {"type": "approve", "call_id": ID, "digest": 7},
    {"type": "approve", "call_id": ID, "digest": "d" * 201},
    {"type": "approve", "call_id": ID, "digest": "d", "user_id": 1},
    *with_each({"type": "approve", "call_id": ID, "digest": "d"}, "arguments", ("{}", 7, True, [{}])),
    {"type": "approve", "call_id": ID, "digest": "d", "arguments": {"a": "b\0"}},
    {"type": "approve", "call_id": ID, "digest": "d", "arguments": {"a\0": 1}},
    {"type": "approve", "call_id": ID, "digest": "d", "arguments": {"a": [{"b": "\0"}]}},
    *with_each({"type": "approve", "call_id": ID, "digest": "d"}, "scope", (None, "", "ONCE", 1)),
    {"type": "reject", "call_id": ID, "reason": "a\0b"},
    {"type": "reject", "call_id": ID, "reason": "x" * (CONTENT_LIMIT_CHARACTERS + 1)},
    {"type": "reject", "call_id": ID, "reason": None},
    {"type": "resolve_unknown", "choice": "continue"},
    {"type": "tool_revoke"},
    *with_each({"type": "tool_revoke"}, "tool", (None, 7, [], "t" * 201, "a\0b")),
    {"type": "reject"},
    {"type": "reject", "call_id": ID, "reason": 7},
    {"type": "resolve_unknown", "call_id": ID},
    {"type": "resolve_unknown", "call_id": ID, "choice": "guess"},
    *with_each({"type": "sync"}, "after", (None, -1, "0", 0.5, True, 2**53 + 1, 10**400)),
    {"type": "sync"},
]


@pytest.mark.parametrize("text", NO_JSON, ids=lambda text: ascii(text[:20]))
def test_what_is_no_json_object_is_refused(text: str) -> None:
    assert refused(text).code == "invalid_json"


@pytest.mark.parametrize("shape", UNKNOWN, ids=json.dumps)
def test_unknown_types_are_refused_with_those_that_are_known(shape: dict[str, Any]) -> None:
    fault = refused(json.dumps(shape))
    assert fault.code == "unknown_type"
    assert all(known in fault.words for known in CONTRACTS_TYPES)


@pytest.mark.parametrize("shape", WRONG_FIELDS, ids=lambda shape: json.dumps(shape)[:80])
def test_missing_unknown_and_wrong_fields_are_refused(shape: dict[str, Any]) -> None:
    fault = refused(json.dumps(shape))
    assert fault.code == "invalid_frame"
    assert len(fault.words) < 300


def test_a_refusal_names_what_it_is_about() -> None:
    assert refused(json.dumps({"type": "queue_edit", "id": ID, "content": ""})).ref == ID
    assert refused(json.dumps({"type": "nonsense", "id": "mine"})).ref == "mine"
    assert refused(json.dumps({"type": "reject", "call_id": "call-1", "reason": 7})).ref == "call-1"
    assert refused(json.dumps({"type": "queue_edit", "id": 7, "call_id": ["x"]})).ref == ""
    assert refused(json.dumps({"type": "queue_edit", "id": "x" * 101})).ref == ""


def test_a_client_can_not_use_the_ids_that_answers_will_have() -> None:
    answer = answer_id(run_id(ConversationId(AN_ID), 1), 1)
    fault = refused(json.dumps({"type": "user_message", "content": "x", "id": str(answer)}))
    assert (fault.code, fault.ref) == ("invalid_frame", str(answer))


# Lengths


@pytest.mark.parametrize("character", ["a", "é", "你", "\U0001f469", "\n", "\\", "\x01"])
@pytest.mark.parametrize("kind", [{"type": "user_message"}, {"type": "queue_edit", "id": ID}])
@pytest.mark.parametrize("is_escaped", [True, False])
def test_content_has_from_1_to_32_000_characters_however_it_is_written(
    character: str, kind: dict[str, str], is_escaped: bool
) -> None:
    for count in (1, CONTENT_LIMIT_CHARACTERS):
        frame = parse(json.dumps({**kind, "content": character * count}, ensure_ascii=is_escaped))
        assert isinstance(frame, frames.UserMessage | frames.QueueEdit)
        assert frame.content == character * count
    too_long = json.dumps({**kind, "content": character * (CONTENT_LIMIT_CHARACTERS + 1)}, ensure_ascii=is_escaped)
    assert refused(too_long).code == "invalid_frame"


def test_a_frame_that_is_far_too_long_is_not_even_read() -> None:
    assert refused(" " * (FRAME_LIMIT_CHARACTERS + 1)).code == "too_long"
    assert parse('{"type":"stop"}'.ljust(FRAME_LIMIT_CHARACTERS)) == frames.Stop()


def test_a_decision_on_a_name_that_no_call_can_have_finds_no_call() -> None:
    frame = parse('{"type": "reject", "call_id": "call-1"}')
    assert isinstance(frame, Reject)
    with pytest.raises(FrameError) as raised:
        call_id_of(frame)
    assert (raised.value.code, raised.value.ref) == ("not_found", "call-1")
