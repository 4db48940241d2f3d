"""Copies of what other processes perform, for those who read along in this one.

Knows that what others say may be lost, late or doubled, and how a copy is mended: by its offsets, by asking again, and
by what the database holds. Must not know how others are reached, or rows.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from chat.bus import Bus
from chat.core.calls import CallState
from chat.core.ids import CallId, ConversationId, MessageId, RunId
from chat.core.messages import Message
from chat.core.state import Conversation
from chat.live import LiveOutput, LiveText, Progress, Segment
from chat.rooms import Room


@dataclass(frozen=True, kw_only=True, slots=True)
class TextFlush:
    """Some text of an answer. offset, reasoning_offset: characters before it; opened_seq: the event that opened it."""

    message_id: MessageId
    run_id: RunId
    generation_no: int
    opened_seq: int
    offset: int
    text: str
    reasoning_offset: int
    reasoning: str
    calling: str


@dataclass(frozen=True, kw_only=True, slots=True)
class OutputFlush:
    """Some of what a call prints. start: segments before these. fraction, words: how far it is, when `is_told`."""

    call_id: CallId
    execution_no: int
    start: int
    segments: tuple[Segment, ...]
    is_told: bool = False
    fraction: float | None = None
    words: str = ""


class Source(Protocol):
    """Whoever has the originals."""

    def ask_for_text(self, conversation_id: ConversationId, live: LiveText) -> None:
        """Ask for what a copy lacks. Returns at once; the answer may never come."""
        ...

    def ask_for_output(self, conversation_id: ConversationId, output: LiveOutput) -> None:
        """The same for what a tool prints."""
        ...


class Copies:
    """The copies in the rooms of this process."""

    def __init__(self, bus: Bus, source: Source, *, process_id: uuid.UUID) -> None:
        self._bus = bus
        self._source = source
        self._process_id = process_id
        # How often something was found to be missing, and was asked for or read again.
        self.healed_count = 0

    def receive_text(self, conversation_id: ConversationId, flush: TextFlush) -> None:
        """Some text came. What does not join on is asked for."""
        room = self._bus.room(conversation_id)
        name = (flush.run_id, flush.generation_no)
        if room is None or not room.subscriptions or room.is_over(name, opened_seq=flush.opened_seq):
            return
        live = room.live
        if live is None or (live.run_id, live.generation_no) != name:
            if live is not None and (live.opened_seq > flush.opened_seq or not live.is_copy):
                return
            live = _open(room, flush.message_id, *name, opened_seq=flush.opened_seq)
        if not live.is_copy:
            return
        if flush.offset > live.length or flush.reasoning_offset > live.reasoning_length:
            self.healed_count += 1
            self._source.ask_for_text(conversation_id, live)
            return
        room.is_quiet = False
        text = flush.text[live.length - flush.offset :]
        reasoning = flush.reasoning[live.reasoning_length - flush.reasoning_offset :]
        if text or reasoning:
            live.append(text, reasoning)
        live.write_call(flush.calling)
        live.join()

    def receive_output(self, conversation_id: ConversationId, flush: OutputFlush) -> None:
        """Some output came. What does not join on is asked for."""
        room = self._bus.room(conversation_id)
        if room is None or not room.subscriptions or (flush.call_id, flush.execution_no) in room.over:
            return
        output = room.outputs.get(flush.call_id)
        if output is None or output.execution_no < flush.execution_no:
            output = _open_output(room, flush.call_id, flush.execution_no)
        if not output.is_copy or output.execution_no != flush.execution_no:
            return
        if flush.start > len(output.segments):
            self.healed_count += 1
            self._source.ask_for_output(conversation_id, output)
            return
        latest = output.latest
        if flush.is_told and (latest is None or (latest.fraction, latest.text) != (flush.fraction, flush.words)):
            latest = Progress(fraction=flush.fraction, text=flush.words)
        output.add(flush.segments[len(output.segments) - flush.start :], latest)

    def see(self, seq: int, state: Conversation, messages: Sequence[Message], performer: uuid.UUID | None) -> None:
        """What a reader has read of its conversation: copies are mended by it, and opened for what others perform.

        performer: the process that has the open order to the model; None when nobody has it.
        """
        conversation_id = state.conversation_id
        room = self._bus.room(conversation_id)
        if room is None:
            return
        room.seq = max(room.seq, seq)
        name = state.open_generation
        if room.live is not None and room.live.is_copy and (room.live.run_id, room.live.generation_no) == name:
            # Whoever opened it knew of it from a later event than this reader.
            room.live.opened_seq = min(room.live.opened_seq, seq)
        room.mend_text(seq, state, messages)
        if room.live is None and name is not None and state.run and performer not in {None, self._process_id}:
            live = _open(room, state.run.answer.message_id, *name, opened_seq=seq)
            room.mend_text(seq, state, messages)
            self._source.ask_for_text(conversation_id, live)
        for call in state.calls:
            if call.state is CallState.RUNNING and call.call_id not in room.outputs:
                self._source.ask_for_output(conversation_id, _open_output(room, call.call_id, call.execution_no))

    def wanted(self) -> tuple[list[ConversationId], list[MessageId]]:
        """What to look up in the database, in case that what others said of it was lost: how far these conversations
        have come, and what was saved of these answers, of which nothing came since this was last asked.
        """
        conversation_ids, message_ids = [], []
        for conversation_id, room in self._bus.rooms.items():
            if not room.subscriptions:
                continue
            conversation_ids.append(conversation_id)
            live = room.live
            if live is not None and live.is_copy:
                if room.is_quiet:
                    message_ids.append(live.message_id)
                    self._source.ask_for_text(conversation_id, live)
                room.is_quiet = True
        return conversation_ids, message_ids

    def found(
        self, conversation_id: ConversationId, *, seq: int, text: str | None, reasoning: str | None, may_come: bool
    ) -> bool:
        """What was looked up. True when something was lost: whoever reads it reads again.

        may_come: others can be heard, so that what was committed just now may still be on its way.
        """
        room = self._bus.room(conversation_id)
        if room is None:
            return False
        if room.live is not None and room.live.is_copy and text is not None:
            room.live.catch_up(text, reasoning or "")
        # What was there the last time is not on its way any more.
        is_behind, room.head_before = room.seq < (room.head_before if may_come else seq), seq
        if is_behind:
            room.seq = seq
            self.healed_count += 1
            for subscription in room.subscriptions:
                subscription.is_stale = True
                subscription.wake()
        return is_behind


def _open(room: Room, message_id: MessageId, run_id: RunId, generation_no: int, *, opened_seq: int) -> LiveText:
    live = LiveText(
        room=room,
        message_id=message_id,
        run_id=run_id,
        generation_no=generation_no,
        opened_seq=opened_seq,
        is_copy=True,
    )
    room.show_text(live)
    return live


def _open_output(room: Room, call_id: CallId, execution_no: int) -> LiveOutput:
    # The bound is kept by the original.
    output = LiveOutput(room=room, call_id=call_id, execution_no=execution_no, limit_characters=0, is_copy=True)
    room.show_output(output)
    return output
