"""A whole conversation to take along, as JSON and as Markdown.

Knows the two forms. Must not know requests, or who may have them.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder

from chat.core.calls import Artifact, ToolCall
from chat.store.reads import View
from chat.web.out_json import call_json, iso, message_json


def as_json(view: View) -> str:
    """JSON text. `view` has every message."""
    agent = view.state.agent
    exported: dict[str, Any] = {
        "id": view.state.conversation_id,
        "title": view.state.title,
        "created_at": iso(view.created_at_ms),
        "seq": view.seq,
        "agent": {"name": agent.name, "version": agent.version} if agent else None,
        "messages": [message_json(message) for message in view.messages],
        "tool_calls": [call_json(call) for call in view.calls],
        "queue": [
            {"id": item.message_id, "content": item.content, "delivery": item.delivery.value}
            for item in view.state.queue
        ],
    }
    return json.dumps(exported, cls=DjangoJSONEncoder, ensure_ascii=False, indent=2)


def as_markdown(view: View) -> str:
    """Markdown text. `view` has every message."""
    agent = view.state.agent
    parts = [f"# {view.state.title or 'New conversation'}"]
    if agent is not None:
        parts.append(f"With {agent.name}, version {agent.version}")
    calls = defaultdict(list)
    for call in view.calls:
        calls[call.message_id].append(call)
    for message in view.messages:
        state = "" if message.state.value == "complete" else f" ({message.state.value})"
        parts.append(f"## {message.role.value.capitalize()}{state}\n\n{message.content}")
        if message.attachments:
            parts.append(_files(message.attachments))
        for call in calls[message.message_id]:
            parts += _call(call)
    parts += [f"## User (waiting)\n\n{item.content}" for item in view.state.queue]
    return "\n\n".join(parts) + "\n"


def _call(call: ToolCall) -> list[str]:
    parts = [f"### {call.tool} ({call.state.value})", _fenced(call.arguments, "json")]
    if call.result:
        parts.append(_fenced(call.result))
    if call.artifacts:
        parts.append(_files(call.artifacts))
    return parts


def _files(artifacts: Iterable[Artifact]) -> str:
    return f"Files: {', '.join(file.name for file in artifacts)}"


def _fenced(text: str, language: str = "") -> str:
    """The text as it is: its fence is longer than any within."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
