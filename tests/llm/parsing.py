"""The parser of calls in text, fed in any pieces, and the texts that every test of splits goes over."""

from __future__ import annotations

import re
from collections.abc import Iterable

from chat.llm.port import Chunk, ToolSpec
from chat.llm.text_calls import CallParser
from tests.llm.asking import merged

TOOLS = (
    ToolSpec(
        name="execute_python",
        description="Run Python.",
        parameters={
            "type": "object",
            "properties": {
                "code": {"type": "string"},
                "timeout_s": {"type": "integer"},
                "quiet": {"type": "boolean"},
            },
        },
    ),
    ToolSpec(name="current_time", description="The time.", parameters={"type": "object", "properties": {}}),
)


def parsed(*pieces: str) -> list[Chunk]:
    """The chunks of a text that comes in pieces; texts that follow each other are one."""
    parser = CallParser(TOOLS)
    chunks = [chunk for piece in pieces for chunk in parser.feed(piece)]
    return merged([*chunks, *parser.end()])


def shown(*pieces: str) -> str:
    """The text that is given out before the end is known."""
    parser = CallParser(TOOLS)
    chunks: Iterable[Chunk] = [chunk for piece in pieces for chunk in parser.feed(piece)]
    return "".join(getattr(chunk, "text", "") for chunk in chunks)


def invoke(code: str, *, closing: str = "\n</invoke>") -> str:
    return f'<invoke name="execute_python">\n<parameter name="code">\n{code}\n</parameter>{closing}'


def block(*invokes: str) -> str:
    return "\n".join(("<function_calls>", *invokes, "</function_calls>"))


CORPORA = {
    "plain": "Nothing but text, with a < b, <b>bold</b>, <function and `code`.\n\n- one\n- two\n",
    "one call": "Let me see.\n\n" + block(invoke("if a < b and c > d:\n    print(1 & 2)")) + "\n\nDone.",
    "several": block(invoke("x = 1"), '<invoke name="current_time">\n</invoke>', '<invoke name="unknown"/>'),
    "elements": (
        '<function_calls><invoke name="execute_python"><code>print("</code>")</code><timeout_s> 5 </timeout_s>'
        "<quiet>True</quiet></invoke></function_calls>"
    ),
    "bare": "before <invoke name='current_time'></invoke> after",
    "namespaced": re.sub("(</?)", r"\1antml:", block('<invoke name="current_time">\n</invoke>')),
    "namespaced otherwise": (
        '<minimax:tool_call><minimax:invoke name="current_time"></minimax:invoke></minimax:tool_call>'
    ),
    "cdata": block(
        '<invoke name="execute_python"><parameter name="code"><![CDATA[\na[b[0]]>1 # </parameter></invoke> &lt;\n]]>'
        "</parameter></invoke>"
    ),
    "cdata twice": '<invoke name="execute_python"><code> <![CDATA["]]]]><![CDATA[>"]]> </code></invoke>',
    "entities": block(invoke("if a &lt; b &amp;&amp; c &gt; d: print(&#x27;&#33;&#x27;)")),
    "parameter in a string": block(invoke("print('<parameter name=\"x\">1</parameter>')\nprint('</invoke>')")),
    "json": '<tool_call>\n{"name": "execute_python", "arguments": {"code": "</tool_call>\\n"}}\n</tool_call>',
    "json list": (
        '<tool_call>[{"name":"a","arguments":"{\\"x\\":1}"},{"function":{"name":"b"}},{"name":"c",'
        '"parameters":{}}]</tool_call>'
    ),
    "fence": f'```xml\n{block(invoke("x"))}\n```\nand\n~~~~\n<invoke name="a"/>\n~~~\n~~~~\n<invoke name="b"/>',
    "fence in a list": '- so:\n\n  ```\n  <invoke name="a"/>\n  ```\n- 1. ```py\n     <invoke name="b"/>\n',
    "fence in a quote": '> ```\n> <invoke name="a"/>\n<invoke name="b"/>',
    "not a fence": '```one``` <invoke name="a"/>',
    "inline code": 'Use `<function_calls>` or ``<invoke name="a">` ``.\n`two\nlines <invoke name="b"/>`\n',
    "stray backtick": 'The ` key. <invoke name="a"/> and\n\na ` <invoke name="b"/>',
    "stray backtick, call on its own line": f"The ` key.\n{block(invoke('print(`1`)'))}",
    "escaped": '\\<invoke name="a"/> \\`<invoke name="b"/>\\` \\',
    "words about a tag": 'The tag <function_calls> begins it, <invoke name="a"> too.',
    "never closed": f"Wait.\n<function_calls>\n{invoke('x = 1', closing='')}",
    "cut in a tag": 'Wait. <function_calls>\n<invoke name="a"',
    "stopped before the last tag": f"<function_calls>\n{invoke('x')}\n",
    "bad json": '<tool_call>{"name": broken}</tool_call> text <tool_call>{"nome": 1}</tool_call>',
    "unclosed json": '<tool_call>{"name": "a", "arguments": {"x": "</tool_call> text',
    "invented results": f"{block(invoke('x'))}\n<function_results>\n<result>42</result>\n</function_results>\nSo: 42",
    "empty block": "<function_calls>\n</function_calls>",
    "closed twice": '<invoke name="a"></invoke>\n</function_calls>\n\nnext',
    "without closing invoke": '<function_calls><invoke name="a"><x>1</x></function_calls> next',
    "words inside": '<function_calls><invoke name="a">words</invoke></function_calls>',
}
