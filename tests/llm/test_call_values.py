"""The values of a call in the text: where each ends, and what of it is escaped."""

from __future__ import annotations

import json

import pytest

from tests.llm.asking import calls_of, text_of
from tests.llm.parsing import block, invoke, parsed


def code_of(text: str) -> str:
    """The parameter `code` of the only call in a text."""
    ((_, arguments),) = calls_of(parsed(text))
    code = json.loads(arguments)["code"]
    assert isinstance(code, str)
    return code


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("\nx = 1\n", "x = 1"),
        ("x = 1", "x = 1"),
        ("\n\n  x = 1\n\n", "\n  x = 1\n"),
        ("\r\nx\r\n  ", "x"),
        ("  \n    x\n  ", "    x"),
        ("\n", ""),
        ("", ""),
        (" x ", " x "),
    ],
)
def test_one_line_end_beside_each_tag_is_not_a_part_of_the_value(written: str, code: str) -> None:
    for text in (written, f"<![CDATA[{written}]]>"):
        assert code_of(f'<invoke name="execute_python"><parameter name="code">{text}</parameter></invoke>') == code


@pytest.mark.parametrize(
    ("written", "code"),
    [
        ("a &lt; b &amp; c", "a < b & c"),
        ("a &lt; b < c", "a &lt; b < c"),
        ("a &amp; b & c", "a &amp; b & c"),
        ("a && b", "a && b"),
        ("&quot;x&apos; &#65;&#x1F389;", "\"x' A🎉"),
        ('print("&quot;")', 'print("&quot;")'),
        ("&nbsp; &lt;", "&nbsp; &lt;"),
        ("&#0; &#xD800;", "&#0; &#xD800;"),
        ("&amp;lt;", "&lt;"),
        ("a > b &gt; c", "a > b &gt; c"),
    ],
)
def test_a_value_is_escaped_as_a_whole_or_not_at_all(written: str, code: str) -> None:
    assert code_of(invoke(written)) == code


@pytest.mark.parametrize(
    "code",
    [
        "</parameter> is a tag",
        "'</parameter>'\n'</invoke>'",
        "<parameter name='y'>",
        "</parameter>\n<p>",
        "<function_calls>",
        "</function_calls>",
        "```\n<x>\n```",
        "`",
        "x <!-- <![CDATA[ -->",
        "<tool_call>{}</tool_call>",
    ],
)
def test_a_value_ends_only_where_another_tag_of_the_call_follows(code: str) -> None:
    chunks = parsed(f"{block(invoke(code))}\nafter")
    assert calls_of(chunks) == [("execute_python", json.dumps({"code": code}))]
    assert text_of(chunks) == "\nafter"


def test_a_value_that_ends_like_a_parameter_gives_arguments_that_show_it() -> None:
    text = block(invoke('"</parameter>\n<parameter name="evil">1"'))
    ((_, arguments),) = calls_of(parsed(text))
    assert json.loads(arguments) == {"code": '"', "evil": '1"'}


def test_of_a_parameter_that_comes_twice_the_last_one_counts() -> None:
    assert code_of('<invoke name="execute_python"><code>1</code><code>2</code></invoke>') == "2"


def test_a_parameter_may_be_empty_in_one_tag() -> None:
    text = '<invoke name="execute_python"><parameter name="code"/><quiet/></invoke>'
    assert [json.loads(arguments) for _, arguments in calls_of(parsed(text))] == [{"code": "", "quiet": ""}]


@pytest.mark.parametrize(
    ("content", "name", "arguments"),
    [
        (r'{"name": "a\u0000b\ud800", "arguments": {}}', "a\ufffdb\ufffd", "{}"),
        (r'{"name": "a", "arguments": {"\ud800": 1}}', "a", '{"\ufffd": 1}'),
        (r'{"name": "a", "arguments": "{\"b\": \"\u0000\ud800\"}"}', "a", '{"b": "\ufffd\ufffd"}'),
    ],
)
def test_what_escapes_say_and_can_not_be_stored_is_replaced(content: str, name: str, arguments: str) -> None:
    assert calls_of(parsed(f"<tool_call>{content}</tool_call>")) == [(name, arguments)]
