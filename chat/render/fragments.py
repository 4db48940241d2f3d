"""The pieces of the page. One template for each swap target: the page and the sockets share it.

Knows templates and what they show. Must not know sockets, requests or rows.
"""

from __future__ import annotations

import html
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import mark_safe

from chat.core.calls import ToolCall
from chat.core.ids import ConversationId, MessageId
from chat.core.messages import Message, MessageState, Role
from chat.core.state import Conversation
from chat.render import ids, state_parts
from chat.render.calls import artifact_context, call_context, seconds
from chat.render.kept_answers import KeptAnswers
from chat.render.markdown_stream import Append, MarkdownStream, Operation, Replace
from chat.render.stencil import Stencil, part

EMPTY_NOTE = "The response was empty."
FINISH_NOTES = {
    "length": "The response reached the model's length limit.",
    "content_filter": "The model's provider cut this response by its content rules.",
}

# What the templates of a message print of it, and decide nothing by.
MESSAGE_WORDS = ("id", "element", "position", "text", "reasoning", "thinking_words", "sent_at", "sent_day", "sent_time")
MESSAGE_HTML = ("settled_html", "tail_html")
# What they decide by.
MESSAGE_SHAPE = ("role", "state", "made_calls", "calling", "finish_note", "failure_words")

_answers = KeptAnswers()
_message = Stencil("chat/message.html")
_message_foot = Stencil("chat/message_foot.html")
_entry = Stencil("chat/entry.html")


@dataclass(frozen=True, kw_only=True, slots=True)
class Drawn:
    """A message's text as HTML: finished blocks, and the open end while it streams."""

    settled: str
    tail: str


def drawn(message: Message) -> Drawn:
    """The HTML of an answer's text."""
    if message.state is not MessageState.STREAMING:
        return Drawn(settled=_answers.drawn(message.content), tail="")
    if not message.content:
        return Drawn(settled="", tail="")
    stream = MarkdownStream(ids.message(message.message_id))
    stream.feed(message.content)
    stream.flush()
    return Drawn(settled="".join(stream.settled), tail=stream.tail())


def message_context(
    message: Message,
    text: Drawn | None = None,
    *,
    calls: Iterable[ToolCall] = (),
    made_calls: bool = False,
    calling: str = "",
) -> dict[str, Any]:
    """What the templates of a message show.

    calls: those that it made. made_calls: whether it made any, where they are drawn elsewhere. calling: the tool whose
    call it writes now.
    """
    calls = tuple(calls)
    made_calls = made_calls or bool(calls)
    took = message.telemetry
    sent_at = datetime.fromtimestamp(message.created_at_ms / 1000, tz=UTC)
    is_answer = message.role is Role.ASSISTANT
    is_empty = is_answer and message.state is MessageState.COMPLETE and not (made_calls or message.content.strip())
    notes = (EMPTY_NOTE if is_empty else "", FINISH_NOTES.get(took.finish_reason, ""), took.notice)
    if text is None and is_answer:
        text = drawn(message)
    facts = [
        ("Model", took.model),
        ("Tokens", _tokens(took.prompt_tokens, took.completion_tokens)),
        ("First text after", seconds(took.first_token_ms)),
        ("Whole response", seconds(took.total_ms)),
    ]
    return {
        "id": message.message_id,
        "element": ids.message(message.message_id),
        "position": message.position,
        "role": message.role.value,
        "state": message.state.value,
        "text": "" if is_answer else message.content,
        "settled_html": mark_safe(text.settled) if text else "",  # noqa: S308 - made by our renderer
        "tail_html": mark_safe(text.tail) if text else "",  # noqa: S308 - made by our renderer
        "reasoning": message.reasoning,
        "thinking_words": thinking_words(message),
        "made_calls": made_calls,
        "calling": calling,
        "attachments": [artifact_context(file) for file in message.attachments],
        "sent_at": sent_at.isoformat(),
        "sent_day": f"{sent_at:%Y-%m-%d}",
        "sent_time": f"{sent_at:%H:%M}",
        "finish_note": " ".join(filter(None, notes)),
        "failure_words": message.failure.words if message.failure else "",
        "facts": [(label, value) for label, value in facts if value],
        "calls": [call_context(call) for call in calls],
    }


def thinking_words(message: Message) -> str:
    """What is said of the model's thinking once it has begun to answer."""
    took_ms = message.telemetry.thinking_ms
    return "Thoughts" if took_ms is None else f"Thought for {seconds(took_ms)}"


def _tokens(prompt: int | None, completion: int | None) -> str:
    if prompt is None and completion is None:
        return ""
    return f"{'?' if prompt is None else prompt} in, {'?' if completion is None else completion} out"


def entry_context(conversation_id: UUID, title: str, phase: str, agent: str) -> dict[str, Any]:
    """A line of the list of conversations. agent: whom it is with; empty for the site's."""
    return {"id": conversation_id, "title": title, "phase": phase, "agent": agent, "url": f"/c/{conversation_id}/"}


def message(
    value: Message,
    *,
    conversation_id: UUID,
    text: Drawn | None = None,
    calls: Iterable[ToolCall] = (),
    made_calls: bool = False,
    calling: str = "",
    oob: str = "",
) -> str:
    """A whole message, with the calls that it made, and that which it writes now."""
    shown = message_context(value, text, calls=calls, made_calls=made_calls, calling=calling)
    return _of_message(_message, shown, conversation_id, oob=oob)


def prepare() -> None:
    """Load what every turn shows: under the first message, this would hold up its answer."""
    conversation_id = ConversationId(UUID(int=0))
    said = Message(
        message_id=MessageId(UUID(int=0)),
        position=1,
        role=Role.USER,
        state=MessageState.COMPLETE,
        content="-",
        created_at_ms=0,
        ended_at_ms=0,
    )
    answer = replace(said, role=Role.ASSISTANT)
    for value in (said, replace(answer, state=MessageState.STREAMING)):
        message(value, conversation_id=conversation_id, text=Drawn(settled="", tail=""), oob="upsert:#messages")
    message_end(answer, conversation_id=conversation_id)
    entry(conversation_id, "-", "generating", "", oob="lift:#conversations")
    state_parts.parts(Conversation(conversation_id=conversation_id), has_performers=True)


def messages(values: Iterable[Message], calls: Iterable[ToolCall], *, conversation_id: UUID) -> str:
    """Messages with their calls, one after the other."""
    calls = tuple(calls)
    return mark_safe(  # noqa: S308 - made by our templates
        "".join(
            [
                message(
                    value,
                    conversation_id=conversation_id,
                    calls=[call for call in calls if call.message_id == value.message_id],
                )
                for value in values
            ]
        )
    )


def _of_message(stencil: Stencil, shown: dict[str, Any], conversation_id: UUID, *, oob: str) -> str:
    if shown["calls"] or shown["attachments"]:
        # Hardly two have the same.
        return stencil.drawn({"message": shown, "conversation": {"id": conversation_id}, "oob": oob})
    facts = dict(shown["facts"])
    words = {name: html.escape(str(shown[name])) for name in MESSAGE_WORDS}
    words |= {name: shown[name] for name in MESSAGE_HTML}
    words |= {label: html.escape(value) for label, value in facts.items()}
    words["conversation"] = str(conversation_id)

    def context(places: dict[str, str]) -> dict[str, Any]:
        said = {"facts": [(label, places[label]) for label in facts]}
        return {"message": shown | places | said, "conversation": {"id": places["conversation"]}, "oob": oob}

    return stencil.filled((oob, *[shown[name] for name in MESSAGE_SHAPE], *facts), words, context)


def message_end(value: Message, *, conversation_id: UUID, made_calls: bool = False) -> str:
    """What changes on a message around its text when it ends: its attributes, its foot, how long it thought."""
    context = message_context(value, Drawn(settled="", tail=""), made_calls=made_calls)
    foot = _of_message(_message_foot, context, conversation_id, oob="true")
    thought = ""
    if value.reasoning:
        place = ids.place(value.message_id, "thought")
        thought = f'<span id="{place}" hx-swap-oob="innerHTML">{thinking_words(value)}</span>'
    return f"{message_attributes(value)}{thought}{foot}"


def calling(message_id: UUID, tool: str) -> str:
    """Which tool's call a message that streams writes now; none with an empty name."""
    return part("calling", message={"element": ids.message(message_id), "calling": tool}, oob="true")


def message_attributes(value: Message) -> str:
    """The attributes of a message's article."""
    return (
        f'<article id="{ids.message(value.message_id)}" data-message-id="{value.message_id}"'
        f' data-role="{value.role.value}" data-state="{value.state.value}" data-position="{value.position}" dir="auto"'
        ' hx-swap-oob="attributes"></article>'
    )


def text_operations(article: str, operations: Iterable[Operation]) -> str:
    """What a growing text adds to its message. article: the id of its element."""
    pieces = []
    for operation in operations:
        how = "beforeend" if isinstance(operation, Append) else "innerHTML"
        # A template, because the browser's parser takes rows of a table out of everything else.
        pieces.append(f'<template id="{article}-{operation.place}" hx-swap-oob="{how}">{operation.html}</template>')
    return "".join(pieces)


def text_replaced(message_id: UUID, text: Drawn) -> str:
    """The whole text of a message."""
    places = (Replace(place="settled", html=text.settled), Replace(place="tail", html=text.tail))
    return text_operations(ids.message(message_id), places)


def reasoning_appended(message_id: UUID, text: str) -> str:
    """More thinking at the end of a message's thinking."""
    place = ids.place(message_id, "reasoning")
    return f'<div id="{place}" hx-swap-oob="beforeend">{escape(text)}</div>'


def call(value: ToolCall) -> str:
    """The card of a tool call, which takes its place or replaces what was there."""
    place = ids.place(value.message_id, "calls")
    return part("tool_call", call=call_context(value), oob=f"upsert:#{place}")


def output_added(call_id: UUID, segments: Iterable[tuple[str, str]], *, is_first: bool) -> str:
    """More of what a running tool prints: stream and text of each piece. The first replaces what was saved."""
    pieces = format_html_join("", '<span class="{}">{}</span>', segments)
    how = "innerHTML" if is_first else "beforeend"
    return format_html('<div id="{}" hx-swap-oob="{}">{}</div>', ids.output(call_id), how, pieces)


def progress(call_id: UUID, fraction: float | None, words: str) -> str:
    """How far a running tool is."""
    value = "" if fraction is None else format_html(' value="{}"', f"{fraction:.4f}")
    return format_html(
        '<div id="{}" hx-swap-oob="innerHTML"><progress max="1"{} aria-label="Progress"></progress>'
        "<span>{}</span></div>",
        ids.progress(call_id),
        value,
        words,
    )


def conversation_attributes(state: Conversation, *, phase: str, seq: int) -> str:
    """Where the page stands."""
    return (
        f'<main id="{ids.CONVERSATION}" data-conversation-id="{state.conversation_id}" data-phase="{phase}"'
        f' data-seq="{seq}" hx-swap-oob="attributes"></main>'
    )


def messages_replaced(values: tuple[str, ...], *, conversation_id: UUID, older_before: int | None) -> str:
    """The whole transcript that is on the page, and the way to what came before it."""
    older = part("older", conversation={"id": conversation_id}, before=older_before, oob="true")
    return f'<div id="{ids.MESSAGES}" hx-swap-oob="innerHTML">{"".join(values)}</div>{older}'


def entry(conversation_id: UUID, title: str, phase: str, agent: str, *, oob: str = "") -> str:
    """A line of the list of conversations."""
    shown = entry_context(conversation_id, title, phase, agent)
    words = {name: html.escape(str(shown[name])) for name in ("id", "title", "agent", "url")}
    return _entry.filled((phase, oob), words, lambda places: {"entry": shown | places, "oob": oob})


def entry_deleted(conversation_id: UUID) -> str:
    """Takes a line from the list of conversations."""
    return f'<li id="c-{conversation_id}" hx-swap-oob="delete"></li>'


def notice(*, code: str, words: str, ref: str = "", kind: str = "error") -> str:
    """Something to tell the person in this tab alone."""
    inner = part(
        "notice",
        notice={"key": secrets.token_hex(4), "code": code, "words": words, "ref": ref, "kind": kind},
    )
    return f'<div hx-swap-oob="beforeend:#{ids.NOTICES}">{inner}</div>'
