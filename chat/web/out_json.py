"""Frames as JSON, for scripts and other programs. The shapes are CONTRACT's."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import msgspec

from chat import codec
from chat.core.announcement import Announcement
from chat.core.calls import Artifact, ToolCall
from chat.core.ids import CallId
from chat.core.messages import Message
from chat.core.state import Conversation, Generating
from chat.live import LiveOutput, LiveText, Progress
from chat.rooms import Published
from chat.store.reads import Entry, View
from chat.tempo import OF_THIS_PROCESS, Tempo


class JsonOut:
    """One JSON socket. `_sent` is how many characters of the streaming message it has had."""

    wants_list = False
    # A client that asks has missed something, and `full` promises everything.
    wants_whole = True

    def __init__(self, *, tempo: Tempo = OF_THIS_PROCESS) -> None:
        self.pause_s = 0.0
        self._tempo = tempo
        self._live: LiveText | None = None
        self._sent = 0
        self._outputs: dict[tuple[CallId, int], tuple[int, Progress | None]] = {}

    def whole(self, view: View, live: LiveText | None) -> str:
        """A full `state_update`."""
        messages = view.messages
        self._live, self._sent = live, 0
        if live is not None:
            text = live.since(0)
            self._sent = len(text)
            messages = tuple(
                replace(message, content=text) if message.message_id == live.message_id else message
                for message in messages
            )
        return state_update(
            seq=view.seq,
            event_type=view.event_type,
            state=view.state,
            messages=messages,
            calls=view.calls,
            full=True,
        )

    def newer(self, view: View, live: LiveText | None) -> str:
        """The same: this socket always gets the whole."""
        return self.whole(view, live)

    def update(self, published: Published) -> str:
        """A `state_update` with what changed."""
        for message in published.announcement.messages:
            if self._live is not None and message.message_id == self._live.message_id:
                # Text from another process can be here before the word that it begins: it goes on from what that says.
                self._sent = len(message.content)
        made: str | None = published.made.get("json")
        if made is None:
            made = published.made["json"] = self.accepted_before(published.announcement)
        return made

    def again(self) -> str:
        """Nothing: frames tell what is, and not what it waits for."""
        return ""

    def text(self, live: LiveText) -> str:
        """An `llm_response_delta`."""
        if live is not self._live:
            self._live, self._sent = live, 0
        if self._sent >= live.length:
            return ""
        key = (self._sent, live.length)
        made = live.attachments.get("json")
        if made is None or made[0] != key:
            delta = {
                "type": "llm_response_delta",
                "run_id": live.run_id,
                "message_id": live.message_id,
                "offset": self._sent,
                "text": live.since(self._sent),
            }
            made = live.attachments["json"] = (key, msgspec.json.encode(delta).decode())
        self._sent = live.length
        self.pause_s = self._tempo.frame_pause_s()
        frame: str = made[1]
        return frame

    def output(self, output: LiveOutput) -> list[str]:
        """A `tool_output_delta` for each segment, and a `tool_progress` when there is a new word on that."""
        key = (output.call_id, output.execution_no)
        sent, told = self._outputs.get(key, (0, None))
        self._outputs[key] = (len(output.segments), output.latest)
        frames: list[dict[str, Any]] = [
            {
                "type": "tool_output_delta",
                "call_id": output.call_id,
                "stream": segment.stream,
                "offset": segment.offset,
                "text": segment.text,
            }
            for segment in output.segments[sent:]
        ]
        latest = output.latest
        if latest is not None and latest is not told:
            frames.append(
                {
                    "type": "tool_progress",
                    "call_id": output.call_id,
                    "fraction": latest.fraction,
                    "text": latest.text,
                }
            )
        return [msgspec.json.encode(frame).decode() for frame in frames]

    def list_change(self, published: Published) -> str:
        """Nothing: programs ask for one conversation at a time."""
        return ""

    def entries(self, entries: Iterable[Entry]) -> str:
        """Nothing, for the same reason."""
        return ""

    def accepted_before(self, announcement: Announcement) -> str:
        """A `state_update` with what is true of the message now."""
        return state_update(
            seq=announcement.seq,
            event_type=announcement.event_type,
            state=announcement.state,
            messages=announcement.messages,
            calls={call.call_id: call for call in announcement.calls}.values(),
            full=False,
        )

    def error(self, *, code: str, words: str, ref: str) -> str:
        """An `error`."""
        frame = {"type": "error", "code": code, "message": words} | ({"ref": ref} if ref else {})
        return msgspec.json.encode(frame).decode()


def state_update(
    *,
    seq: int,
    event_type: str,
    state: Conversation,
    messages: Iterable[Message],
    calls: Iterable[ToolCall],
    full: bool,
) -> str:
    """The frame of that name."""
    run = state.run
    frame = {
        "type": "state_update",
        "seq": seq,
        "event_type": event_type,
        "full": full,
        "phase": codec.phase_name(state.phase),
        "is_streaming": isinstance(state.phase, Generating),
        "run_id": run.run_id if run else None,
        "held": state.held is not None,
        "messages": [message_json(message) for message in messages],
        "queue": [
            {"id": item.message_id, "content": item.content, "delivery": item.delivery.value} for item in state.queue
        ],
        "tool_calls": [call_json(call) for call in calls],
    }
    return msgspec.json.encode(frame).decode()


def message_json(message: Message) -> dict[str, Any]:
    """A message as frames and exports show it."""
    return {
        "id": message.message_id,
        "role": message.role.value,
        "state": message.state.value,
        "content": message.content,
        "attachments": [artifact_json(file) for file in message.attachments],
        "created_at": iso(message.created_at_ms),
    }


def iso(at_ms: int) -> str:
    """A Unix time as frames and exports show it."""
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC).isoformat()


def artifact_json(artifact: Artifact) -> dict[str, Any]:
    """A file as frames and exports show it. `size` in bytes."""
    return {
        "id": artifact.artifact_id,
        "url": f"/artifacts/{artifact.artifact_id}/",
        "mime": artifact.mime,
        "name": artifact.name,
        "size": artifact.size,
    }


def call_json(call: ToolCall) -> dict[str, Any]:
    """A tool call as frames and exports show it. `arguments` is as the model gave it when it is no JSON object."""
    try:
        arguments = msgspec.json.decode(call.arguments)
    except (msgspec.DecodeError, RecursionError):
        arguments = call.arguments
    shown = {
        "call_id": call.call_id,
        "message_id": call.message_id,
        "tool": call.tool,
        "arguments": arguments,
        "digest": call.digest,
        "state": call.state.value,
        "artifacts": [artifact_json(artifact) for artifact in call.artifacts],
    }
    return shown | ({"result": call.result} if call.is_settled else {})
