"""The port to tools, and where they are found.

A tool is an async function with a decorator in any installed app's `tools.py`. Its name, description and JSON schema
come from the function itself. Must not know conversations, pages or who approves what.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar, get_type_hints

import msgspec
from django.utils.module_loading import autodiscover_modules

from chat.core.calls import Policy
from chat.core.ids import CallId, ConversationId
from chat.errors import AgentsiteError, ConfigurationError

DEFAULT_TIMEOUT_S = 60.0


class ToolFailedError(AgentsiteError):
    """The tool could not do what was asked. The words go to the model and to the person."""


class ArgumentsError(AgentsiteError):
    """The arguments don't fit the tool's schema. The words go to the model and to the person."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolFile:
    """A file that a tool made. `name` is shown to people and names no place on the disk.

    html: a table or text that is shown right in the call's card, besides the file. It may come from anywhere: it is
    made harmless, and cut, before it is kept.
    """

    name: str
    mime: str
    data: bytes
    html: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolResult:
    """What a tool returns when it has more to give than text.

    has_failed: it could not do what was asked, and the text says why.
    """

    text: str
    files: tuple[ToolFile, ...] = ()
    has_failed: bool = False


class ToolContext(Protocol):
    """What a tool knows of the call that it serves."""

    @property
    def conversation_id(self) -> ConversationId:
        """Whose call it is."""
        ...

    @property
    def call_id(self) -> CallId:
        """Which call it is."""
        ...

    def output(self, text: str, *, stream: str = "stdout") -> None:
        """Show this to everybody who looks on, at once. `stream` is `stdout` or `stderr`."""
        ...

    def progress(self, fraction: float | None, words: str = "") -> None:
        """Show how far it is: from 0 to 1, or None when that can't be said, and what it does now, in a line.

        Each call replaces what the one before said; nothing of it stays once the tool has ended.
        """
        ...


ToolFunction = Callable[..., Awaitable[str | ToolResult]]
F = TypeVar("F", bound=ToolFunction)


@dataclass(frozen=True, kw_only=True, slots=True)
class Tool:
    """A tool as the site knows it.

    parameters: JSON schema of the arguments. policy: who lets it run, unless the settings say otherwise.
    is_idempotent: running it twice does no harm, so that a call lost in a crash is run again by itself.
    timeout_s: after so long it is cancelled and has failed; None for one that sees to that itself.
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    policy: Policy
    is_idempotent: bool
    timeout_s: float | None
    function: ToolFunction = field(repr=False)
    arguments: type[msgspec.Struct] = field(repr=False)

    def parse(self, arguments: str) -> dict[str, Any]:
        """The arguments from their JSON text. Raises ArgumentsError with words that say what does not fit."""
        try:
            raw = msgspec.json.decode(arguments or "{}")
            parsed = msgspec.convert(raw, type=self.arguments)
        except (msgspec.MsgspecError, UnicodeError, RecursionError) as fault:
            raise ArgumentsError(f"The arguments do not fit {self.name}: {fault}") from None
        return {name: getattr(parsed, name) for name in self.arguments.__struct_fields__}


_tools: dict[str, Tool] = {}


def tool(
    *, policy: str = "ask", is_idempotent: bool = False, timeout_s: float | None = DEFAULT_TIMEOUT_S
) -> Callable[[F], F]:
    """Make an async function a tool.

    Its first parameter is the `ToolContext`; the others are the arguments, with types and, where they can be left
    out, defaults. Its docstring tells the model what it does. It returns text or a `ToolResult`, raises
    `ToolFailedError` when it can't, and ends everything that it started when it is cancelled.
    policy: `ask` (the conversation's owner approves each call), `staff` (a member of staff does, never the owner),
    `auto` (nobody is asked) or `never`.
    """

    def register(function: F) -> F:
        made = _make(function, Policy(policy), is_idempotent=is_idempotent, timeout_s=timeout_s)
        known = _tools.get(made.name)
        if known is not None and known.function is not function:
            raise ConfigurationError(f"Two tools are named {made.name!r}; give one of them another name.")
        _tools[made.name] = made
        return function

    return register


def _make(function: ToolFunction, policy: Policy, *, is_idempotent: bool, timeout_s: float | None) -> Tool:
    name = function.__name__
    description = inspect.getdoc(function)
    if not inspect.iscoroutinefunction(function) or not description:
        raise ConfigurationError(f"The tool {name!r} must be an async function with a docstring for the model.")
    hints = get_type_hints(function, include_extras=True)
    context, *parameters = inspect.signature(function).parameters.values() or (None,)
    if context is None:
        raise ConfigurationError(f"The tool {name!r} must take the ToolContext as its first parameter.")
    fields = [
        (parameter.name, hints.get(parameter.name, str))
        if parameter.default is parameter.empty
        else (parameter.name, hints.get(parameter.name, str), parameter.default)
        for parameter in parameters
    ]
    arguments = msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)
    schema = msgspec.json.schema(arguments)
    parameters_schema = dict(schema["$defs"].pop(name))
    parameters_schema.pop("title", None)
    if schema["$defs"]:
        parameters_schema["$defs"] = schema["$defs"]
    return Tool(
        name=name,
        description=description,
        parameters=parameters_schema,
        policy=policy,
        is_idempotent=is_idempotent,
        timeout_s=timeout_s,
        function=function,
        arguments=arguments,
    )


def find_all() -> None:
    """Import the `tools` module of every installed app, as Django does with `admin`."""
    autodiscover_modules("tools")


def all_tools() -> Mapping[str, Tool]:
    """Every tool by its name."""
    return _tools
