"""What is stored can be read for ever: golden logs, names, versions, and round trips.

A golden log is never changed once it was released; a new version of an event gets a new log.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import fields, is_dataclass
from pathlib import Path
from random import Random
from typing import Any, get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat import codec
from chat.codec import (
    STORED_NAMES,
    WORDS,
    StoredEventError,
    Words,
    decode_event,
    decode_snapshot,
    encode_event,
    encode_snapshot,
)
from chat.core.calls import ToolCall
from chat.core.effects import Effect
from chat.core.events import Event
from chat.core.ids import CallId
from chat.core.messages import Message
from chat.core.reducer import step
from chat.core.state import Conversation, Phase, Step
from tests.core.wandering import wander
from tests.core.world import World

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = sorted((ROOT / "tests" / "golden").glob("*.jsonl"))
EVENTS: tuple[type[Event], ...] = Event.__args__
PHASES: tuple[type[Phase], ...] = Phase.__args__


def lines(log: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in log.read_text().splitlines()]


def expected(log: Path) -> Any:
    return json.loads(log.with_suffix(".expected.json").read_text())


def decoded(line: dict[str, Any]) -> Event:
    return decode_event(line["name"], line["version"], json.dumps(line["payload"]))


FIRST_READ_BY_MANY_THREADS = """
import json, sys, threading
from concurrent.futures import ThreadPoolExecutor
from chat.codec import decode_snapshot
from tests.test_codec import GOLDEN, decoded, expected, lines

said, snapshots = [line for log in GOLDEN for line in lines(log)], [expected(log)["snapshot"] for log in GOLDEN]
start = threading.Barrier(16)
sys.setswitchinterval(1e-6)

def read(_):
    start.wait()
    return [decoded(line) for line in said], [decode_snapshot(json.dumps(snapshot)) for snapshot in snapshots]

with ThreadPoolExecutor(start.parties) as threads:
    first, *others = threads.map(read, range(start.parties))
assert all(other == first for other in others)
"""


def test_many_threads_may_be_the_first_to_read() -> None:
    ended = subprocess.run([sys.executable, "-c", FIRST_READ_BY_MANY_THREADS], cwd=ROOT, check=False, timeout=60)
    assert ended.returncode == 0


@pytest.mark.parametrize("log", GOLDEN, ids=lambda log: log.stem)
def test_a_golden_log_folds_to_its_snapshot_and_transcript(log: Path) -> None:
    state: Conversation | None = None
    messages: dict[int, Message] = {}
    calls: dict[CallId, ToolCall] = {}
    for line in lines(log):
        result = step(state, decoded(line))
        assert isinstance(result, Step), line
        state = result.state
        messages |= {message.position: message for message in result.messages}
        calls |= {call.call_id: call for call in result.calls}
    assert state is not None
    assert decode_snapshot(json.dumps(expected(log)["snapshot"])) == state
    assert holds(json.loads(encode_snapshot(state)), expected(log)["snapshot"])
    transcript = [messages[position] for position in sorted(messages)]
    assert msgspec.convert(expected(log)["transcript"], type=list[Message]) == transcript
    assert msgspec.convert(expected(log).get("calls", []), type=list[ToolCall]) == list(calls.values())


def holds(stored: Any, old: Any) -> bool:
    """Whether what is stored today says all that was stored then; fields may have come since."""
    if isinstance(old, dict):
        return isinstance(stored, dict) and all(name in stored and holds(stored[name], old[name]) for name in old)
    if isinstance(old, list):
        return isinstance(stored, list) and len(stored) == len(old) and all(map(holds, stored, old))
    return bool(stored == old)


@pytest.mark.parametrize("log", GOLDEN, ids=lambda log: log.stem)
def test_events_of_the_newest_version_are_stored_as_they_were(log: Path) -> None:
    for line in lines(log):
        event = decoded(line)
        name, version = STORED_NAMES[type(event)]
        if line["version"] == version:
            stored = encode_event(event)
            assert stored[:2] == (name, version)
            assert holds(json.loads(stored[2]), line["payload"])


def test_every_event_has_a_stored_name_and_every_name_is_of_one_event() -> None:
    assert set(STORED_NAMES) == set(EVENTS)
    names = [name for name, _ in STORED_NAMES.values()]
    assert len(set(names)) == len(names)
    assert all(name.isidentifier() and len(name) <= 50 for name in names)


def test_every_stored_name_and_version_is_in_a_golden_log() -> None:
    found = {(line["name"], line["version"]) for log in GOLDEN for line in lines(log)}
    wanted = {(name, version) for name, newest in STORED_NAMES.values() for version in range(1, newest + 1)}
    assert found == wanted, "write a golden log of each new event or version, and never change an old one"


def test_the_names_that_the_contract_gives_are_kept() -> None:
    names = {name for name, _ in STORED_NAMES.values()}
    assert names >= {
        "user_message",
        "llm_response_started",
        "llm_response_completed",
        "llm_response_interrupted",
        "llm_response_failed",
    }


def test_every_phase_has_a_name_and_is_in_a_golden_snapshot() -> None:
    found = {expected(log)["snapshot"]["phase"]["name"] for log in GOLDEN}
    assert len(found) == len(PHASES)
    named = [decode_snapshot(json.dumps(expected(log)["snapshot"])).phase for log in GOLDEN]
    assert {type(phase) for phase in named} == set(PHASES)
    assert {codec.phase_name(phase) for phase in named} == found


def test_every_event_carries_when_it_came_in() -> None:
    for event in EVENTS:
        assert "at_ms" in {field.name for field in fields(event)}, event


def test_every_event_and_effect_says_what_it_means() -> None:
    effects: tuple[type[Effect], ...] = Effect.__args__
    for kind in (*EVENTS, *effects, *PHASES):
        assert kind.__doc__
        assert not kind.__doc__.startswith(f"{kind.__name__}("), f"{kind.__name__} has no words of its own"


# What a person or a model can write: anything but halves of character pairs, which no frame brings in.
@given(st.sampled_from(EVENTS).flatmap(st.from_type))
def test_an_event_comes_back_as_it_was_stored(event: Event) -> None:
    name, version, payload = encode_event(event)
    assert decode_event(name, version, payload) == event
    assert codec.stored_name(event) == name


@given(st.from_type(Conversation))
def test_a_snapshot_comes_back_as_it_was_stored(snapshot: Conversation) -> None:
    assert decode_snapshot(encode_snapshot(snapshot)) == snapshot


@pytest.mark.parametrize("seed", range(20))
def test_snapshots_of_a_hostile_world_come_back_as_they_were_stored(seed: int) -> None:
    world = World()
    world.start()
    wander(world, Random(seed), steps=80)
    world.check_log()


def test_a_snapshot_written_before_a_field_with_a_default_was_added_can_be_read() -> None:
    snapshot = expected(GOLDEN[0])["snapshot"]
    del snapshot["retryable"]
    assert decode_snapshot(json.dumps(snapshot)).retryable is None


def test_events_and_snapshots_written_before_there_were_tools_can_be_read() -> None:
    old = expected(next(log for log in GOLDEN if log.stem == "stops"))["snapshot"]
    assert "allowed_tools" not in old
    assert "calls" not in old["phase"]
    snapshot = decode_snapshot(json.dumps(old))
    assert (snapshot.allowed_tools, snapshot.calls) == ((), ())
    assert snapshot.run is not None
    assert snapshot.run.answer_no == 1


# What is text


def held_by(kind: Any) -> set[type[Any]]:
    """The dataclasses that a type is made of."""
    if is_dataclass(kind) and isinstance(kind, type):
        return {kind}.union(*map(held_by, get_type_hints(kind).values()))
    return set().union(*map(held_by, get_args(kind)))


def is_of_characters(kind: Any) -> bool:
    return kind is str or kind is Any or any(map(is_of_characters, get_args(kind)))


def test_every_field_of_characters_of_every_event_is_said_to_be_text_or_not() -> None:
    there = {
        kind: {name for name, hint in get_type_hints(kind).items() if is_of_characters(hint)}
        for kind in set().union(*map(held_by, EVENTS))
    }
    said = {kind: set(names) for kind, names in WORDS.items()}
    assert said == {kind: names for kind, names in there.items() if names}


@given(st.sampled_from(EVENTS).flatmap(st.from_type))
def test_an_erased_event_has_a_mark_in_place_of_text_and_all_else_as_it_was(event: Event) -> None:
    gone = codec.erased(event)
    assert codec.erased(gone) == gone
    assert decode_event(*encode_event(gone)) == gone
    compare(event, gone)


def compare(value: Any, gone: Any) -> None:
    assert type(value) is type(gone)
    if isinstance(value, tuple):
        for one, other in zip(value, gone, strict=True):
            compare(one, other)
    elif is_dataclass(value):
        for field in fields(value):
            one, other = getattr(value, field.name), getattr(gone, field.name)
            match WORDS.get(type(value), {}).get(field.name):
                case Words.TEXT:
                    assert other == (codec.ERASED if one else one)
                case Words.JSON:
                    assert other == (codec.ERASED_JSON if one else one)
                case Words.TOOL:
                    assert other == (codec.ERASED if getattr(value, "problem", "") else one)
                case _:
                    compare(one, other)
    else:
        assert value == gone


@pytest.mark.parametrize(
    ("name", "version", "payload", "words"),
    [
        ("no_such_event", 1, "{}", "an event named 'no_such_event', which this version does not know"),
        ("", 1, "{}", "an event named ''"),
        ("user_message", 2, "{}", "in version 2; this program knows 1"),
        ("user_message", 0, "{}", "is damaged"),
        ("queue_cleared", 1, "", "The stored event 'queue_cleared' is damaged"),
        ("queue_cleared", 1, "{", "is damaged"),
        ("queue_cleared", 1, "[]", "is damaged"),
        ("queue_cleared", 1, "null", "is damaged"),
        ("queue_cleared", 1, "{}", "is damaged"),
        ("queue_cleared", 1, '{"at_ms":"1"}', "is damaged"),
        ("queue_cleared", 1, '{"at_ms":1.5}', "is damaged"),
        ("queue_item_removed", 1, '{"at_ms":1,"message_id":"no uuid"}', "is damaged"),
        ("stop_requested", 1, '{"at_ms":1,"run_id":7}', "is damaged"),
        (
            "tool_allowance_revoked",
            1,
            '{"at_ms":1,"tool":null}',
            "is damaged",
        ),
        (
            "tool_unknown_resolved",
            1,
            '{"at_ms":1,"user_id":1,"call_id":"6f9619ff-8b86-4d01-b42d-00cf4fc964ff","choice":"guess"}',
            "is damaged",
        ),
    ],
)
def test_what_can_not_be_read_is_said_in_words(name: str, version: int, payload: str, words: str) -> None:
    with pytest.raises(StoredEventError, match=words):
        decode_event(name, version, payload)


@pytest.mark.parametrize(
    "payload",
    [
        "",
        "{",
        "null",
        "[]",
        "{}",
        '{"phase":null}',
        '{"phase":{}}',
        '{"phase":{"name":"dancing"}}',
        '{"phase":{"name":"idle"}}',
        '{"phase":{"name":"stopping"},"conversation_id":"6f9619ff-8b86-4d01-b42d-00cf4fc964ff"}',
        '{"phase":{"name":"idle"},"conversation_id":7}',
        '{"phase":{"name":"idle"},"conversation_id":"6f9619ff-8b86-4d01-b42d-00cf4fc964ff","later":1}',
        '{"phase":{"name":["idle"]},"conversation_id":"6f9619ff-8b86-4d01-b42d-00cf4fc964ff"}',
    ],
)
def test_a_damaged_snapshot_is_said_in_words(payload: str) -> None:
    with pytest.raises(StoredEventError, match="A stored snapshot is damaged"):
        decode_snapshot(payload)
