"""A prompt for models that can't call tools in a field of their own: everything is said in words.

Knows the form in which calls and results stand in the text; `text_calls` reads the same form. Must not know
how a request is encoded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from chat.core.prompt import PromptCall, PromptMessage
from chat.llm.arguments import as_json
from chat.llm.call_tags import quoted
from chat.llm.port import Text, ToolCall, ToolSpec
from chat.llm.text_calls import CallParser

HOW_TO_CALL: Final = """\
You can call tools. To call one, write a block of exactly this form, outside of code fences, and end your answer with \
it:

<function_calls>
<invoke name="TOOL">
<parameter name="PARAMETER">
value
</parameter>
</invoke>
</function_calls>

- One `invoke` is one call; a block may hold several. A tool without parameters gets an `invoke` without any.
- Write a text as it is, without quotes or escapes, over as many lines as it has. Write numbers, booleans, arrays and \
objects as JSON.
- Put a text that itself holds tags or entities like &lt; between <![CDATA[ and ]]>.
- The results come with the next message, in <function_results>. Never write them yourself.

The tools, each with the JSON schema of its parameters:
"""

# Results come from files and the network. What stands in them must not look like their end.
_RESULT_END: Final = re.compile(r"<(?=/(?:\w+:)?(?:result|function_results)\b)")
# What people write, or paste from elsewhere, must not look like results.
_RESULTS: Final = re.compile(r"<(?=/?(?:\w+:)?function_results\b)")

# Calls of the history are the same in each request.
_RENDERED_CALLS_MAX: Final = 2_000


def as_text(messages: Iterable[PromptMessage], tools: Sequence[ToolSpec]) -> list[PromptMessage]:
    """The same prompt without calls and results as such: system, user and assistant taking turns."""
    names: dict[str, str] = {}
    said: list[PromptMessage] = []
    results: list[str] = []
    for message in messages:
        if message.role == "tool":
            results.append(_result(names.get(message.call_id, ""), message.content))
            continue
        _add_results(results, said)
        content = _RESULTS.sub("&lt;", message.content) if message.role == "user" else message.content
        if message.calls:
            names |= {call.call_id: call.name for call in message.calls}
            content = "\n\n".join(filter(None, (content, _calls(message.calls))))
        _add(message.role, content, said)
    _add_results(results, said)
    if tools:
        description = described(tools)
        if said and said[0].role == "system":
            said[0] = PromptMessage(role="system", content=f"{said[0].content}\n\n{description}")
        else:
            said.insert(0, PromptMessage(role="system", content=description))
    return said


def described(tools: Sequence[ToolSpec]) -> str:
    """What the model is told of the tools and of how to call them."""
    return HOW_TO_CALL + "\n".join(msgspec.json.encode(tool).decode() for tool in tools)


def _add(role: str, content: str, said: list[PromptMessage]) -> None:
    if said and said[-1].role == role:
        content = f"{said.pop().content}\n\n{content}"
    match role:
        case "system" | "user" | "assistant":
            said.append(PromptMessage(role=role, content=content))


def _add_results(results: list[str], said: list[PromptMessage]) -> None:
    if results:
        _add("user", "\n".join(("<function_results>", *results, "</function_results>")), said)
        results.clear()


def _result(name: str, content: str) -> str:
    escaped = _RESULT_END.sub("&lt;", quoted(content))
    return f'<result name="{name}">\n{escaped}\n</result>'


def _calls(calls: Iterable[PromptCall]) -> str:
    """All in one block where that can say them."""
    invokes: list[str] = []
    blocks: list[str] = []
    for call in calls:
        text = _call(call.name, call.arguments)
        (invokes if text.startswith("<invoke") else blocks).append(text)
    if invokes:
        blocks.insert(0, "\n".join(("<function_calls>", *invokes, "</function_calls>")))
    return "\n".join(blocks)


@lru_cache(maxsize=_RENDERED_CALLS_MAX)
def _call(name: str, arguments: str) -> str:
    """The first form from which exactly this call is read again; JSON says everything."""
    parameters = _parameters(arguments)
    for frame in ("\n{}\n", "<![CDATA[\n{}\n]]>"):
        text = _invoke(name, parameters, frame)
        if _reads_as(text, name, parameters):
            return text
    # Inside of JSON's strings nothing can be taken for a tag.
    called = as_json({"name": name or "unnamed", "arguments": parameters}).replace("<", "\\u003c")
    return f"<tool_call>\n{called}\n</tool_call>"


def _parameters(arguments: str) -> dict[str, str]:
    try:
        values = json.loads(arguments or "{}", strict=False)
        if isinstance(values, Mapping):
            return {name: value if isinstance(value, str) else as_json(value) for name, value in values.items()}
    except (ValueError, RecursionError):
        pass
    return {"arguments": arguments}


def _invoke(name: str, parameters: Mapping[str, str], frame: str) -> str:
    lines = [f'<invoke name="{name}">']
    lines += [
        f'<parameter name="{parameter}">{frame.format(value)}</parameter>' for parameter, value in parameters.items()
    ]
    return "\n".join((*lines, "</invoke>"))


def _reads_as(text: str, name: str, parameters: Mapping[str, str]) -> bool:
    parser = CallParser()
    read = [chunk for chunk in (*parser.feed(text), *parser.end()) if isinstance(chunk, ToolCall | Text)]
    call = read[0] if len(read) == 1 else None
    return isinstance(call, ToolCall) and call.name == name and json.loads(call.arguments) == dict(parameters)
