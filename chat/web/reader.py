"""Turns what a subscription brings into frames, in the right order and without gaps.

Subscribe first, then read the snapshot, then apply what is newer: the first load, a reconnect and a second tab
all come this way. Must not know which frames a socket speaks.
"""

from __future__ import annotations

import asyncio

from chat.conf import Conf
from chat.copies import Copies
from chat.core.announcement import Announcement
from chat.core.calls import UNDER_WAY
from chat.live import LiveText
from chat.rooms import Subscription
from chat.store import reads
from chat.store.reads import View
from chat.store.threads import in_thread
from chat.web.out import Out

# The list of conversations shows so many; older ones are found by search.
LIST_LIMIT = 200
# A word to another process and back takes some milliseconds; the rest of a text comes after this anyway.
JOIN_TIMEOUT_S = 0.3
RESTORING_EVENT = "conversation_restored"


class Reader:
    """One socket's way through its conversation. `seq` is the newest event that it has heard of."""

    def __init__(self, subscription: Subscription, out: Out, conf: Conf, copies: Copies | None = None) -> None:
        """copies: of what other processes perform; None when there are none."""
        self._subscription = subscription
        self._copies = copies
        self._out = out
        self._conf = conf
        self.seq = 0

    async def begin(self, after: int | None) -> list[str]:
        """The first frames. `after`: the newest event that the client knows; None when it knows nothing."""
        frames = [await self._read(after)]
        if self._out.wants_list:
            frames.append(await self._list())
        return frames

    async def sync(self, after: int) -> list[str]:
        """What is newer than an event that the client names, and the text that streams."""
        return [await self._read(min(after, self.seq))]

    async def take(self) -> list[str]:
        """The frames for all that has come since the last call."""
        subscription = self._subscription
        self._out.pause_s = 0.0
        frames: list[str] = []
        while subscription.announcements and not subscription.is_stale:
            published = subscription.announcements.pop(0)
            announcement = published.announcement
            if announcement.seq <= self.seq:
                # What was read has it whole.
                self._leave_ended_outputs(announcement)
                continue
            if announcement.seq > self.seq + 1:
                subscription.is_stale = True
                break
            frames += self._leave_ended_texts(announcement) + self._leave_ended_outputs(announcement)
            frames.append(self._out.update(published))
            self.seq = announcement.seq
        if subscription.is_stale:
            subscription.is_stale = False
            frames.append(await self._read(self.seq))
        if subscription.is_redrawn:
            subscription.is_redrawn = False
            frames.append(self._out.again())
        while subscription.repeats:
            repeated = subscription.repeats.pop(0)
            # It tells of one message alone: what else is new since the last frame, or was when it was read, comes so.
            is_current = repeated.seq == self.seq
            frames.append(self._out.accepted_before(repeated) if is_current else await self._read(None))
        if self._out.wants_list:
            frames += await self._take_list()
        live = self._live()
        if live is not None:
            frames.append(self._out.text(live))
        for output in subscription.outputs.values():
            frames += self._out.output(output)
        return [frame for frame in frames if frame]

    def _live(self) -> LiveText | None:
        lives = self._subscription.lives
        return lives[0] if lives and lives[0].opened_seq <= self.seq else None

    def _leave_ended_texts(self, announcement: Announcement) -> list[str]:
        """The rest of a text comes before the word that it has ended."""
        frames: list[str] = []
        lives = self._subscription.lives
        current = announcement.state.open_generation
        while lives and lives[0].opened_seq < announcement.seq:
            live = lives[0]
            if (live.run_id, live.generation_no) == current:
                break
            if any(message.message_id == live.message_id for message in announcement.messages):
                frames.append(self._out.text(live))
            lives.pop(0)
        return frames

    def _leave_ended_outputs(self, announcement: Announcement) -> list[str]:
        """The same for what tools print."""
        frames: list[str] = []
        for call in announcement.calls:
            output = self._subscription.outputs.get(call.call_id)
            if output is not None and call.state not in UNDER_WAY:
                frames += self._out.output(output)
                del self._subscription.outputs[call.call_id]
        return frames

    async def _read(self, after: int | None) -> str:
        """What the database holds, and the text in flight on top of it."""
        limit = self._conf.agent_page_messages
        if self._out.wants_whole:
            after = None
        view = await in_thread(
            reads.view,
            self._subscription.conversation_id,
            limit=limit + 1 if after else limit,
            changed_after=after or 0,
        )
        is_too_much = after is not None and (len(view.messages) > limit or after > view.seq)
        if is_too_much:
            view = await in_thread(reads.view, self._subscription.conversation_id, limit=limit)
        self.seq = max(self.seq, view.seq)
        if self._copies is not None:
            self._copies.see(view.seq, view.state, view.messages, view.performer)
        self._leave_outputs_of(view)
        live = self._live_of(view)
        if live is not None and not live.is_joined:
            await self._join(live)
        if after is None or is_too_much:
            return self._out.whole(view, live)
        return self._out.newer(view, live)

    async def _join(self, live: LiveText) -> None:
        """Wait, but not for long, until the process that writes a text has said how far it is."""
        try:
            async with asyncio.timeout(JOIN_TIMEOUT_S):
                while not live.is_joined:
                    await self._subscription.wait()
        except TimeoutError:
            pass
        # What else came meanwhile is still to be taken.
        self._subscription.wake()

    def _leave_outputs_of(self, view: View) -> None:
        """What the calls printed that are over in the view; the view has it."""
        for call in view.calls:
            if call.state not in UNDER_WAY:
                self._subscription.outputs.pop(call.call_id, None)

    def _live_of(self, view: View) -> LiveText | None:
        """The text in flight that the view's active run writes; those before it are left."""
        lives = self._subscription.lives
        current = view.state.open_generation
        while lives and lives[0].opened_seq <= view.seq:
            live = lives[0]
            if (live.run_id, live.generation_no) == current:
                return live
            lives.pop(0)
        return None

    async def _take_list(self) -> list[str]:
        subscription = self._subscription
        frames = []
        # A conversation that comes back has a place that only the whole list tells.
        is_restored = any(
            published.announcement.event_type == RESTORING_EVENT for published in subscription.list_changes
        )
        if subscription.is_list_stale or is_restored:
            subscription.is_list_stale = False
            subscription.list_changes.clear()
            frames.append(await self._list())
        while subscription.list_changes:
            frames.append(self._out.list_change(subscription.list_changes.pop(0)))
        return frames

    async def _list(self) -> str:
        entries = await in_thread(reads.entries, user_id=self._subscription.user_id, limit=LIST_LIMIT)
        return self._out.entries(entries)
