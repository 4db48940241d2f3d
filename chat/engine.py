"""The reducer service: the one door through which every event comes in.

Knows the order of things: one transaction, then the announcement, then the orders to the outside. Must not
know sockets, who performs effects, or who listens.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

from chat.clock import now_ms
from chat.core.announcement import Announcement
from chat.core.effects import Effect
from chat.core.events import Event
from chat.core.ids import ConversationId
from chat.core.state import Refused
from chat.store import commits
from chat.store.commits import Committed, Repeated
from chat.store.quotas import Quota
from chat.store.threads import in_thread

Announce = Callable[[Announcement], None]
Dispatch = Callable[[ConversationId, tuple[Effect, ...]], None]


class Engine:
    """Applies events to conversations.

    owner: this process, which performs the runs that start here.
    quota: what each person may have.
    announce: told of each commit. dispatch: given the effects of each commit. Neither may block.
    """

    def __init__(
        self, *, owner: uuid.UUID, announce: Announce, dispatch: Dispatch, quota: Quota = commits.NO_QUOTA
    ) -> None:
        self._owner = owner
        self._quota = quota
        self._announce = announce
        self._dispatch = dispatch
        self._happening: set[asyncio.Task[Committed | Repeated | Refused]] = set()

    async def start(self, *, user_id: int) -> ConversationId:
        """Open a new conversation of this user."""
        announcement = await in_thread(commits.start_conversation, user_id=user_id, at_ms=now_ms())
        self._announce(announcement)
        return announcement.state.conversation_id

    async def apply(
        self, conversation_id: ConversationId, event: Event, *, actor_id: int | None = None
    ) -> Committed | Repeated | Refused:
        """Let one event happen. Raises ConversationMissingError.

        Who asked may be cancelled meanwhile; what was committed is announced and dispatched all the same.
        """
        happening = asyncio.create_task(
            self._let_happen(conversation_id, event, actor_id), name=f"event {type(event).__name__}"
        )
        self._happening.add(happening)
        happening.add_done_callback(self._happening.discard)
        return await asyncio.shield(happening)

    async def settle(self) -> None:
        """Until every event that came in has happened."""
        if self._happening:
            await asyncio.wait(self._happening)

    async def _let_happen(
        self, conversation_id: ConversationId, event: Event, actor_id: int | None
    ) -> Committed | Repeated | Refused:
        result = await in_thread(
            commits.commit, conversation_id, event, actor_id=actor_id, owner=self._owner, quota=self._quota
        )
        if isinstance(result, Committed):
            self._announce(result.announcement)
            self._dispatch(conversation_id, result.effects)
        return result
