"""Announcements and text in flight: to subscribers in this process, and out to the buses of other processes.

Knows who listens in this process. Must not know what listeners do, rows, frames, or how other processes are reached.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from chat.core.announcement import Announcement
from chat.core.calls import UNDER_WAY
from chat.core.ids import CallId, ConversationId, MessageId, RunId
from chat.live import LiveOutput, LiveText, Sender
from chat.rooms import Published, Room, Subscription

logger = logging.getLogger(__name__)

Subscriber = Callable[[Announcement], None]


class Exchange(Protocol):
    """The way to the buses of other processes. Each method but `joined` returns at once."""

    def listen_to_user(self, user_id: int) -> None:
        """Somebody here reads the list of this user's conversations."""
        ...

    def leave_user(self, user_id: int) -> None:
        """Nobody here does any more."""
        ...

    def listen_to(self, conversation_id: ConversationId) -> None:
        """Somebody here reads or writes this conversation."""
        ...

    def leave(self, conversation_id: ConversationId) -> None:
        """Nobody here does any more."""
        ...

    async def joined(self) -> None:
        """Until others are heard in all that was listened to; not for long when they can't be reached."""
        ...

    def announce(self, announcement: Announcement) -> None:
        """Tell the others of a commit of this process."""
        ...

    def check_sessions(self, user_id: int) -> None:
        """Let the others look whether the sessions of this user's readers still stand."""
        ...

    def send_text(self, conversation_id: ConversationId, live: LiveText) -> Sender:
        """Keep the others' copies of a text up; whoever writes it wakes what is returned."""
        ...

    def send_output(self, conversation_id: ConversationId, output: LiveOutput) -> Sender:
        """The same for what a tool prints."""
        ...


class Bus:
    """Brings announcements and text to those who listen."""

    def __init__(
        self,
        *,
        backlog_max: int,
        subscribers: Sequence[Subscriber] = (),
        watch: Subscriber | None = None,
    ) -> None:
        """subscribers: called with every announcement of this process; each must return at once.

        watch: called with those of other processes too, as far as they are heard of.
        """
        self._backlog_max = backlog_max
        self._rooms: dict[ConversationId, Room] = {}
        self._users: dict[int, set[Subscription]] = {}
        self._addresses: Counter[str] = Counter()
        self._subscribers = subscribers
        self._watch = watch
        # The way to other processes; None when there are none.
        self.exchange: Exchange | None = None
        # Whether anybody is there to perform an order, here or in another process.
        self.has_performers = True

    def say_goodbye(self) -> None:
        """Tell every reader that this process goes away."""
        for subscription in self.readers:
            subscription.is_going_away = True
            subscription.wake()

    @property
    def readers(self) -> Iterable[Subscription]:
        """Everybody who listens in this process."""
        return [subscription for listeners in self._users.values() for subscription in listeners]

    async def subscribe(self, *, conversation_id: ConversationId, user_id: int, address: str = "") -> Subscription:
        """Begin to listen. Read the snapshot after this, then apply what is newer."""
        subscription = Subscription(
            conversation_id=conversation_id,
            user_id=user_id,
            address=address,
            backlog_max=self._backlog_max,
        )
        self._addresses[address] += 1
        room = self._entered(conversation_id)
        room.subscriptions.add(subscription)
        room.sleepers.add(subscription)
        if room.live is not None:
            subscription.lives.append(room.live)
        subscription.outputs.update(room.outputs)
        listeners = self._users.setdefault(user_id, set())
        if not listeners and self.exchange is not None:
            self.exchange.listen_to_user(user_id)
        listeners.add(subscription)
        if self.exchange is not None:
            await self.exchange.joined()
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Listen no more."""
        self._addresses[subscription.address] -= 1
        if not self._addresses[subscription.address]:
            del self._addresses[subscription.address]
        room = self._rooms.get(subscription.conversation_id)
        if room is not None:
            room.subscriptions.discard(subscription)
            room.sleepers.discard(subscription)
            self._forget_if_unused(subscription.conversation_id)
        listeners = self._users.get(subscription.user_id, set())
        listeners.discard(subscription)
        if not listeners and self._users.pop(subscription.user_id, None) is not None and self.exchange is not None:
            self.exchange.leave_user(subscription.user_id)

    def readers_of(self, user_id: int) -> Iterable[Subscription]:
        """Those of one user."""
        return tuple(self._users.get(user_id, ()))

    def note_loss(self) -> None:
        """Something that others said was lost: every list of conversations is read again."""
        for subscription in self.readers:
            subscription.is_list_stale = True
            subscription.wake()

    def note_performers(self, *, are_there: bool) -> None:
        """Whether anybody is there to perform an order; every reader says it when that changes."""
        if are_there == self.has_performers:
            return
        self.has_performers = are_there
        for subscription in self.readers:
            subscription.is_redrawn = True
            subscription.wake()

    def sockets_of(self, user_id: int) -> int:
        """How many readers this user has in this process."""
        return len(self._users.get(user_id, ()))

    def sockets_from(self, address: str) -> int:
        """How many readers came to this process from an address."""
        return self._addresses[address]

    def announce(self, announcement: Announcement) -> None:
        """Tell everybody of a commit of this process."""
        self.deliver(announcement)
        for subscriber in self._subscribers:
            try:
                subscriber(announcement)
            except Exception:
                logger.exception("A subscriber failed at event %s", announcement.seq)
        if self.exchange is not None:
            self.exchange.announce(announcement)

    def deliver(self, announcement: Announcement) -> None:
        """Tell the readers in this process of a commit."""
        if self._watch is not None:
            self._watch(announcement)
        published = Published(announcement=announcement)
        conversation_id = announcement.state.conversation_id
        room = self._rooms.get(conversation_id)
        if room is not None:
            room.seq = max(room.seq, announcement.seq)
            room.mend_text(announcement.seq, announcement.state, announcement.messages)
            for call in announcement.calls:
                if call.state not in UNDER_WAY:
                    room.close_output(call.call_id)
            self._forget_if_unused(conversation_id)
            for subscription in room.subscriptions:
                subscription.put(subscription.announcements, published)
        for subscription in self._users.get(announcement.user_id, ()):
            subscription.put(subscription.list_changes, published)

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
        room = self._entered(conversation_id)
        live = LiveText(
            room=room,
            message_id=message_id,
            run_id=run_id,
            generation_no=generation_no,
            opened_seq=opened_seq,
        )
        exchange = self.exchange
        room.show_text(live, None if exchange is None else exchange.send_text(conversation_id, live))
        return live

    def open_output(
        self, conversation_id: ConversationId, *, call_id: CallId, execution_no: int, limit_characters: int
    ) -> LiveOutput:
        """The place where the performer of a tool call puts what it prints."""
        room = self._entered(conversation_id)
        output = LiveOutput(room=room, call_id=call_id, execution_no=execution_no, limit_characters=limit_characters)
        room.show_output(
            output, self.exchange.send_output(conversation_id, output) if self.exchange is not None else None
        )
        return output

    def check_sessions(self, user_id: int) -> None:
        """Let every reader of this user, in all processes, look whether its session still stands."""
        self.check_sessions_here(user_id)
        if self.exchange is not None:
            self.exchange.check_sessions(user_id)

    def check_sessions_here(self, user_id: int) -> None:
        """The same, in this process."""
        for subscription in self.readers_of(user_id):
            subscription.check_session()

    def room(self, conversation_id: ConversationId) -> Room | None:
        """The conversation's room; None when nobody in this process reads or writes it."""
        return self._rooms.get(conversation_id)

    @property
    def rooms(self) -> Mapping[ConversationId, Room]:
        """All that there are."""
        return self._rooms

    def _entered(self, conversation_id: ConversationId) -> Room:
        room = self._rooms.get(conversation_id)
        if room is None:
            room = self._rooms[conversation_id] = Room()
            if self.exchange is not None:
                self.exchange.listen_to(conversation_id)
        return room

    def _forget_if_unused(self, conversation_id: ConversationId) -> None:
        room = self._rooms.get(conversation_id)
        if room is not None and not room.subscriptions and not room.performs:
            del self._rooms[conversation_id]
            if self.exchange is not None:
                self.exchange.leave(conversation_id)
