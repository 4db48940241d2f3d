"""Tools from functions: name, words and schema are the function's own, and what does not fit is said in words."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from chat.core.calls import Policy
from chat.errors import ConfigurationError
from chat.tools import registry
from chat.tools.registry import ArgumentsError, Tool, ToolContext, ToolResult, all_tools, tool


@pytest.fixture(autouse=True)
def _own_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tools of a test are gone with it."""
    monkeypatch.setattr(registry, "_tools", {})


def made(function: Any, **options: Any) -> Tool:
    """The tool that this function becomes."""
    assert tool(**options)(function) is function
    return all_tools()[function.__name__]


class Point(msgspec.Struct):
    """A place."""

    x: float
    y: float = 0.0


async def draw(
    context: ToolContext,
    title: str,
    points: list[Point],
    *,
    kind: Literal["line", "bar"] = "line",
    size: Annotated[int, Meta(description="Pixels", ge=1, le=4_000)] = 600,
    caption: str | None = None,
) -> str:
    """Draw a chart.

    Give at least one point.
    """
    return title


def test_name_description_and_schema_come_from_the_function() -> None:
    chart = made(draw)
    assert (chart.name, chart.description) == ("draw", "Draw a chart.\n\nGive at least one point.")
    schema = chart.parameters
    assert schema["type"] == "object"
    assert schema["required"] == ["title", "points"]
    assert schema["additionalProperties"] is False
    assert "title" not in schema
    properties = schema["properties"]
    assert list(properties) == ["title", "points", "kind", "size", "caption"]
    assert properties["title"] == {"type": "string"}
    assert properties["kind"] == {"enum": ["bar", "line"], "default": "line"}
    assert properties["size"] == {
        "type": "integer",
        "description": "Pixels",
        "minimum": 1,
        "maximum": 4_000,
        "default": 600,
    }
    assert properties["caption"]["default"] is None
    assert properties["points"] == {"type": "array", "items": {"$ref": "#/$defs/Point"}}
    assert set(schema["$defs"]) == {"Point"}
    json.dumps(schema)


def test_policy_idempotence_and_time_out_are_as_they_were_given() -> None:
    plain = made(draw)
    assert (plain.policy, plain.is_idempotent, plain.timeout_s) == (Policy.ASK, False, registry.DEFAULT_TIMEOUT_S)
    chosen = made(draw, policy="auto", is_idempotent=True, timeout_s=5)
    assert (chosen.policy, chosen.is_idempotent, chosen.timeout_s) == (Policy.AUTO, True, 5)


def test_arguments_are_parsed_with_their_defaults() -> None:
    arguments = made(draw).parse('{"title": "Sales", "points": [{"x": 1}]}')
    assert arguments == {
        "title": "Sales",
        "points": [Point(x=1.0)],
        "kind": "line",
        "size": 600,
        "caption": None,
    }


async def nothing(context: ToolContext) -> ToolResult:
    """Do nothing."""
    return ToolResult(text="")


@pytest.mark.parametrize("written", ["", "{}", " { } "])
def test_a_tool_without_arguments_takes_none(written: str) -> None:
    assert made(nothing).parse(written) == {}
    assert made(nothing).parameters["properties"] == {}


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("{", "truncated"),
        ("null", "object"),
        ("[]", "object"),
        ("7", "object"),
        ('"title"', "object"),
        ("{}", "missing required field `title`"),
        ('{"title": "a"}', "missing required field `points`"),
        ('{"title": 7, "points": []}', "$.title"),
        ('{"title": null, "points": []}', "$.title"),
        ('{"title": "a", "points": [{"x": "left"}]}', "$.points[0].x"),
        ('{"title": "a", "points": [], "kind": "pie"}', "'pie'"),
        ('{"title": "a", "points": [], "size": 0}', "$.size"),
        ('{"title": "a", "points": [], "colour": "red"}', "colour"),
        ('{"title": "a", "points": [], "context": {}}', "context"),
        ("[" * 100_000, "recursion"),
        ('{"title": "\ud800", "points": []}', "surrogates"),
    ],
)
def test_arguments_that_do_not_fit_are_refused_in_words(written: str, words: str) -> None:
    with pytest.raises(ArgumentsError) as raised:
        made(draw).parse(written)
    assert str(raised.value).startswith("The arguments do not fit draw: ")
    assert words in str(raised.value)


def test_a_function_that_says_nothing_to_the_model_is_refused() -> None:
    async def silent(context: ToolContext) -> str:
        return ""

    with pytest.raises(ConfigurationError, match="'silent' must be an async function with a docstring"):
        tool()(silent)


def test_a_function_that_would_block_the_server_is_refused() -> None:
    def blocking(context: ToolContext) -> str:
        """Block."""
        return ""

    with pytest.raises(ConfigurationError, match="'blocking' must be an async function"):
        tool()(blocking)  # type: ignore[type-var]


def test_a_function_without_a_context_is_refused() -> None:
    async def alone() -> str:
        """Be alone."""
        return ""

    with pytest.raises(ConfigurationError, match="'alone' must take the ToolContext"):
        tool()(alone)


def test_two_tools_of_one_name_are_refused_and_the_same_twice_is_one() -> None:
    made(nothing)
    tool(policy="never")(nothing)
    assert all_tools()["nothing"].policy is Policy.NEVER

    async def other(context: ToolContext) -> str:
        """Do something else."""
        return ""

    other.__name__ = "nothing"
    with pytest.raises(ConfigurationError, match="Two tools are named 'nothing'"):
        tool()(other)


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="sometimes"):
        tool(policy="sometimes")(nothing)
