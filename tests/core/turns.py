"""What every provider wants of a prompt, said a second time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence

from chat.core.calls import ToolCall
from chat.core.ids import CallId, MessageId
from chat.core.messages import Message
from chat.core.prompt import PromptMessage

BuildFunction = Callable[..., tuple[PromptMessage, ...]]


def malformed(prompt: Sequence[PromptMessage]) -> list[str]:
    """What a provider would refuse; empty when nothing."""
    wrong: list[str] = []
    lines = list(prompt[1:] if prompt and prompt[0].role == "system" else prompt)
    if not lines or lines[0].role != "user":
        wrong.append("the first word is not the user's")
    elif lines[-1].role not in {"user", "tool"}:
        wrong.append("the last word is the agent's own")
    seen: set[str] = set()
    open_calls: list[str] = []
    before = ""
    for line in lines:
        if line.role == "tool":
            if line.call_id not in open_calls:
                wrong.append(f"a result of no call: {line.call_id}")
            else:
                open_calls.remove(line.call_id)
        elif open_calls:
            wrong.append(f"{line.role} speaks before the results of {open_calls}")
            open_calls = []
        if line.role == before == "user" or line.role == "system":
            wrong.append(f"{line.role} speaks out of turn")
        if line.role == "assistant":
            if before not in {"user", "tool"}:
                wrong.append(f"the assistant answers {before or 'nobody'}")
            open_calls = [call.call_id for call in line.calls]
            if len(set(open_calls)) != len(open_calls) or seen & set(open_calls):
                wrong.append("two calls share an id")
            seen |= set(open_calls)
            wrong += [f"no object: {call.arguments}" for call in line.calls if not is_object(call.arguments)]
        elif line.calls:
            wrong.append(f"{line.role} makes calls")
        if not line.content and not line.calls:
            wrong.append(f"{line.role} says nothing")
        before = line.role
    if open_calls:
        wrong.append(f"no result of {open_calls}")
    return wrong


def wrong_prompt(
    build: BuildFunction,
    messages: Mapping[MessageId, Message],
    calls: Mapping[CallId, ToolCall],
    *,
    answer_id: MessageId,
) -> list[str]:
    """What is wrong with the prompt for an answer that is asked for now."""
    lines = build(in_order(messages), calls_by_answer(calls), instructions="Be brief.", answer_id=answer_id)
    told = "\n".join([line.content for line in lines])
    run = messages[answer_id].run_id
    return malformed(lines) + [
        f"the model is not told what became of call {call.call_id}"
        for call in calls.values()
        if call.run_id == run and call.result not in told
    ]


def is_object(arguments: str) -> bool:
    """Whether this is the JSON text of an object."""
    try:
        return isinstance(json.loads(arguments), dict)
    except (ValueError, RecursionError):
        return False


def calls_by_answer(calls: Mapping[CallId, ToolCall] | Iterable[ToolCall]) -> dict[MessageId, list[ToolCall]]:
    """As the store gives them: the calls of each answer, in order."""
    found: dict[MessageId, list[ToolCall]] = {}
    for call in sorted(calls.values() if isinstance(calls, Mapping) else calls, key=lambda call: call.number):
        found.setdefault(call.message_id, []).append(call)
    return found


def in_order(messages: Mapping[MessageId, Message]) -> list[Message]:
    """The transcript."""
    return sorted(messages.values(), key=lambda message: message.position)
