from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chat.llm.port import Chunk, Ended, ModelError, ModelFault, Reasoning, Text, Usage
from chat.llm.sse import AnswerDecoder, EventDecoder
from tests.costs import least_ratio
from tests.llm.asking import end_of, reasoning_of, text_of

STREAM = (
    "\ufeff: hello\r\n\r\n"
    'data: {"choices":[{"delta":{"role":"assistant","content":""}}]}\r\n\r\n'
    "event: message\nid: 7\nretry: 100\n"
    'data:{"choices":[{"delta":{"content":"Grüße, 世界 🎉"}}]}\n\n'
    ": keep-alive\r\r"
    'data: {"choices":[{"delta":\rdata: {"reasoning":"hm"}}]}\r\r'
    'data: {"choices":[{"delta":{"content":"!"},"finish_reason":"stop"}]}\n\n'
    'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5}}\r\n\r\n'
    "data: [DONE]\n\n"
    'data: {"choices":[{"delta":{"content":"after the end"}}]}\n\n'
).encode()


def decoded(*pieces: bytes) -> list[Chunk]:
    decoder = AnswerDecoder()
    chunks: list[Chunk] = []
    for piece in pieces:
        decoder.feed(piece, chunks)
    decoder.end(chunks)
    return chunks


def event(payload: object) -> bytes:
    return b"data: " + json.dumps(payload).encode() + b"\n\n"


def delta(**fields: object) -> bytes:
    return event({"choices": [{"index": 0, "delta": fields}]})


def broken(*pieces: bytes) -> ModelError:
    with pytest.raises(ModelError) as raised:
        decoded(*pieces)
    return raised.value


def test_a_whole_stream_becomes_its_chunks() -> None:
    assert decoded(STREAM) == [
        Text(text="Grüße, 世界 🎉"),
        Reasoning(text="hm"),
        Text(text="!"),
        Ended(finish_reason="stop", usage=Usage(prompt_tokens=3, completion_tokens=5), model=""),
    ]


@given(st.lists(st.integers(0, len(STREAM)), max_size=30))
def test_any_split_of_the_bytes_gives_the_same_chunks(cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(STREAM)]
    pieces = [STREAM[start:end] for start, end in pairwise(places)]
    assert decoded(*pieces) == decoded(STREAM)


def test_single_bytes_give_the_same_chunks() -> None:
    assert decoded(*(STREAM[i : i + 1] for i in range(len(STREAM)))) == decoded(STREAM)


@given(st.lists(st.sampled_from([b"data: a", b"data:b", b"data", b": c", b"x: y", b""])), st.data())
def test_every_kind_of_line_end_means_the_same(lines: list[bytes], data: st.DataObject) -> None:
    ends = [data.draw(st.sampled_from([b"\n", b"\r\n"])) for _ in lines]
    mixed = b"".join(line + end for line, end in zip(lines, ends, strict=True))
    plain = b"".join(line + b"\n" for line in lines)
    old = b"".join(line + b"\r" for line in lines)
    assert events_of(mixed) == events_of(plain) == events_of(old)


WORDS = (
    b"data: x",
    b"data:y",
    b"data",
    b"data: ",
    b"\n",
    b"\n\n",
    b"\r",
    b"\r\n",
    b": c",
    b"event: e",
    b"\xef\xbb\xbf",
    b" ",
)


@given(st.lists(st.lists(st.sampled_from(WORDS), min_size=1, max_size=6).map(b"".join), max_size=5))
@example([b": hi\n\n", b"data:\n", b"data: x\n\n"])
def test_pieces_of_any_kind_say_what_their_bytes_say(pieces: list[bytes]) -> None:
    stream = b"".join(pieces)
    assert events_of(*pieces) == events_of(*(stream[i : i + 1] for i in range(len(stream))))


def events_of(*pieces: bytes) -> list[bytes]:
    decoder = EventDecoder()
    return [*(found for piece in pieces for found in decoder.feed(piece)), *decoder.end()]


def test_several_data_lines_are_one_event() -> None:
    assert events_of(b"data: a\ndata:  b\ndata\n\ndata: c\n\n") == [b"a\n b\n", b"c"]


def test_the_last_event_may_miss_its_blank_line_or_even_its_line_end() -> None:
    assert events_of(b"data: a\n\ndata: b\n") == [b"a", b"b"]
    assert events_of(b"data: a\n\ndata: b") == [b"a", b"b"]


@pytest.mark.parametrize(
    "stream",
    [b"data: " + b"x" * 200, b": " + b"x" * 200, b"data: 0123456789\n" * 20],
    ids=["line", "comment", "lines"],
)
def test_an_event_without_end_is_an_error(stream: bytes) -> None:
    decoder = EventDecoder(max_event_bytes=100)
    pieces = (stream[i : i + 7] for i in range(0, len(stream), 7))
    with pytest.raises(ModelError, match="100 bytes") as raised:
        list(map(decoder.feed, pieces))
    assert raised.value.fault is ModelFault.BROKEN_STREAM


def test_the_bound_is_for_one_event_and_not_for_the_stream() -> None:
    decoder = EventDecoder(max_event_bytes=100)
    events = [found for _ in range(1_000) for found in decoder.feed(b": note\ndata: " + b"x" * 50 + b"\n\n")]
    assert events == [b"x" * 50] * 1_000


@pytest.mark.parametrize("kind", ["content", "reasoning"])
def test_an_answer_without_end_is_an_error_that_keeps_what_came(kind: str) -> None:
    decoder = AnswerDecoder()
    chunks: list[Chunk] = []
    piece = delta(**{kind: "x" * 1_000_000})
    for _ in range(32):
        decoder.feed(piece, chunks)
    with pytest.raises(ModelError, match="32,000,000 characters") as raised:
        decoder.feed(piece, chunks)
    assert raised.value.fault is ModelFault.BROKEN_STREAM
    assert len(text_of(chunks) + reasoning_of(chunks)) == 33_000_000


def test_tiny_pieces_of_a_large_event_cost_no_more_than_the_bytes() -> None:
    def feed(count: int) -> None:
        decoder = EventDecoder()
        for _ in range(count):
            decoder.feed(b"x")

    # Half as much again for the memory; a cost that grows with what is there would be 16 times as much.
    assert least_ratio(lambda: feed(200_000), lambda: feed(50_000), enough=6) < 6


def test_a_common_chunk_is_cheap() -> None:
    chunk = event(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": "gpt",
            "system_fingerprint": "fp",
            "choices": [{"index": 0, "delta": {"content": " word"}, "logprobs": None, "finish_reason": None}],
            "usage": None,
        }
    )
    decoder = AnswerDecoder()
    payload = chunk.removeprefix(b"data: ")

    def decode() -> None:
        chunks: list[Chunk] = []
        for _ in range(5_000):
            decoder.feed(chunk, chunks)

    def parse() -> None:
        for _ in range(5_000):
            json.loads(payload)

    # Less than the standard library takes for the JSON alone; the SDK's own way costs more than ten times that.
    assert least_ratio(decode, parse, enough=2) < 2


def test_chunks_without_content_say_nothing() -> None:
    chunks = decoded(
        event({"choices": []}),
        event({"choices": None}),
        event({}),
        delta(role="assistant", content=None),
        delta(content=""),
        event({"choices": [{"delta": None}]}),
        event({"choices": [{"index": None, "delta": {"content": "x"}}], "error": None, "unknown": [1, {}]}),
    )
    assert chunks == [Text(text="x"), Ended(finish_reason="", usage=None, model="")]


def test_content_may_be_a_list_of_parts() -> None:
    chunks = decoded(
        delta(
            content=[
                {"type": "text", "text": "a"},
                "b",
                {"type": "image_url", "image_url": {}},
                "",
                {"text": "c"},
            ]
        )
    )
    assert text_of(chunks) == "abc"


def test_thinking_parts_are_reasoning() -> None:
    chunks = decoded(
        delta(content=[{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}, {"text": "yes"}])
    )
    assert chunks[:2] == [Reasoning(text="hm"), Text(text="yes")]


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_reasoning_is_kept_apart(name: str) -> None:
    chunks = decoded(delta(**{name: "hm", "content": "yes"}))
    assert (reasoning_of(chunks), text_of(chunks)) == ("hm", "yes")


def test_reasoning_under_both_names_counts_once() -> None:
    assert reasoning_of(decoded(delta(reasoning="hm", reasoning_content="hm"))) == "hm"


def test_a_refusal_is_text_for_the_person() -> None:
    assert text_of(decoded(delta(content=None, refusal="I can't."))) == "I can't."


def test_a_message_instead_of_deltas_is_the_answer() -> None:
    assert text_of(decoded(event({"choices": [{"message": {"content": "all"}, "delta": {}}]}))) == "all"


def test_a_message_after_deltas_is_not_said_twice() -> None:
    assert text_of(decoded(delta(content="all"), event({"choices": [{"message": {"content": "all"}}]}))) == "all"


def test_other_choices_than_the_first_are_left_out() -> None:
    choices = [{"index": 1, "delta": {"content": "no"}}, {"index": 0, "delta": {"content": "yes"}}]
    assert text_of(decoded(event({"choices": choices}))) == "yes"


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter", "tool_calls", "eos", "weird"])
def test_every_finish_reason_is_passed_on(reason: str) -> None:
    chunks = decoded(delta(content="x"), event({"model": "m-1", "choices": [{"delta": {}, "finish_reason": reason}]}))
    assert end_of(chunks) == Ended(finish_reason=reason, usage=None, model="m-1")


def test_usage_may_come_last_or_with_every_chunk_and_the_last_counts() -> None:
    chunks = decoded(
        event({"choices": [{"delta": {"content": "x"}}], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}),
        event({"choices": [], "usage": {"prompt_tokens": 3.0, "completion_tokens": 2, "details": {}}}),
        event({"choices": [], "usage": "odd"}),
    )
    assert end_of(chunks).usage == Usage(prompt_tokens=3, completion_tokens=2)


def test_usage_that_is_no_number_is_unknown() -> None:
    chunks = decoded(delta(content="x"), event({"usage": {"prompt_tokens": "3", "completion_tokens": -1}}))
    assert end_of(chunks).usage == Usage(prompt_tokens=None, completion_tokens=None)


def test_a_finish_reason_without_text_is_an_answer() -> None:
    chunks = decoded(event({"choices": [{"delta": {}, "finish_reason": "content_filter"}]}))
    assert chunks == [Ended(finish_reason="content_filter", usage=None, model="")]


@pytest.mark.parametrize("stream", [b"", b"data: [DONE]\n\n", b": only a comment\n\n", delta(role="assistant")])
def test_a_stream_without_any_answer_is_broken(stream: bytes) -> None:
    assert broken(stream).fault is ModelFault.BROKEN_STREAM


def test_text_before_an_error_is_not_lost() -> None:
    decoder = AnswerDecoder()
    chunks: list[Chunk] = []
    with pytest.raises(ModelError):
        decoder.feed(delta(content="so far") + event({"error": {"message": "boom", "type": "server_error"}}), chunks)
    assert chunks == [Text(text="so far")]


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        ({"message": "boom", "type": "server_error"}, ModelFault.UNAVAILABLE),
        ({"message": "Overloaded", "type": "overloaded_error"}, ModelFault.UNAVAILABLE),
        ({"message": "slow", "code": "rate_limit_exceeded"}, ModelFault.RATE_LIMIT),
        ({"message": "slow", "code": 429}, ModelFault.RATE_LIMIT),
        ({"message": "odd", "code": "²"}, ModelFault.UNKNOWN),
        ({"message": "odd", "code": "4" * 5_000}, ModelFault.UNKNOWN),
        ({"message": "no money", "code": "insufficient_quota"}, ModelFault.QUOTA),
        ({"message": "This model's maximum context length is 8192 tokens"}, ModelFault.CONTEXT_TOO_LONG),
        ({"message": "odd", "type": "invalid_request_error"}, ModelFault.BAD_REQUEST),
        ("plain words", ModelFault.UNKNOWN),
        ({"error": {"code": "timeout"}}, ModelFault.TIMEOUT),
        ([], ModelFault.UNKNOWN),
    ],
)
def test_an_error_inside_the_stream_is_sorted_by_its_words(error: object, fault: ModelFault) -> None:
    assert broken(event({"error": error})).fault is fault
    assert broken(event({"choices": [{"delta": {}, "error": error}]})).fault is fault


@pytest.mark.parametrize(
    "payload", [b'{"choices":[{"delta":', b"oops", b"{} {}", b"<html>", b"[" * 100_000, b'{"a":' * 100_000]
)
def test_broken_json_is_said_in_words(payload: bytes) -> None:
    error = broken(delta(content="x"), b"data: " + payload + b"\n\n")
    assert error.fault is ModelFault.BROKEN_STREAM
    assert "model server sent a chunk that is" in error.words


@pytest.mark.parametrize("payload", [b"[]", b'"x"', b'{"choices":5}', b'{"choices":[{"delta":{"content":5}}]}'])
def test_json_of_another_shape_is_said_in_words(payload: bytes) -> None:
    error = broken(b"data: " + payload + b"\n\n")
    assert error.fault is ModelFault.BROKEN_STREAM
    assert "no chat completion" in error.words


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (rb"a\u0000b", "a\ufffdb"),
        (rb"\u00fc\u0000", "ü\ufffd"),
        (rb"a\ud83d", "a\ufffd"),
        (rb"\ude00b", "\ufffdb"),
        (rb"\ud83d\ude00", "😀"),
        (b"a\xffb", "a\ufffdb"),
        (b"tab\tand\x01", "tab\tand\x01"),
    ],
)
def test_what_can_not_be_stored_is_replaced(raw: bytes, text: str) -> None:
    assert text_of(decoded(b'data: {"choices":[{"delta":{"content":"' + raw + b'"}}]}\n\n')) == text
