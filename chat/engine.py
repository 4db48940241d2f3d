"""The reducer service: the one door through which every event comes in.

Knows the order of things: one transaction, then the announcement, then the orders to the outside. Must not
know sockets, who performs effects, or who listens.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable

from chat import logs
from chat.clock import now_ms
from chat.core.announcement import Announcement
from chat.core.effects import Effect
from chat.core.events import Event
from chat.core.ids import ConversationId
from chat.core.state import Conversation, Refused
from chat.store import commits
from chat.store.commits import Committed, HandOver, Repeated
from chat.store.quotas import Quota
from chat.store.threads import Steps, in_thread

Announce = Callable[[Announcement], None]
Dispatch = Callable[[Conversation, tuple[Effect, ...]], None]


class Engine:
    """Applies events to conversations.

    process_id: this process. quota: what each person may have.
    announce: told of each commit. dispatch: given the state and the effects of each commit. Neither may block.
    hand_over: given the orders of each commit within its transaction; None when `dispatch` takes them.
    """

    def __init__(
        self,
        *,
        process_id: uuid.UUID,
        announce: Announce,
        dispatch: Dispatch,
        hand_over: HandOver | None = None,
        quota: Quota = commits.NO_QUOTA,
    ) -> None:
        self._process_id = process_id
        self._quota = quota
        self._announce = announce
        self._dispatch = dispatch
        self._hand_over = hand_over
        self._steps = Steps()
        self._happening: dict[ConversationId, asyncio.Task[Committed | Repeated | Refused]] = {}

    async def start(self, *, user_id: int, agent_id: uuid.UUID | None = None) -> ConversationId:
        """Open a new conversation of this user; agent_id: whom they chose, if they did. Raises AgentMissingError."""
        announcement = await in_thread(commits.start_conversation, user_id=user_id, at_ms=now_ms(), agent_id=agent_id)
        self._announce(announcement)
        return announcement.state.conversation_id

    async def apply(
        self, conversation_id: ConversationId, event: Event, *, actor_id: int | None = None
    ) -> Committed | Repeated | Refused:
        """Let one event happen. Raises ConversationMissingError.

        Who asked may be cancelled meanwhile; what was committed is announced and dispatched all the same.
        """
        before = self._happening.get(conversation_id)
        happening = asyncio.create_task(
            self._let_happen(conversation_id, event, actor_id, before), name=f"event {type(event).__name__}"
        )
        self._happening[conversation_id] = happening
        happening.add_done_callback(lambda _: self._forget(conversation_id, happening))
        return await asyncio.shield(happening)

    def _forget(self, conversation_id: ConversationId, happening: asyncio.Task[Committed | Repeated | Refused]) -> None:
        if self._happening.get(conversation_id) is happening:
            del self._happening[conversation_id]

    async def settle(self) -> None:
        """Until every event that came in has happened."""
        if self._happening:
            await asyncio.wait(self._happening.values())

    async def _let_happen(
        self,
        conversation_id: ConversationId,
        event: Event,
        actor_id: int | None,
        before: asyncio.Task[Committed | Repeated | Refused] | None,
    ) -> Committed | Repeated | Refused:
        logs.about(conversation=conversation_id)
        if before is not None:
            # Events of one conversation happen, and are told and dispatched, in the order in which they came in.
            await asyncio.wait({before})
        result = await self._steps.take(
            commits.commit,
            conversation_id,
            event,
            actor_id=actor_id,
            process_id=self._process_id,
            hand_over=self._hand_over,
            quota=self._quota,
        )
        if isinstance(result, Committed):
            self._announce(result.announcement)
            self._dispatch(result.announcement.state, result.effects)
        return result
