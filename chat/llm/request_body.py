"""The body of a request for an answer, as bytes.

Knows the JSON of chat completions, and what servers refuse in it. Must not know HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from chat.core.prompt import PromptCall, PromptMessage
from chat.llm.arguments import as_json, is_object
from chat.llm.call_tags import quoted
from chat.llm.port import ToolSpec

# A call of a tool that does not exist is in the history too, with an error as its result; servers refuse the whole
# request for a name of another form.
_NAME_MAX_CHARACTERS: Final = 64
_NOT_IN_NAMES: Final = re.compile(r"[^a-zA-Z0-9_-]")
_NAME: Final = re.compile(rf"[a-zA-Z0-9_-]{{1,{_NAME_MAX_CHARACTERS}}}")


class _Function(msgspec.Struct):
    name: str
    arguments: str


class _Call(msgspec.Struct):
    id: str
    function: _Function
    type: str = "function"


class _Message(msgspec.Struct, omit_defaults=True):
    role: str
    content: str
    tool_calls: tuple[_Call, ...] = ()
    tool_call_id: str = ""


class _Tool(msgspec.Struct):
    function: ToolSpec
    type: str = "function"


class _Request(msgspec.Struct, omit_defaults=True):
    model: str
    messages: list[_Message]
    stream: bool
    stream_options: dict[str, bool]
    tools: tuple[_Tool, ...] = ()


def request_body(model: str, messages: Iterable[PromptMessage], tools: Sequence[ToolSpec]) -> bytes:
    """A request for a streamed answer. Calls and results have fields of their own."""
    request = _Request(
        model=model,
        messages=[_message(message) for message in messages],
        stream=True,
        stream_options={"include_usage": True},
        tools=tuple(_Tool(function=tool) for tool in tools),
    )
    try:
        return msgspec.json.encode(request)
    except UnicodeEncodeError:
        # A lone surrogate in one old message must not make its conversation unusable for ever.
        request.messages = [_message(_sayable(message)) for message in messages]
        return msgspec.json.encode(request)


def _message(message: PromptMessage) -> _Message:
    wire = _Message(role=message.role, content=message.content)
    if message.calls:
        wire.tool_calls = tuple(
            _Call(id=call.call_id, function=_Function(name=_name(call.name), arguments=_arguments(call.arguments)))
            for call in message.calls
        )
    if message.role == "tool":
        wire.tool_call_id = message.call_id
        # Results come from files and the network. A model that repeats one must not make the calls that stand in it.
        wire.content = quoted(message.content)
    return wire


def _name(name: str) -> str:
    return name if _NAME.fullmatch(name) else _NOT_IN_NAMES.sub("_", name)[:_NAME_MAX_CHARACTERS] or "unnamed"


def _arguments(arguments: str) -> str:
    """Some servers read the arguments of old calls and fail for what is no object."""
    if not arguments.strip():
        return "{}"
    return arguments if is_object(arguments) else as_json({"invalid_arguments": arguments})


def _sayable(message: PromptMessage) -> PromptMessage:
    calls = tuple(
        PromptCall(call_id=_encodable(call.call_id), name=_encodable(call.name), arguments=_encodable(call.arguments))
        for call in message.calls
    )
    return message._replace(content=_encodable(message.content), calls=calls, call_id=_encodable(message.call_id))


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")
