from __future__ import annotations

import json
from functools import partial

import pytest

from chat.core.prompt import PromptCall, PromptMessage
from chat.llm.port import CallBegun, Chunk, ModelFault, Text, ToolCall
from chat.llm.scripted_steps import (
    AnswerWhole,
    CallTool,
    Cut,
    EndWithoutDone,
    Finish,
    Gate,
    Hang,
    Pause,
    Raw,
    Say,
    Step,
    Think,
    ToolResult,
    Wait,
)
from chat.llm.text_calls import UNCLOSED
from tests.costs import least_ratio_of
from tests.llm.asking import World, ask_with_the_sdk, calls_of, collect, end_of, notices_of, reasoning_of, text_of
from tests.llm.parsing import CORPORA, TOOLS, block, invoke, parsed

CODE = json.dumps({"code": "print(1)"})
CALL = PromptCall(call_id="a", name="execute_python", arguments=CODE)
HISTORY = (
    PromptMessage(role="system", content="Be kind."),
    PromptMessage(role="user", content="Run it."),
    PromptMessage(role="assistant", content="I do.", calls=(CALL,)),
    PromptMessage(role="tool", content="1\n", call_id="a"),
)


async def test_a_native_call_comes_through_real_http(world: World) -> None:
    chunks = await world.answer(
        Say(text="So:"), CallTool(name="execute_python", arguments=CODE, call_id="x", piece_characters=3), tools=TOOLS
    )
    assert chunks[-3:-1] == [
        CallBegun(name="execute_python"),
        ToolCall(call_id="x", name="execute_python", arguments=CODE, source="native"),
    ]
    assert end_of(chunks).finish_reason == "tool_calls"
    assert text_of(chunks) == "So:"


async def test_a_call_in_the_text_comes_through_real_http(world: World) -> None:
    chunks = await world.answer(Think(text="hm"), Say(text=f"So:\n{block(invoke('print(1)'))}"), tools=TOOLS)
    assert (text_of(chunks), reasoning_of(chunks)) == ("So:\n", "hm")
    assert calls_of(chunks) == [("execute_python", CODE)]
    assert end_of(chunks).finish_reason == "stop"


async def test_both_dialects_end_in_the_same_call(world: World) -> None:
    native = await world.answer(CallTool(name="execute_python", arguments=CODE), tools=TOOLS)
    in_text = await world.answer(Say(text=block(invoke("print(1)"))), tools=TOOLS)
    assert calls_of(native) == calls_of(in_text)
    assert [type(chunk) for chunk in native] == [type(chunk) for chunk in in_text]


@pytest.mark.parametrize("name", CORPORA)
async def test_every_text_is_read_as_the_parser_reads_it(world: World, name: str) -> None:
    chunks = await world.answer(Say(text=CORPORA[name]), tools=TOOLS)
    whole = parsed(CORPORA[name])
    assert text_of(chunks) == text_of(whole)
    assert calls_of(chunks) == calls_of(whole)
    assert notices_of(chunks) == notices_of(whole)


async def test_without_tools_the_text_is_nothing_but_text(world: World) -> None:
    text = CORPORA["one call"]
    chunks = await world.answer(Say(text=text))
    assert (text_of(chunks), calls_of(chunks)) == (text, [])


async def test_an_answer_in_one_piece_has_its_calls(world: World) -> None:
    text = f"So: {invoke('1')}"
    chunks = await world.answer(AnswerWhole(), Say(text=text), CallTool(name="current_time"), tools=TOOLS)
    assert text_of(chunks) == "So: "
    assert calls_of(chunks) == [("execute_python", '{"code": "1"}'), ("current_time", "{}")]
    assert end_of(chunks).finish_reason == "tool_calls"


async def test_ids_are_unique_in_both_forms_and_in_the_history(world: World) -> None:
    old = PromptCall(call_id="call00002", name="current_time", arguments="")
    history = (
        PromptMessage(role="user", content="Go."),
        PromptMessage(role="assistant", content="", calls=(old,)),
        PromptMessage(role="tool", content="now", call_id="call00002"),
    )
    world.steps = (Say(text=invoke("1") + invoke("2")), CallTool(name="current_time", call_id="call00003"))
    chunks: list[Chunk] = []
    await collect(world.model(), chunks, history, tools=TOOLS)
    ids = [chunk.call_id for chunk in chunks if isinstance(chunk, ToolCall)]
    assert ids == ["call00003", "call00004", "call00005"]


async def test_a_call_that_a_server_gives_in_both_forms_is_one_call(world: World) -> None:
    text = "\n".join((invoke("print(1)"), invoke("print(2)")))
    both = CallTool(name="execute_python", arguments='{ "code":"print(1)" }')
    other = CallTool(name="execute_python", arguments='{"code": "print(3)"}')
    chunks = await world.answer(Say(text=text), both, other, both, tools=TOOLS)
    codes = [json.loads(arguments)["code"] for _, arguments in calls_of(chunks)]
    assert codes == ["print(1)", "print(2)", "print(3)", "print(1)"]


async def test_odd_deltas_are_understood_from_the_wire(world: World) -> None:
    raw = (
        b'data: {"choices":[{"delta":{"tool_calls":[{"function":{"name":"current_time","arguments":null}},'
        b'{"function":{"name":"execute_python","arguments":{"code":"1"}}}]},"finish_reason":"stop"}]}\n\n'
    )
    chunks = await world.answer(Raw(data=raw), EndWithoutDone(), tools=TOOLS)
    assert calls_of(chunks) == [("current_time", ""), ("execute_python", '{"code": "1"}')]


async def test_text_that_may_become_a_tag_waits_and_other_text_does_not(world: World) -> None:
    gate = Gate()
    world.steps = (Say(text="a < b, and <function"), Wait(gate=gate), Say(text="al> style"))
    async with world.model().ask(HISTORY, tools=TOOLS) as answer:
        seen = ""
        while seen != "a < b, and ":
            seen += text_of(await anext(answer))
            assert "a < b, and ".startswith(seen)
        gate.open()
        chunks = [chunk async for batch in answer for chunk in batch]
    assert text_of(chunks) == "<functional> style"


@pytest.mark.parametrize(
    "writing",
    [
        (CallTool(name="execute_python", arguments=json.dumps({"code": "x" * 40}), delay_s=0.1),),
        (
            Say(text='<invoke name="execute_python"><code>'),
            Say(text="x = 1 " * 6, delay_s=0.1),
            Say(text="</code></invoke>"),
        ),
    ],
    ids=["native", "text"],
)
async def test_writing_a_call_is_no_silence(world: World, writing: tuple[Step, ...]) -> None:
    model = world.model(first_token_s=0.3, between_tokens_s=0.3)
    chunks = await world.answer(*writing, model=model, tools=TOOLS)
    assert len(calls_of(chunks)) == 1


async def test_silence_within_a_call_is_said_with_the_limit(world: World) -> None:
    call = b'data: {"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f"}}]}}]}\n\n'
    model = world.model(between_tokens_s=0.1)
    error = await world.failure(Raw(data=call), Hang(), model=model, tools=TOOLS)
    assert "said nothing more for 0.1 s" in error.words


@pytest.mark.parametrize(
    ("steps", "text"),
    [
        ((Say(text="so far <"),), "so far <"),
        ((Say(text=f"so far {invoke('x')[:-5]}"),), "so far "),
        ((Say(text="so far "), CallTool(name="current_time")), "so far "),
    ],
    ids=["tail", "call in text", "native call"],
)
async def test_a_cut_connection_keeps_the_text_and_makes_no_call(
    world: World, steps: tuple[Step, ...], text: str
) -> None:
    chunks: list[Chunk] = []
    # Time for the text to arrive: a reset may overtake it.
    error = await world.failure(*steps, Pause(seconds=0.05), Cut(), chunks=chunks, tools=TOOLS)
    assert error.fault is ModelFault.BROKEN_STREAM
    assert (text_of(chunks), calls_of(chunks), notices_of(chunks)) == (text, [], [])


async def test_a_cut_after_the_finish_reason_has_its_calls(world: World) -> None:
    chunks = await world.answer(
        Say(text="So <"), CallTool(name="current_time"), Finish(reason="stop"), Cut(reset=False), tools=TOOLS
    )
    assert (text_of(chunks), calls_of(chunks)) == ("So <", [("current_time", "{}")])


async def test_a_call_that_the_length_cut_is_no_call_in_either_form(world: World) -> None:
    native = await world.answer(
        CallTool(name="execute_python", arguments='{"code": "pri'), Finish(reason="length"), tools=TOOLS
    )
    in_text = await world.answer(Say(text=invoke("pri", closing="")), Finish(reason="length"), tools=TOOLS)
    assert calls_of(native) == calls_of(in_text) == []
    assert "“execute_python”" in notices_of(native)[0]
    assert notices_of(in_text) == [UNCLOSED]


async def test_tools_calls_and_results_are_sent_as_servers_expect(world: World) -> None:
    world.steps = (Say(text="ok"),)
    await collect(world.model(), [], HISTORY, tools=TOOLS[:1])
    body = world.request().body
    assert body["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "execute_python",
                "description": "Run Python.",
                "parameters": TOOLS[0].parameters,
            },
        }
    ]
    assert body["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Run it."},
        {
            "role": "assistant",
            "content": "I do.",
            "tool_calls": [{"id": "a", "type": "function", "function": {"name": "execute_python", "arguments": CODE}}],
        },
        {"role": "tool", "content": "1\n", "tool_call_id": "a"},
    ]
    assert world.request().tools == ("execute_python",)
    assert world.request().tool_results == (ToolResult(call_id="a", name="execute_python", content="1\n"),)


@pytest.mark.parametrize(
    ("name", "sent"), [("run it!", "run_it_"), ("", "unnamed"), ("x" * 100, "x" * 64), ("ok-1_A", "ok-1_A")]
)
@pytest.mark.parametrize(
    ("arguments", "value"),
    [("", {}), ("{broken", {"invalid_arguments": "{broken"}), ("[1]", {"invalid_arguments": "[1]"}), ("{}", {})],
)
async def test_a_call_that_no_server_would_take_back_is_sent_so_that_it_does(
    world: World, name: str, sent: str, arguments: str, value: object
) -> None:
    world.steps = (Say(text="ok"),)
    call = PromptCall(call_id="a", name=name, arguments=arguments)
    await collect(world.model(), [], (PromptMessage(role="assistant", content="", calls=(call,)),))
    message = json.loads(json.dumps(world.request().body))["messages"][0]
    function = message["tool_calls"][0]["function"]
    assert function["name"] == sent
    assert json.loads(function["arguments"]) == value


async def test_a_lone_surrogate_in_a_call_does_not_break_the_request(world: World) -> None:
    world.steps = (Say(text="ok"),)
    call = PromptCall(call_id="a", name="f", arguments='{"x": "\ud800"}')
    history = (
        PromptMessage(role="assistant", content="", calls=(call,)),
        PromptMessage(role="tool", content="\ud800", call_id="a"),
    )
    await collect(world.model(), [], history)
    assert world.request().tool_results == (ToolResult(call_id="a", name="f", content="?"),)


async def test_a_long_history_of_calls_costs_a_fraction_of_what_the_sdk_takes(world: World) -> None:
    world.steps = (Say(text="ok"),)
    turns = [
        (
            PromptMessage(
                role="assistant",
                content="word " * 50,
                calls=(PromptCall(call_id=f"c{number}", name="f", arguments=json.dumps({"code": "x = 1\n" * 80})),),
            ),
            PromptMessage(role="tool", content="word " * 100, call_id=f"c{number}"),
        )
        for number in range(500)
    ]
    prompt = tuple(message for turn in turns for message in turn)
    sdk = partial(ask_with_the_sdk, world, prompt)
    for model in (world.model(), world.model(dialect="text")):
        await collect(model, [], prompt, tools=TOOLS)
        ours = partial(collect, model, [], prompt, tools=TOOLS)
        assert await least_ratio_of(ours, sdk, enough=0.5) < 0.5


async def test_the_text_dialect_says_everything_in_words(world: World) -> None:
    model = world.model(dialect="text")
    world.steps = (Say(text=f"Again:\n{block(invoke('print(2)'))}"),)
    chunks: list[Chunk] = []
    await collect(model, chunks, HISTORY, tools=TOOLS)
    assert calls_of(chunks) == [("execute_python", '{"code": "print(2)"}')]
    body = world.request().body
    assert "tools" not in body
    (system, instructions), user, assistant, results = world.request().messages
    assert system == "system"
    assert instructions.startswith("Be kind.\n\nYou can call tools.")
    assert '"execute_python"' in instructions
    assert user == ("user", "Run it.")
    assert assistant == ("assistant", f"I do.\n\n{block(invoke('print(1)'))}")
    assert results == (
        "user",
        '<function_results>\n<result name="execute_python">\n1\n\n</result>\n</function_results>',
    )


async def test_the_text_dialect_understands_native_calls_all_the_same(world: World) -> None:
    model = world.model(dialect="text")
    assert calls_of(await world.answer(CallTool(name="current_time"), model=model, tools=TOOLS)) == [
        ("current_time", "{}")
    ]


async def test_an_answer_of_a_call_alone_has_no_empty_text(world: World) -> None:
    chunks = await world.answer(Say(text=invoke("x")), tools=TOOLS)
    assert not any(isinstance(chunk, Text) for chunk in chunks)
