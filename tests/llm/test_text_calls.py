from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.llm import call_block, text_calls
from chat.llm.call_ids import CallIds
from chat.llm.port import CallBegun, Chunk, Text, ToolCall
from chat.llm.text_calls import CallParser
from tests.costs import least_ratio
from tests.llm.asking import calls_of, notices_of, text_of
from tests.llm.parsing import CORPORA, TOOLS, block, invoke, parsed, shown

# Whatever may stand beside something else in an answer, whole or broken.
FRAGMENTS = (
    *("<function_calls>", "</function_calls>", '<invoke name="a">', '<invoke name="b"/>', "</invoke>"),
    *('<parameter name="p">', "</parameter>", "<code>", "</code>", "<x/>", "<![CDATA[", "]]>", "]", "&lt;", "&"),
    *("<tool_call>", "</tool_call>", '{"name":"f","arguments":{"x":"y"}}', '{"name": "g"', '"', "}", "["),
    *("\n", "\n\n", " ", "\t", "`", "``", "```", "~~~", "`````", "> ", "- ", "1. ", "\\", "<", "</", "<inv", "<f"),
    *("<invoke name='z'>", "<function_results>", "x", "abc def", "if a < b:", "py", "<b>", "é"),
)


@pytest.mark.parametrize("name", CORPORA)
def test_every_split_in_two_gives_the_same_chunks(name: str) -> None:
    text = CORPORA[name]
    whole = parsed(text)
    for place in range(len(text)):
        assert parsed(text[:place], text[place:]) == whole


@pytest.mark.parametrize("name", CORPORA)
def test_single_characters_give_the_same_chunks(name: str) -> None:
    assert parsed(*CORPORA[name]) == parsed(CORPORA[name])


@given(st.sampled_from(sorted(CORPORA)), st.lists(st.integers(0, 400), max_size=30))
def test_any_split_gives_the_same_chunks(name: str, cuts: list[int]) -> None:
    text = CORPORA[name]
    assert parsed(*pieces(text, cuts)) == parsed(text)


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join), st.lists(st.integers(0, 200), max_size=20))
def test_any_split_of_any_mixture_gives_the_same_chunks(text: str, cuts: list[int]) -> None:
    assert parsed(*pieces(text, cuts)) == parsed(*text) == parsed(text)


@given(st.lists(st.sampled_from(FRAGMENTS), max_size=25).map("".join), st.lists(st.integers(0, 200), max_size=20))
def test_the_bounds_do_not_depend_on_the_split(text: str, cuts: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(call_block, "MAX_CALL_CHARACTERS", 60)
        patch.setattr("chat.llm.prose.CODE_MAX_CHARACTERS", 20)
        assert parsed(*pieces(text, cuts)) == parsed(*text) == parsed(text)


@given(st.text())
def test_text_without_tags_stays_what_it_is(text: str) -> None:
    assert text_of(parsed(text)) == text


def pieces(text: str, cuts: list[int]) -> list[str]:
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    return [text[start:end] for start, end in pairwise(places)]


def test_text_comes_before_and_after_a_call_and_the_call_is_not_in_it() -> None:
    assert parsed(CORPORA["one call"]) == [
        Text(text="Let me see.\n\n"),
        CallBegun(name="execute_python"),
        ToolCall(
            call_id="call00001",
            name="execute_python",
            arguments=json.dumps({"code": "if a < b and c > d:\n    print(1 & 2)"}),
            source="text",
        ),
        Text(text="\n\nDone."),
    ]


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("plain", []),
        ("several", [("execute_python", {"code": "x = 1"}), ("current_time", {}), ("unknown", {})]),
        ("elements", [("execute_python", {"code": 'print("</code>")', "timeout_s": 5, "quiet": True})]),
        ("bare", [("current_time", {})]),
        ("namespaced", [("current_time", {})]),
        ("namespaced otherwise", [("current_time", {})]),
        ("cdata", [("execute_python", {"code": "a[b[0]]>1 # </parameter></invoke> &lt;"})]),
        ("cdata twice", [("execute_python", {"code": '"]]>"'})]),
        ("entities", [("execute_python", {"code": "if a < b && c > d: print('!')"})]),
        (
            "parameter in a string",
            [("execute_python", {"code": "print('<parameter name=\"x\">1</parameter>')\nprint('</invoke>')"})],
        ),
        ("json", [("execute_python", {"code": "</tool_call>\n"})]),
        ("json list", [("a", {"x": 1}), ("b", {}), ("c", {})]),
        ("stopped before the last tag", [("execute_python", {"code": "x"})]),
        ("without closing invoke", [("a", {"x": "1"})]),
        ("closed twice", [("a", {})]),
    ],
)
def test_every_form_of_a_call_is_read(name: str, calls: list[tuple[str, dict[str, object]]]) -> None:
    chunks = parsed(CORPORA[name])
    assert [(tool, json.loads(arguments)) for tool, arguments in calls_of(chunks)] == calls
    assert notices_of(chunks) == []
    assert not any(tag in text_of(chunks) for tag in ("function_calls>", "invoke", "parameter"))


@pytest.mark.parametrize(
    ("name", "calls"),
    [
        ("fence", ["b"]),
        ("fence in a list", []),
        ("fence in a quote", ["b"]),
        ("not a fence", ["a"]),
        ("inline code", []),
        ("stray backtick", ["a", "b"]),
        ("stray backtick, call on its own line", ["execute_python"]),
        ("escaped", ["b"]),
    ],
)
def test_code_in_markdown_is_text(name: str, calls: list[str]) -> None:
    chunks = parsed(CORPORA[name])
    assert [tool for tool, _ in calls_of(chunks)] == calls
    if not calls:
        assert text_of(chunks) == CORPORA[name]


@pytest.mark.parametrize("name", ["never closed", "cut in a tag", "unclosed json"])
def test_a_call_that_never_closes_ends_as_text_with_a_notice(name: str) -> None:
    chunks = parsed(CORPORA[name])
    assert calls_of(chunks) == []
    assert text_of(chunks) == CORPORA[name]
    assert notices_of(chunks) == [text_calls.UNCLOSED]


@pytest.mark.parametrize(("name", "count"), [("bad json", 2), ("words inside", 1), ("words about a tag", 1)])
def test_what_can_not_be_read_as_a_call_stays_text_with_a_notice(name: str, count: int) -> None:
    chunks = parsed(CORPORA[name])
    assert calls_of(chunks) == []
    assert text_of(chunks) == CORPORA[name]
    assert notices_of(chunks) == [text_calls.UNREADABLE] * count


def test_a_word_about_the_outer_tag_is_no_call_and_needs_no_notice() -> None:
    text = "The tag <function_calls> begins a block, <tool_call> another.\n\n<function_calls>\n</function_calls>"
    assert parsed(text) == [Text(text=text)]


def test_results_that_the_model_invents_are_left_out() -> None:
    chunks = parsed(CORPORA["invented results"])
    assert text_of(chunks).strip() == ""
    assert notices_of(chunks) == [text_calls.INVENTED]
    assert parsed("See <function_results>") == [Text(text="See <function_results>")]


def test_a_call_follows_as_soon_as_it_is_whole() -> None:
    parser = CallParser(TOOLS)
    begun = parser.feed('<function_calls>\n<invoke name="current_time">')
    assert begun == [CallBegun(name="current_time")]
    assert calls_of(parser.feed("</invoke>")) == [("current_time", "{}")]


def test_a_call_in_json_is_announced_by_its_name() -> None:
    parser = CallParser()
    assert parser.feed('<tool_call>\n{"name": "f", "argu') == [CallBegun(name="f")]
    late = parsed('<tool_call>{"arguments": {"name": "g"}, "name": "f"}</tool_call>')
    assert late[0] == CallBegun(name="f")


@pytest.mark.parametrize("name", CORPORA)
def test_every_call_is_announced_before_it_comes(name: str) -> None:
    before: Chunk | None = None
    for chunk in parsed(CORPORA[name]):
        if isinstance(chunk, ToolCall):
            assert before == CallBegun(name=chunk.name)
        before = chunk


@pytest.mark.parametrize(
    "text",
    ["a < b", "a <b> c", "<p", "f <", "x `code` y", "```\nx", "- ", "1", "\\", "~~", "`", "<function_cat", "```py"],
)
def test_text_is_not_held_back_without_need(text: str) -> None:
    assert shown(text) == (text.removesuffix("<"))
    assert shown(*text) == shown(text)


@pytest.mark.parametrize(
    ("text", "visible"),
    [
        ("go <", "go "),
        ("go <function_calls", "go "),
        ("go <function_calls>\n <invoke na", "go "),
        ("go <inv", "go "),
        ("go <tool_call>\n{", "go "),
        ("in `code <f", "in `code "),
        ("in `code <function_calls> more", "in `code "),
        ("in `code <function_calls>`", "in `code "),
        ("in `code <function_calls>`.", "in `code <function_calls>`."),
        ("```\n<function_calls>", "```\n<function_calls>"),
    ],
)
def test_what_may_become_a_tag_never_flashes_up(text: str, visible: str) -> None:
    assert shown(*text) == shown(text) == visible


def test_at_every_moment_only_the_tail_that_may_be_a_tag_is_missing() -> None:
    text = CORPORA["plain"]
    for end in range(len(text)):
        missing = text[: end + 1].removeprefix(shown(*text[: end + 1]))
        assert missing == "" or "<function".startswith(missing)


def test_calls_go_on_after_one_that_can_not_be_read() -> None:
    chunks = parsed('<invoke name="a">words\n\n<invoke name="b"/>')
    assert calls_of(chunks) == [("b", "{}")]
    assert notices_of(chunks) == [text_calls.UNREADABLE]


@pytest.mark.parametrize(
    "content",
    [
        "NaN",
        '{"name": "f", "arguments": {"x": NaN}}',
        '{"name": "f", "arguments": [1]}',
        "[]",
        '{"name": ""}',
        '{"name": "f", "arguments": "no json"}',
        "{'name': 'f'}",
        '{"a":' * 5_000,
        '{"name": "f"} {}',
        "[1]",
    ],
)
def test_json_that_is_no_call_stays_text(content: str) -> None:
    text = f"<tool_call>{content}</tool_call> after"
    assert calls_of(parsed(text)) == []
    assert text_of(parsed(text)) == text


def test_ids_are_unique_and_depend_only_on_the_calls_before() -> None:
    ids = CallIds(["call00003", "other"])
    assert [ids.take(), ids.take(), ids.take("own"), ids.take("own"), ids.take("x" * 201)] == [
        "call00004",
        "call00005",
        "own",
        "call00006",
        "call00007",
    ]
    assert CallIds(["call00002"]).take() == "call00003"


def test_a_call_without_end_is_bounded_and_nothing_in_it_is_a_call() -> None:
    text = f'<invoke name="a"><x>{"y" * 1_200_000}</x></invoke> <invoke name="b"/>'
    chunks = parsed(*(text[start : start + 1_000] for start in range(0, len(text), 1_000)))
    assert calls_of(chunks) == []
    assert text_of(chunks) == text
    assert notices_of(chunks) == [text_calls.TOO_LARGE]
    assert chunks == parsed(text)


def test_the_bound_is_for_one_call_and_not_for_the_answer() -> None:
    text = block(*(invoke("y" * 300_000) for _ in range(5)))
    assert len(calls_of(parsed(text))) == 5


def test_a_broken_answer_keeps_its_text_and_loses_its_half_call() -> None:
    parser = CallParser()
    parser.feed("a <")
    assert parser.abandon() == [Text(text="<")]
    parser = CallParser()
    parser.feed('a <invoke name="x"><code>')
    assert parser.abandon() == parser.end() == []


@pytest.mark.parametrize(
    "unit",
    [
        "<",
        "`",
        "\n",
        "`<invoke name='a'/>",
        "<function_calls>",
        "<invoke name='a'><x>",
        "</x>",
        " ",
        "\\",
        "&",
        "- ",
        "]]>",
    ],
)
@pytest.mark.parametrize("before", ["", '<invoke name="a"><x>', "<tool_call>{", '<invoke name="a"><x><![CDATA[', "`"])
def test_no_text_costs_more_than_its_length(before: str, unit: str) -> None:
    def parse(length: int) -> None:
        text = before + unit * (length // len(unit))
        parser = CallParser()
        for start in range(0, len(text), 4):
            parser.feed(text[start : start + 4])
        parser.end()

    # Four times the length; a cost that grows with what is there would be 16 times as much.
    assert least_ratio(lambda: parse(60_000), lambda: parse(15_000), enough=8) < 8


def test_a_common_token_is_cheap() -> None:
    tokens = ["The ", "next", " word", ",", " and", " so", " on", ".", "\n\n", "- a", "x = 1"]
    chunk = json.dumps({"id": "chatcmpl-1", "model": "gpt", "choices": [{"index": 0, "delta": {"content": " word"}}]})

    def feed() -> None:
        parser = CallParser(TOOLS)
        for _ in range(500):
            for token in tokens:
                parser.feed(token)

    def parse() -> None:
        for _ in range(500 * len(tokens)):
            json.loads(chunk)

    # To look for calls in a token costs less than to read the JSON that it came in.
    assert least_ratio(feed, parse, enough=1) < 1
