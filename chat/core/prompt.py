"""What the model is sent, built from the transcript by one pure function.

Knows the order of roles that providers accept. Must not know how a request is encoded.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

from chat.core.calls import ToolCall
from chat.core.ids import MessageId
from chat.core.messages import Message, MessageState, Role

STOPPED_NOTE = "[The user stopped this response here.]"
FAILED_NOTE = "[This response ended early because of an error.]"
EMPTY_NOTE = "[This response was empty.]"
EDITED_NOTE = "[The user changed the arguments of this call before it ran.]"


@dataclass(frozen=True, kw_only=True, slots=True)
class PromptCall:
    """A tool call that the model made. `arguments` is the JSON text of an object."""

    call_id: str
    name: str
    arguments: str


class PromptMessage(NamedTuple):
    """One message as the model sees it. A tuple, because a turn makes one for each message that there ever was.

    calls: of an assistant's message, the tool calls that it made; each is followed by its one result.
    call_id: of a `tool` message, the call whose result it is.
    """

    role: Literal["system", "user", "assistant", "tool"]
    content: str
    calls: tuple[PromptCall, ...] = ()
    call_id: str = ""


def build(
    transcript: Sequence[Message],
    calls: Mapping[MessageId, Sequence[ToolCall]],
    *,
    instructions: str,
    answer_id: MessageId,
) -> tuple[PromptMessage, ...]:
    """The prompt for one answer, which is in the transcript already, after what it answers.

    transcript: in order of position. calls: those of each answer, in order.
    Of several runs that answered one message only the newest counts, and what comes after the answer stays out. An
    answer that was stopped or failed is sent as far as it came, with a note, so that the model knows what was said
    and that users and assistant take turns. Each call has its one result, whatever became of it.
    """
    end = next(n for n in reversed(range(len(transcript))) if transcript[n].message_id == answer_id)
    newest_runs = {
        message.answering: message.run_id for message in transcript[: end + 1] if message.role is Role.ASSISTANT
    }
    prompt = [PromptMessage(role="system", content=instructions)] if instructions else []
    for message in transcript[:end]:
        if message.role is Role.USER:
            _add_user(prompt, _asked(message))
        elif newest_runs[message.answering] == message.run_id:
            prompt += _said(message, calls.get(message.message_id, ()))
    return tuple(prompt)


def _add_user(prompt: list[PromptMessage], content: str) -> None:
    """Messages that joined a run together are one turn for the model: many servers refuse two in a row."""
    if prompt and prompt[-1].role == "user":
        content = f"{prompt.pop().content}\n\n{content}"
    prompt.append(PromptMessage(role="user", content=content))


def _asked(message: Message) -> str:
    """What a person wrote, and which files lie beside it."""
    if not message.attachments:
        return message.content
    names = ", ".join(f"{file.name} ({file.size:,} bytes, {file.mime})" for file in message.attachments)
    return f"{message.content}\n\n[Files that came with this message, in the current folder of the tools: {names}]"


def _said(answer: Message, calls: Sequence[ToolCall]) -> Iterator[PromptMessage]:
    made = tuple(PromptCall(call_id=str(call.call_id), name=call.tool, arguments=_arguments(call)) for call in calls)
    yield PromptMessage(role="assistant", content=_text(answer, has_calls=bool(calls)), calls=made)
    for call in calls:
        yield PromptMessage(role="tool", content=_result(call), call_id=str(call.call_id))


def _text(answer: Message, *, has_calls: bool) -> str:
    match answer.state:
        case MessageState.COMPLETE:
            return answer.content or ("" if has_calls else EMPTY_NOTE)
        case MessageState.INTERRUPTED:
            note = STOPPED_NOTE
        case MessageState.FAILED | MessageState.STREAMING:
            note = FAILED_NOTE
    return f"{answer.content}\n\n{note}" if answer.content else note


def _arguments(call: ToolCall) -> str:
    """What the model wrote, unless servers would stumble over it: its result says what was wrong."""
    return call.arguments if call.execution_no or isinstance(_read(call.arguments), dict) else "{}"


def _result(call: ToolCall) -> str:
    return f"{EDITED_NOTE}\n{call.result}" if _is_edited(call) else call.result


def _is_edited(call: ToolCall) -> bool:
    """Whether a person changed what the arguments say, and not just how their JSON is written."""
    is_same_text = call.arguments == call.proposed_arguments
    return not is_same_text and _read(call.arguments) != _read(call.proposed_arguments)


def _read(arguments: str) -> object:
    """What JSON text says; None when it is none, or deeper than any parser follows."""
    try:
        return cast(object, json.loads(arguments))
    except (ValueError, RecursionError):
        return None
