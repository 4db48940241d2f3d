"""Frames as HTML fragments, for htmx to swap into the page."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from uuid import UUID

from chat import codec
from chat.core.announcement import Announcement
from chat.core.calls import ToolCall
from chat.core.ids import CallId, MessageId
from chat.core.messages import Message, MessageState
from chat.core.state import Conversation
from chat.live import LiveOutput, LiveText, Progress
from chat.render import fragments, state_parts
from chat.render.live_markdown import LiveMarkdown
from chat.rooms import Published
from chat.store.reads import Entry, View
from chat.tempo import OF_THIS_PROCESS, Tempo

# What an announcement must be for the order of the list of conversations to change.
LIFTING_EVENT = "user_message"
# Text whose open end is large is drawn less often, so that a flush costs a fixed share of the time.
PAUSE_S_PER_CHARACTER = 5e-6


class HtmlOut:
    """One HTML socket.

    It remembers what it has shown of the text that streams, and the parts that follow from the state, so that
    it sends only what is new.
    """

    wants_list = True
    wants_whole = False

    def __init__(
        self,
        *,
        frames_per_second_max: float,
        has_performers: Callable[[], bool] = lambda: True,
        tempo: Tempo = OF_THIS_PROCESS,
    ) -> None:
        """has_performers: whether anybody is there to perform an order."""
        self.pause_s = 0.0
        self._has_performers = has_performers
        self._tempo = tempo
        self._shortest_pause_s = 1 / frames_per_second_max
        # An answer that was drawn as it begins, while no text of it was.
        self._begun: Message | None = None
        self._live: LiveText | None = None
        self._version_shown = 0
        self._reasoning_shown = 0
        self._calling_shown = ""
        self._parts: dict[str, str] = {}
        self._shown: tuple[Conversation, int] | None = None
        # Of each running call, how many segments it has shown and which progress.
        self._outputs: dict[tuple[CallId, int], tuple[int, Progress | None]] = {}
        self._lines: dict[UUID, tuple[str, str, str]] = {}

    def whole(self, view: View, live: LiveText | None) -> str:
        """Every message that the page shows, anew."""
        self._parts, self._begun = {}, None
        calls = _by_message(view.calls)
        articles = tuple(
            self._article(view.state, message, live, calls=calls.get(message.message_id, ()))
            for message in view.messages
        )
        return fragments.messages_replaced(
            articles,
            conversation_id=view.state.conversation_id,
            older_before=view.messages[0].position if view.has_older else None,
        ) + self._state(view.state, view.seq)

    def newer(self, view: View, live: LiveText | None) -> str:
        """The messages that changed."""
        calls = _by_message(view.calls)
        articles = [
            self._article(view.state, message, live, calls=calls.pop(message.message_id, ()), oob="upsert:#messages")
            for message in view.messages
        ]
        articles += [self._card(call) for changed in calls.values() for call in changed]
        self._parts, self._begun = {}, None
        return "".join(articles) + self._state(view.state, view.seq)

    def update(self, published: Published) -> str:
        """The messages and parts that an announcement changed."""
        announcement = published.announcement
        callers = {call.message_id for call in announcement.calls}
        pieces = [
            self._message(announcement.state, message, made_calls=message.message_id in callers)
            for message in announcement.messages
        ]
        pieces += [self._card(call) for call in {call.call_id: call for call in announcement.calls}.values()]
        parts = published.made.get("parts")
        if parts is None:
            parts = published.made["parts"] = self._parts_of(announcement.state)
        return "".join(pieces) + self._state(announcement.state, announcement.seq, parts)

    def again(self) -> str:
        """The parts that the state alone does not tell."""
        return "" if self._shown is None else self._state(*self._shown)

    def text(self, live: LiveText) -> str:
        """More finished blocks, and the open end anew."""
        markdown = LiveMarkdown.of(live)
        if live is not self._live:
            self._follow(live, version=0, reasoning=0, calling="")
        frame = ""
        if self._reasoning_shown < live.reasoning_length:
            more = live.reasoning_since(self._reasoning_shown)
            self._reasoning_shown = live.reasoning_length
            frame = fragments.reasoning_appended(live.message_id, more)
        if markdown.version != self._version_shown:
            frame += markdown.frame(self._version_shown)
            self._version_shown = markdown.version
        if live.calling != self._calling_shown:
            self._calling_shown = live.calling
            frame += fragments.calling(live.message_id, live.calling)
        # Nothing holds up the first text.
        if frame:
            costs_s = markdown.cost_characters * PAUSE_S_PER_CHARACTER
            self.pause_s = max(self._shortest_pause_s, costs_s, self._tempo.frame_pause_s())
        return frame

    def output(self, output: LiveOutput) -> list[str]:
        """More of what a tool prints, behind what is there; what was saved of it at first gives way. And how far it
        is.
        """
        key = (output.call_id, output.execution_no)
        shown, told = self._outputs.get(key, (0, None))
        self._outputs[key] = (len(output.segments), output.latest)
        frames = []
        if shown < len(output.segments):
            new = [(segment.stream, segment.text) for segment in output.segments[shown:]]
            frames.append(fragments.output_added(output.call_id, new, is_first=shown == 0))
        latest = output.latest
        if latest is not None and latest is not told:
            frames.append(fragments.progress(output.call_id, latest.fraction, latest.text))
        if frames:
            self.pause_s = max(self.pause_s, self._shortest_pause_s, self._tempo.frame_pause_s())
        return frames

    def list_change(self, published: Published) -> str:
        """The line of the announced conversation, when it changed."""
        announcement = published.announcement
        state = announcement.state
        if state.is_deleted:
            self._lines.pop(state.conversation_id, None)
            return fragments.entry_deleted(state.conversation_id)
        line = (state.title, codec.phase_name(state.phase), state.agent.name if state.agent else "")
        is_lifted = announcement.event_type == LIFTING_EVENT
        if self._lines.get(state.conversation_id) == line and not is_lifted:
            return ""
        self._lines[state.conversation_id] = line
        where = "lift" if is_lifted or announcement.seq == 1 else "upsert"
        return fragments.entry(state.conversation_id, *line, oob=f"{where}:#conversations")

    def entries(self, entries: Iterable[Entry]) -> str:
        """The whole list of conversations."""
        lines = []
        for entry in entries:
            line = self._lines[entry.conversation_id] = (entry.title, entry.phase, entry.agent)
            lines.append(fragments.entry(entry.conversation_id, *line))
        return f'<ol id="conversations" hx-swap-oob="innerHTML">{"".join(lines)}</ol>'

    def accepted_before(self, announcement: Announcement) -> str:
        """The message as it stands; in the tray it is when it still waits."""
        self._parts.pop("queue", None)
        articles = [
            fragments.message(message, conversation_id=announcement.state.conversation_id, oob="upsert:#messages")
            for message in announcement.messages
        ]
        return "".join(articles) + self._state(announcement.state, announcement.seq)

    def error(self, *, code: str, words: str, ref: str) -> str:
        """A notice in this tab."""
        return fragments.notice(code=code, words=words, ref=ref)

    def _article(
        self,
        state: Conversation,
        message: Message,
        live: LiveText | None,
        *,
        calls: Iterable[ToolCall] = (),
        oob: str = "",
    ) -> str:
        text, calling = None, ""
        if live is not None and message.message_id == live.message_id:
            calling = live.calling
            markdown = LiveMarkdown.of(live)
            text = markdown.drawn()
            message = replace(message, reasoning=live.reasoning_since(0))
            self._follow(live, version=markdown.version, reasoning=live.reasoning_length, calling=calling)
        for call in calls:
            self._forget_output(call)
        return fragments.message(
            message, conversation_id=state.conversation_id, text=text, calls=calls, calling=calling, oob=oob
        )

    def _card(self, call: ToolCall) -> str:
        self._forget_output(call)
        return fragments.call(call)

    def _forget_output(self, call: ToolCall) -> None:
        """A card that is drawn anew shows what was saved of its output: all of it comes once more."""
        self._outputs.pop((call.call_id, call.execution_no), None)

    def _message(self, state: Conversation, message: Message, *, made_calls: bool) -> str:
        live = self._live
        if live is not None and message.message_id == live.message_id:
            self._live = None
            if message.state is not MessageState.STREAMING and len(message.content) == live.length:
                rest = LiveMarkdown.of(live).ending(self._version_shown, live)
                return rest + fragments.message_end(
                    message, conversation_id=state.conversation_id, made_calls=made_calls
                )
        elif message == self._begun:
            # The model is asked for it now.
            return ""
        self._begun = message if message.state is MessageState.STREAMING else None
        return fragments.message(
            message, conversation_id=state.conversation_id, made_calls=made_calls, oob="upsert:#messages"
        )

    def _follow(self, live: LiveText, *, version: int, reasoning: int, calling: str) -> None:
        self._live, self._begun = live, None
        self._version_shown, self._reasoning_shown, self._calling_shown = version, reasoning, calling

    def _state(self, state: Conversation, seq: int, parts: dict[str, str] | None = None) -> str:
        parts = self._parts_of(state) if parts is None else parts
        new = [html for name, html in parts.items() if self._parts.get(name) != html]
        self._parts = parts
        self._shown = state, seq
        attributes = fragments.conversation_attributes(state, phase=codec.phase_name(state.phase), seq=seq)
        return attributes + "".join(new)

    def _parts_of(self, state: Conversation) -> dict[str, str]:
        return state_parts.parts(state, has_performers=self._has_performers())


def _by_message(calls: Iterable[ToolCall]) -> dict[MessageId, list[ToolCall]]:
    found: dict[MessageId, list[ToolCall]] = {}
    for call in calls:
        found.setdefault(call.message_id, []).append(call)
    return found
