"""Several processes of one site, and a channel layer between them that can lose what is said."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID

from channels.layers import InMemoryChannelLayer

from chat.bus import Bus
from chat.core.announcement import Announcement
from chat.core.ids import ConversationId, RunId
from chat.core.state import Conversation
from chat.live import LiveText
from chat.relay import Relay
from chat.rooms import Subscription
from tests.core.talk import Talk

USER, OTHER_USER = 7, 8
FAR_S = 20.0


class LossyLayer(InMemoryChannelLayer):  # type: ignore[misc]
    """A channel layer that can be away, and that can lose what is said without an error."""

    is_away = False
    loses: Callable[[dict[str, object]], bool] = staticmethod(lambda message: False)

    async def group_send(self, group: str, message: dict[str, object]) -> None:
        if self.is_away:
            raise OSError("the layer is away")
        if not self.loses(message):
            await super().group_send(group, message)

    async def group_add(self, group: str, channel: str) -> None:
        if self.is_away:
            raise OSError("the layer is away")
        await super().group_add(group, channel)


class Process:
    """One process of the site."""

    def __init__(self, number: int) -> None:
        self.process_id = UUID(int=number)
        self.bus = Bus(backlog_max=100)
        self.cancelled: list[RunId] = []
        self.relay = Relay(
            self.bus, process_id=self.process_id, flushes_per_second_max=1000, cancel=self.cancelled.append
        )
        self.bus.exchange = self.relay

    async def read(self, talk: Talk, *, user_id: int = USER) -> Subscription:
        return await self.bus.subscribe(conversation_id=talk.state.conversation_id, user_id=user_id)

    def write(self, talk: Talk, *, generation_no: int = 1, seq: int = 3) -> LiveText:
        return self.bus.open_text(
            talk.state.conversation_id,
            message_id=talk.run.answer.message_id,
            run_id=talk.run.run_id,
            generation_no=generation_no,
            opened_seq=seq,
        )

    def see(self, talk: Talk, *, seq: int, performer: UUID | None) -> None:
        """A reader here has read the database."""
        self.relay.copies.see(seq, talk.state, tuple(talk.ledger.messages.values()), performer)


Start = Callable[[], "asyncio.Future[Process]"]


class Site:
    """The processes, and the layer between them."""

    def __init__(self, layer: LossyLayer) -> None:
        self.layer = layer
        self.processes: list[Process] = []

    async def start(self) -> Process:
        process = Process(len(self.processes) + 1)
        self.processes.append(process)
        await process.relay.start()
        return process


async def until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(FAR_S):
        while not is_so():  # noqa: ASYNC110 - what is waited for is any state of any process
            await asyncio.sleep(0.001)


def announced(talk: Talk, *, seq: int, user_id: int = USER) -> Announcement:
    return Announcement(
        user_id=user_id,
        seq=seq,
        event_type="user_message",
        state=talk.state,
        messages=talk.messages,
        calls=tuple(talk.ledger.calls.values()),
    )


def other_conversation(*, user_id: int = USER) -> Announcement:
    state = Conversation(conversation_id=ConversationId(UUID(int=99)))
    return Announcement(user_id=user_id, seq=1, event_type="conversation_started", state=state, messages=())


def seqs(subscription: Subscription) -> list[int]:
    return [published.announcement.seq for published in subscription.announcements]


def copy_of(subscription: Subscription) -> LiveText:
    live = subscription.lives[-1]
    assert live.is_copy
    return live
