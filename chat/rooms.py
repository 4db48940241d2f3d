"""Who listens to a conversation in this process, and what is in flight there.

Knows readers and what each has not taken yet. Must not know what they do with it, rows, frames or other processes.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from chat import alarms
from chat.bell import Bell
from chat.core.announcement import Announcement
from chat.core.ids import CallId, ConversationId
from chat.core.messages import Message
from chat.core.state import Conversation
from chat.live import LiveOutput, LiveText, Sender, Sleeper

# Texts and outputs that a room remembers as ended: what comes late of them must not open them again.
OVER_REMEMBERED_MAX = 100


@dataclass(kw_only=True, slots=True)
class Published:
    """An announcement on its way; what readers make of it is kept in `made`, once for all of them."""

    announcement: Announcement
    made: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True, slots=True, eq=False)
class Room:
    """A conversation that somebody in this process reads or writes.

    sleepers: who is woken by new text: the readers here, and what sends it on.
    live, outputs: what is in flight. over: texts and outputs that have ended, by what names their orders.
    seq: the newest event that was heard of. head_before: the newest that the database had when that was last looked up.
    is_quiet: nothing came for the copy of a text since that was last looked at.
    """

    subscriptions: set[Subscription] = field(default_factory=set)
    sleepers: set[Sleeper] = field(default_factory=set)
    live: LiveText | None = None
    outputs: dict[CallId, LiveOutput] = field(default_factory=dict)
    over: list[tuple[uuid.UUID, int]] = field(default_factory=list)
    seq: int = 0
    head_before: int = 0
    is_quiet: bool = False
    # The order to the model that was open as of an event: of what comes late of it, no copy may be opened.
    _open: tuple[int, tuple[uuid.UUID, int] | None] = (0, None)
    _senders: dict[LiveText | LiveOutput, Sender] = field(default_factory=dict)

    @property
    def performs(self) -> bool:
        """Whether this process performs something here. A copy is of no use where nobody reads it."""
        performs_text = self.live is not None and not self.live.is_copy
        return performs_text or any(not output.is_copy for output in self.outputs.values())

    def show_text(self, live: LiveText, sender: Sender | None = None) -> None:
        """A new text, in place of the one before. sender: sends it on."""
        self.close_text()
        self.live = live
        self._send_on(live, sender)
        for subscription in self.subscriptions:
            subscription.lives.append(live)

    def show_output(self, output: LiveOutput, sender: Sender | None = None) -> None:
        """What a call prints, in place of what an execution before printed. sender: sends it on."""
        self.close_output(output.call_id)
        self.outputs[output.call_id] = output
        self._send_on(output, sender)
        for subscription in self.subscriptions:
            subscription.outputs[output.call_id] = output

    def close_text(self) -> None:
        """The text has ended."""
        if self.live is not None:
            self._remember_over((self.live.run_id, self.live.generation_no))
            self._send_no_more(self.live)
            self.live = None

    def close_output(self, call_id: CallId) -> None:
        """What a call prints has ended."""
        output = self.outputs.pop(call_id, None)
        if output is not None:
            self._remember_over((call_id, output.execution_no))
            self._send_no_more(output)

    def mend_text(self, seq: int, state: Conversation, messages: Iterable[Message]) -> None:
        """Bring a copy up to what is known otherwise, as of an event, and close a text that has ended by then."""
        open_seq, before = self._open
        if seq >= open_seq:
            self._open = seq, state.open_generation
            if before is not None and before != state.open_generation:
                self._remember_over(before)
        live = self.live
        if live is None or live.opened_seq > seq:
            return
        if live.is_copy:
            for message in messages:
                if message.message_id == live.message_id:
                    live.catch_up(message.content, message.reasoning)
        if state.open_generation != (live.run_id, live.generation_no):
            self.close_text()

    def is_over(self, name: tuple[uuid.UUID, int], *, opened_seq: int) -> bool:
        """Whether the text of an order to the model, which an event opened, has ended by what is known here."""
        seq, current = self._open
        return name in self.over or (opened_seq <= seq and name != current)

    def _remember_over(self, name: tuple[uuid.UUID, int]) -> None:
        self.over.append(name)
        del self.over[:-OVER_REMEMBERED_MAX]

    def _send_on(self, what: LiveText | LiveOutput, sender: Sender | None) -> None:
        if sender is not None:
            self._senders[what] = sender
            self.sleepers.add(sender)

    def _send_no_more(self, what: LiveText | LiveOutput) -> None:
        sender = self._senders.pop(what, None)
        if sender is not None:
            self.sleepers.discard(sender)
            sender.close()


class Subscription:
    """One reader of a conversation, and of its user's list of conversations.

    The reader waits, then takes what is there. Text is not queued: the reader remembers how far it has read, so
    one that lags gets more at a time and not more in memory.
    """

    def __init__(self, *, conversation_id: ConversationId, user_id: int, address: str, backlog_max: int) -> None:
        self.address = address
        self.conversation_id = conversation_id
        self.user_id = user_id
        # Lists: of thousands of readers most have nothing to take, and an empty deque has room for 64 things.
        self.announcements: list[Published] = []
        self.list_changes: list[Published] = []
        self.repeats: list[Announcement] = []
        self.lives: list[LiveText] = []
        self.outputs: dict[CallId, LiveOutput] = {}
        self.is_overrun = False
        self.is_stale = False
        self.is_list_stale = False
        self.is_redrawn = False
        self.must_check_session = False
        self.is_going_away = False
        self.sync_after: int | None = None
        self._backlog_max = backlog_max
        self._woken = Bell()

    def wake(self) -> None:
        """There is something to take."""
        self._woken.set()

    def check_session(self) -> None:
        """Something may have ended the session that the reader came with."""
        self.must_check_session = True
        self.wake()

    async def wait(self, *, not_before_s: float = 0.0) -> None:
        """Until there is something to take, and the loop's clock has come that far."""
        await self._woken.wait()
        if not_before_s > asyncio.get_running_loop().time():
            await alarms.sleep_until(not_before_s)
        self._woken.clear()

    def repeat(self, announcement: Announcement) -> None:
        """Say again that a message was accepted."""
        if len(self.repeats) >= self._backlog_max:
            self.is_overrun = True
        else:
            self.repeats.append(announcement)
        self.wake()

    def put(self, queue: list[Published], published: Published) -> None:
        """Keep an announcement for the reader, up to the bound of its backlog."""
        if len(queue) >= self._backlog_max:
            self.is_overrun = True
        else:
            queue.append(published)
        self.wake()
