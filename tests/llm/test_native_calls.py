from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.llm.call_filter import CallFilter
from chat.llm.call_ids import CallIds
from chat.llm.native_calls import MAX_CALLS
from chat.llm.port import CallBegun, Chunk, ToolCall
from chat.llm.sse import AnswerDecoder
from tests.llm.asking import calls_of, end_of, notices_of, text_of

DONE = b"data: [DONE]\n\n"


def event(payload: object) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def entry(
    name: str | None = None, arguments: object = None, *, index: object = 0, given_id: object = None
) -> dict[str, object]:
    """One entry of `tool_calls`; what is None is not there."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    fields = {key: value for key, value in (("index", index), ("id", given_id)) if value is not None}
    return fields | ({"function": function} if function else {})


def delta(*entries: object) -> bytes:
    return event({"choices": [{"index": 0, "delta": {"tool_calls": list(entries)}}]})


def finish(reason: str) -> bytes:
    return event({"choices": [{"delta": {}, "finish_reason": reason}]})


def decoded(*pieces: bytes, ids: CallIds | None = None) -> list[Chunk]:
    decoder = AnswerDecoder(tool_names=["run", "run_shell", "now"])
    fresh: list[Chunk] = []
    for piece in pieces:
        decoder.feed(piece, fresh)
    decoder.end(fresh)
    chunks: list[Chunk] = []
    CallFilter(None, ids or CallIds()).take(fresh, chunks)
    return chunks


STREAM = b"".join(
    (
        event({"choices": [{"delta": {"content": "Let me see."}}]}),
        delta(entry("run", "", given_id="a")),
        delta(entry(arguments='{"x"')),
        delta(entry(arguments=": 1}"), entry("now", "{}", index=1, given_id="b")),
        finish("tool_calls"),
        DONE,
    )
)


def test_a_call_comes_whole_before_the_end_and_is_announced_when_its_arguments_begin() -> None:
    chunks = decoded(STREAM)
    assert chunks[1:-1] == [
        CallBegun(name="run"),
        CallBegun(name="now"),
        ToolCall(call_id="a", name="run", arguments='{"x": 1}', source="native"),
        ToolCall(call_id="b", name="now", arguments="{}", source="native"),
    ]
    assert end_of(chunks).finish_reason == "tool_calls"


@given(st.lists(st.integers(0, len(STREAM)), max_size=30))
def test_any_split_of_the_bytes_gives_the_same_calls(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    assert decoded(*(STREAM[start:end] for start, end in pairwise(places))) == decoded(STREAM)


def test_single_bytes_give_the_same_calls() -> None:
    assert decoded(*(STREAM[place : place + 1] for place in range(len(STREAM)))) == decoded(STREAM)


@given(st.lists(st.integers(0, 20), max_size=8), st.lists(st.integers(0, 20), max_size=8), st.randoms())
def test_arguments_of_parallel_calls_may_be_split_and_mixed_in_any_way(
    first_cuts: list[int], second_cuts: list[int], random: object
) -> None:
    arguments = ('{"code": "a \\"}\\" b"}', '{"text": "{}", "n": 2}')
    queues = [
        [entry(arguments=text[start:end], index=index) for start, end in pairwise([0, *sorted(cuts), len(text)])]
        for index, (text, cuts) in enumerate(zip(arguments, (first_cuts, second_cuts), strict=True))
    ]
    mixed = [entry("run", "", given_id="a"), entry("now", "", index=1, given_id="b")]
    while any(queues):
        queue = getattr(random, "choice")([queue for queue in queues if queue])  # noqa: B009
        mixed.append(queue.pop(0))
    assert calls_of(decoded(*(delta(piece) for piece in mixed), DONE)) == [
        ("run", arguments[0]),
        ("now", arguments[1]),
    ]
    assert calls_of(decoded(delta(*mixed), DONE)) == [("run", arguments[0]), ("now", arguments[1])]


WHOLE = '{"x":1}'

ODD_FORMS: dict[str, list[list[object]]] = {
    "no index": [[entry("run", "", index=None, given_id="a")], [entry(None, WHOLE, index=None)]],
    "no index, id in each piece": [
        [entry("run", '{"x"', index=None, given_id="a")],
        [entry(None, ":1}", index=None, given_id="a")],
    ],
    "no index and no id": [[entry("run", '{"x"', index=None)], [entry(None, ":1}", index=None)]],
    "odd index": [[entry("run", WHOLE, index="zero", given_id="a")]],
    "id late": [[entry("run", '{"x"')], [entry(None, ":1}", given_id="a")]],
    "id late, no index": [[entry(None, '{"x"', index=None)], [entry("run", ":1}", index=None, given_id="a")]],
    "another id in each piece": [[entry("run", '{"x"', given_id="a")], [entry(None, ":1}", given_id="b")]],
    "another index in each piece": [
        [entry("run", '{"x"', given_id="a")],
        [entry(None, ":1}", index=1, given_id="a")],
    ],
    "name late": [[entry(None, '{"x"', given_id="a")], [entry("run", ":1}")]],
    "name after the arguments": [[entry(None, WHOLE, given_id="a")], [entry("run", "")]],
    "name split": [[entry("r", given_id="a")], [entry("un")], [entry(None, WHOLE)]],
    "name split, no index": [[entry("ru", index=None)], [entry("n", index=None)], [entry(None, WHOLE, index=None)]],
    "name repeated": [[entry("run", '{"x"', given_id="a")], [entry("run", ":1}", given_id="a")]],
    "name repeated, no id": [[entry("run", '{"x"')], [entry("run", ":1}")]],
    "name repeated, no index": [[entry("run", '{"x"', index=None)], [entry("run", ":1}", index=None)]],
    "name and id repeated at the end": [[entry("run", WHOLE, given_id="a")], [entry("run", "", given_id="a")]],
    "arguments as an object": [[entry("run", {"x": 1}, given_id="a")]],
    "arguments null at first": [
        [{"index": 0, "id": None, "type": None, "function": {"name": "run", "arguments": None}}],
        [entry(None, WHOLE)],
    ],
    "function null at first": [[{"index": 0, "id": "a", "function": None}], [entry("run", WHOLE)]],
    "fields beside the id": [[{"index": 0, "id": "a", "name": "run", "arguments": WHOLE}]],
    "junk beside it": [["junk", None, entry("run", WHOLE)]],
}


@pytest.mark.parametrize("name", ODD_FORMS)
def test_every_odd_form_of_one_call_is_one_call(name: str) -> None:
    pieces = [delta(*entries) for entries in ODD_FORMS[name]]
    ((tool, arguments),) = calls_of(decoded(*pieces, DONE))
    assert (tool, json.loads(arguments)) == ("run", {"x": 1})


TWO_CALLS: dict[str, list[list[object]]] = {
    "one chunk": [[entry("run", WHOLE, given_id="a"), entry("now", "{}", index=1, given_id="b")]],
    "one chunk, no index": [[entry("run", WHOLE, index=None), entry("now", "{}", index=None)]],
    "one chunk, no index, then their arguments": [
        [entry("run", "", index=None), entry("now", "", index=None)],
        [entry(None, WHOLE, index=None), entry(None, "{}", index=None)],
    ],
    "same index, other id": [[entry("run", WHOLE, given_id="a")], [entry("now", "{}", given_id="b")]],
    "same index, no id": [[entry("run", WHOLE)], [entry("now", "{}")]],
    "no index": [[entry("run", WHOLE, index=None, given_id="a")], [entry("now", "{}", index=None, given_id="b")]],
    "no index, no id": [[entry("run", WHOLE, index=None)], [entry("now", "{}", index=None)]],
    "no index, no id, arguments late": [
        [entry("run", WHOLE, index=None)],
        [entry("now", index=None)],
        [entry(None, "{}", index=None)],
    ],
    "same id": [[entry("run", WHOLE, given_id="a"), entry("now", "{}", index=1, given_id="a")]],
    "same id, no index": [
        [entry("run", WHOLE, index=None, given_id="a"), entry("now", "{}", index=None, given_id="a")]
    ],
    "ids empty": [[entry("run", WHOLE, given_id="")], [entry("now", "{}", index=1, given_id="")]],
}


@pytest.mark.parametrize("name", TWO_CALLS)
def test_every_odd_form_of_two_calls_is_two_calls(name: str) -> None:
    chunks = decoded(*(delta(*entries) for entries in TWO_CALLS[name]), DONE)
    assert calls_of(chunks) == [("run", WHOLE), ("now", "{}")]
    ids = [chunk.call_id for chunk in chunks if isinstance(chunk, ToolCall)]
    assert len(set(ids)) == 2
    assert all(ids)


def test_the_same_tool_may_be_called_twice_without_index_and_id() -> None:
    pieces = [delta(entry("run", '{"x":1}', index=None)), delta(entry("run", '{"x":2}', index=None))]
    assert calls_of(decoded(*pieces, DONE)) == [("run", '{"x":1}'), ("run", '{"x":2}')]


def test_calls_without_arguments_are_told_apart_by_the_names_of_the_tools() -> None:
    pieces = [delta(entry("now", index=None)), delta(entry("run", index=None)), delta(entry("_shell", index=None))]
    assert calls_of(decoded(*pieces, DONE)) == [("now", ""), ("run_shell", "")]


@pytest.mark.parametrize("arguments", [None, "", "null", " \n", "  null "])
def test_no_arguments_are_empty(arguments: str | None) -> None:
    assert calls_of(decoded(delta(entry("now", arguments)), DONE)) == [("now", "")]


@pytest.mark.parametrize("arguments", ['{"x": ', "[1]", "x = 1", '"{}"', '{"a":1}{"b":2}', "ü\ufffd"])
def test_arguments_that_are_no_object_are_passed_on_as_they_are(arguments: str) -> None:
    chunks = decoded(delta(entry("run", arguments)), finish("tool_calls"), DONE)
    assert calls_of(chunks) == [("run", arguments)]
    assert notices_of(chunks) == []


@pytest.mark.parametrize("reason", ["stop", "tool_calls", "function_call", "", "eos"])
def test_calls_count_whatever_the_finish_reason_says(reason: str) -> None:
    chunks = decoded(delta(entry("run", WHOLE)), finish(reason), DONE)
    assert calls_of(chunks) == [("run", WHOLE)]
    assert end_of(chunks).finish_reason == reason


@pytest.mark.parametrize("reason", ["length", "max_tokens", "content_filter", "LENGTH"])
def test_a_call_that_the_end_cut_is_left_out_with_a_notice(reason: str) -> None:
    begun = delta(entry("now", ""), entry("run", '{"x', index=1))
    chunks = decoded(begun, finish(reason), DONE)
    assert calls_of(chunks) == [("now", "")]
    assert notices_of(chunks) == ["The answer ended in the middle of a call of “run”, which was left out."]
    assert calls_of(decoded(delta(entry("run", WHOLE)), finish(reason), DONE)) == [("run", WHOLE)]
    assert calls_of(decoded(delta(entry("now", "")), finish(reason), DONE)) == []


def test_a_call_in_a_stream_that_just_ends_has_to_be_whole() -> None:
    assert calls_of(decoded(delta(entry("run", WHOLE)))) == [("run", WHOLE)]
    chunks = decoded(delta(entry("run", '{"x"')))
    assert (calls_of(chunks), len(notices_of(chunks))) == ([], 1)


def test_the_older_function_call_is_a_call() -> None:
    pieces = [{"name": "ru", "arguments": ""}, {"name": "n"}, {"arguments": '{"x"'}, {"arguments": ":1}"}]
    stream = [event({"choices": [{"delta": {"function_call": piece}}]}) for piece in pieces]
    assert calls_of(decoded(*stream, finish("function_call"), DONE)) == [("run", WHOLE)]


@pytest.mark.parametrize("calls", [[entry("run", WHOLE)], entry("run", WHOLE), [entry("run", {"x": 1}, index=None)]])
def test_a_message_instead_of_deltas_may_hold_calls(calls: object) -> None:
    message = {"role": "assistant", "content": "So:", "tool_calls": calls}
    decoder = AnswerDecoder()
    chunks: list[Chunk] = []
    decoder.whole(json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode(), chunks)
    assert [(name, json.loads(arguments)) for name, arguments in calls_of(chunks)] == [("run", {"x": 1})]
    assert text_of(chunks) == "So:"


def test_a_message_after_deltas_repeats_the_calls_or_brings_them() -> None:
    message = event({"choices": [{"message": {"content": "So:", "tool_calls": [entry("run", WHOLE)]}}]})
    text = event({"choices": [{"delta": {"content": "So:"}}]})
    for pieces in ((text, message), (text, delta(entry("run", WHOLE)), message)):
        chunks = decoded(*pieces, DONE)
        assert (text_of(chunks), calls_of(chunks)) == ("So:", [("run", WHOLE)])


def test_an_answer_of_nothing_but_calls_is_an_answer() -> None:
    assert end_of(decoded(delta(entry("now")), DONE)).finish_reason == ""


def test_a_call_without_a_name_is_still_a_call() -> None:
    assert calls_of(decoded(delta(entry(None, "{}")), DONE)) == [("", "{}")]


def test_ids_that_the_prompt_or_the_answer_has_already_are_replaced() -> None:
    pieces = delta(*(entry("now", "{}", index=index, given_id="call_0") for index in range(3)))
    chunks = decoded(pieces, DONE, ids=CallIds(["call_0", "call00002"]))
    ids = [chunk.call_id for chunk in chunks if isinstance(chunk, ToolCall)]
    assert ids == ["call00003", "call00004", "call00005"]


def test_every_call_is_announced_by_the_name_that_it_has_in_the_end() -> None:
    chunks = decoded(delta(entry("ru", "{")), delta(entry("n", "}")), delta(entry("now", index=1)), DONE)
    begun = [chunk.name for chunk in chunks if isinstance(chunk, CallBegun)]
    assert begun == ["ru", "run", "now"]


def test_what_can_not_be_stored_is_replaced() -> None:
    raw = rb'{"index":0,"id":"a\u0000","function":{"name":"r\ud800","arguments":"{\"x\":\"\u0000\"}"}}'
    chunks = decoded(b'data: {"choices":[{"delta":{"tool_calls":[' + raw + b"]}}]}\n\n", DONE)
    assert calls_of(chunks) == [("r\ufffd", '{"x":"\ufffd"}')]


def test_arguments_and_calls_are_bounded() -> None:
    piece = delta(entry("run", "x" * 100_000, given_id="a"))
    chunks = decoded(*[piece] * 11, delta(entry("now", "{}", index=1)), DONE)
    assert calls_of(chunks) == [("now", "{}")]
    assert notices_of(chunks) == ["A call of “run” was too long and was left out."]
    chunks = decoded(*(delta(entry("now", "{}", index=index)) for index in range(MAX_CALLS + 5)), DONE)
    assert len(calls_of(chunks)) == MAX_CALLS
    assert notices_of(chunks) == [f"All calls after the first {MAX_CALLS} were left out."]
