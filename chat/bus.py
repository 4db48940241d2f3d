"""Announcements and text in flight: to subscribers in this process at once, to other processes as hints.

Knows who listens in this process. Must not know what listeners do, rows, or frames. The channel layer may lose
or delay a hint: whoever gets one reads again, and every announcement has its `seq`, so a gap shows.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from channels.layers import get_channel_layer

from chat.core.announcement import Announcement
from chat.core.calls import UNDER_WAY
from chat.core.ids import CallId, ConversationId, MessageId, RunId
from chat.live import LiveOutput, LiveText

logger = logging.getLogger(__name__)

# Hints that wait for the channel layer; more are dropped, as the layer itself may drop them.
HINTS_WAITING_MAX = 10_000
LISTEN_RETRY_DELAY_S = 1.0

Subscriber = Callable[[Announcement], None]


@dataclass(kw_only=True, slots=True)
class Published:
    """An announcement on its way; what readers make of it is kept in `made`, once for all of them."""

    announcement: Announcement
    made: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True, slots=True, eq=False)
class Room:
    """A conversation that somebody in this process reads or writes."""

    subscriptions: set[Subscription] = field(default_factory=set)
    live: LiveText | None = None
    outputs: dict[CallId, LiveOutput] = field(default_factory=dict)


class Subscription:
    """One reader of a conversation, and of its user's list of conversations.

    The reader waits, then takes what is there. Text is not queued: the reader remembers how far it has read, so
    one that lags gets more at a time and not more in memory.
    """

    def __init__(self, *, conversation_id: ConversationId, user_id: int, address: str, backlog_max: int) -> None:
        self.address = address
        self.conversation_id = conversation_id
        self.user_id = user_id
        self.announcements: deque[Published] = deque()
        self.list_changes: deque[Published] = deque()
        self.repeats: deque[Announcement] = deque()
        self.lives: deque[LiveText] = deque()
        self.outputs: dict[CallId, LiveOutput] = {}
        self.is_overrun = False
        self.is_stale = False
        self.is_list_stale = False
        self.must_check_session = False
        self.is_going_away = False
        self.sync_after: int | None = None
        self._backlog_max = backlog_max
        self._woken = asyncio.Event()

    def wake(self) -> None:
        """There is something to take."""
        self._woken.set()

    def check_session(self) -> None:
        """Something may have ended the session that the reader came with."""
        self.must_check_session = True
        self.wake()

    async def wait(self) -> None:
        """Until there is something to take."""
        await self._woken.wait()
        self._woken.clear()

    def repeat(self, announcement: Announcement) -> None:
        """Say again that a message was accepted."""
        if len(self.repeats) >= self._backlog_max:
            self.is_overrun = True
        else:
            self.repeats.append(announcement)
        self.wake()

    def put(self, queue: deque[Published], published: Published) -> None:
        """Keep an announcement for the reader, up to the bound of its backlog."""
        if len(queue) >= self._backlog_max:
            self.is_overrun = True
        else:
            queue.append(published)
        self.wake()


class Bus:
    """Brings announcements and text to those who listen."""

    def __init__(self, *, process_id: uuid.UUID, backlog_max: int, subscribers: Sequence[Subscriber] = ()) -> None:
        """subscribers: called with every announcement of this process; each must return at once."""
        self._process_id = str(process_id)
        self._backlog_max = backlog_max
        self._rooms: dict[ConversationId, Room] = {}
        self._users: dict[int, set[Subscription]] = {}
        self._addresses: Counter[str] = Counter()
        self._subscribers = subscribers
        self._hints: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue(HINTS_WAITING_MAX)
        self._layer = get_channel_layer()
        self._channel = ""
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Begin to exchange hints with other processes."""
        if self._layer is None:
            return
        self._channel = await self._layer.new_channel()
        self._tasks = [
            asyncio.create_task(self._send_hints(), name="bus hints out"),
            asyncio.create_task(self._receive_hints(), name="bus hints in"),
        ]

    async def stop(self) -> None:
        """Tell every reader that this process goes away, and end."""
        for subscriptions in self._users.values():
            for subscription in subscriptions:
                subscription.is_going_away = True
                subscription.wake()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def subscribe(self, *, conversation_id: ConversationId, user_id: int, address: str = "") -> Subscription:
        """Begin to listen. Read the snapshot after this, then apply what is newer."""
        subscription = Subscription(
            conversation_id=conversation_id,
            user_id=user_id,
            address=address,
            backlog_max=self._backlog_max,
        )
        self._addresses[address] += 1
        room = self._rooms.setdefault(conversation_id, Room())
        room.subscriptions.add(subscription)
        if room.live is not None:
            subscription.lives.append(room.live)
        subscription.outputs.update(room.outputs)
        listeners = self._users.setdefault(user_id, set())
        is_first = not listeners
        listeners.add(subscription)
        if is_first and self._channel:
            await self._tell_layer("group_add", user_id)
        return subscription

    async def unsubscribe(self, subscription: Subscription) -> None:
        """Listen no more."""
        self._addresses[subscription.address] -= 1
        if not self._addresses[subscription.address]:
            del self._addresses[subscription.address]
        room = self._rooms.get(subscription.conversation_id)
        if room is not None:
            room.subscriptions.discard(subscription)
            self._forget_if_unused(subscription.conversation_id)
        listeners = self._users.get(subscription.user_id, set())
        listeners.discard(subscription)
        if not listeners and self._users.pop(subscription.user_id, None) is not None and self._channel:
            await self._tell_layer("group_discard", subscription.user_id)

    def sockets_of(self, user_id: int) -> int:
        """How many readers this user has in this process."""
        return len(self._users.get(user_id, ()))

    def sockets_from(self, address: str) -> int:
        """How many readers came to this process from an address."""
        return self._addresses[address]

    def announce(self, announcement: Announcement) -> None:
        """Tell everybody of a commit."""
        published = Published(announcement=announcement)
        conversation_id = announcement.state.conversation_id
        room = self._rooms.get(conversation_id)
        if room is not None:
            live = room.live
            if live is not None and announcement.state.open_generation != (live.run_id, live.generation_no):
                room.live = None
                self._forget_if_unused(conversation_id)
            for call in announcement.calls:
                if call.state not in UNDER_WAY:
                    room.outputs.pop(call.call_id, None)
            self._forget_if_unused(conversation_id)
            for subscription in room.subscriptions:
                subscription.put(subscription.announcements, published)
        for subscription in self._users.get(announcement.user_id, ()):
            subscription.put(subscription.list_changes, published)
        for subscriber in self._subscribers:
            try:
                subscriber(announcement)
            except Exception:
                logger.exception("A subscriber failed at event %s", announcement.seq)
        self._hint(announcement.user_id, {"conversation": str(conversation_id)})

    def open_text(
        self,
        conversation_id: ConversationId,
        *,
        message_id: MessageId,
        run_id: RunId,
        generation_no: int,
        opened_seq: int,
    ) -> LiveText:
        """The place where the performer of a generation puts its text."""
        room = self._rooms.setdefault(conversation_id, Room())
        live = LiveText(
            room=room,
            message_id=message_id,
            run_id=run_id,
            generation_no=generation_no,
            opened_seq=opened_seq,
        )
        room.live = live
        for subscription in room.subscriptions:
            subscription.lives.append(live)
        return live

    def open_output(
        self, conversation_id: ConversationId, *, call_id: CallId, execution_no: int, limit_characters: int
    ) -> LiveOutput:
        """The place where the performer of a tool call puts what it prints."""
        room = self._rooms.setdefault(conversation_id, Room())
        output = LiveOutput(room=room, call_id=call_id, execution_no=execution_no, limit_characters=limit_characters)
        room.outputs[call_id] = output
        for subscription in room.subscriptions:
            subscription.outputs[call_id] = output
        return output

    def check_sessions(self, user_id: int) -> None:
        """Let every reader of this user, in all processes, look whether its session still stands."""
        self._check_sessions_here(user_id)
        self._hint(user_id, {"sessions": "changed"})

    def _check_sessions_here(self, user_id: int) -> None:
        for subscription in self._users.get(user_id, ()):
            subscription.check_session()

    def _forget_if_unused(self, conversation_id: ConversationId) -> None:
        room = self._rooms.get(conversation_id)
        if room is not None and not room.subscriptions and room.live is None and not room.outputs:
            del self._rooms[conversation_id]

    def _hint(self, user_id: int, hint: dict[str, str]) -> None:
        if not self._channel:
            return
        message = {"type": "hint", "origin": self._process_id, "user": user_id, **hint}
        try:
            self._hints.put_nowait((_group(user_id), message))
        except asyncio.QueueFull:
            logger.warning("The channel layer is too slow: a hint was dropped.")

    async def _send_hints(self) -> None:
        while True:
            group, message = await self._hints.get()
            try:
                await self._layer.group_send(group, message)
            except Exception as fault:
                logger.warning("The channel layer did not take a hint: %s", fault)

    async def _receive_hints(self) -> None:
        while True:
            try:
                message = cast(dict[str, Any], await self._layer.receive(self._channel))
            except Exception as fault:
                logger.warning("The channel layer can't be heard: %s", fault)
                await asyncio.sleep(LISTEN_RETRY_DELAY_S)
                continue
            if message.get("origin") == self._process_id:
                continue
            user_id = message.get("user", 0)
            if "sessions" in message:
                self._check_sessions_here(user_id)
                continue
            for subscription in self._users.get(user_id, ()):
                if str(subscription.conversation_id) == message.get("conversation"):
                    subscription.is_stale = True
                subscription.is_list_stale = True
                subscription.wake()

    async def _tell_layer(self, verb: str, user_id: int) -> None:
        try:
            await getattr(self._layer, verb)(_group(user_id), self._channel)
        except Exception as fault:
            logger.warning("The channel layer did not take %s: %s", verb, fault)


def _group(user_id: int) -> str:
    return f"agentsite.user.{user_id}"
