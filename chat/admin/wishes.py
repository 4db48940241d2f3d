"""What staff wish for in conversations of others: by the engine's door, so that events tell who did it.

Knows the engine's door and who may come in by it for what. Must not know pages.
"""

from __future__ import annotations

from uuid import UUID

from asgiref.sync import async_to_sync

from chat import wiring
from chat.clock import now_ms
from chat.core.calls import Choice, Scope
from chat.core.events import (
    ConversationDeleted,
    ConversationRestored,
    StopRequested,
    ToolApproved,
    ToolRejected,
    UnknownOutcomeResolved,
    WishEvent,
)
from chat.core.ids import CallId, ConversationId
from chat.core.state import Refused
from chat.errors import ConversationMissingError

MISSING = "There is no such conversation any more."


def stop(conversation_id: UUID, *, user_id: int) -> str:
    """Stop whatever runs. Empty when it happened, else why not."""
    return _wish(conversation_id, StopRequested(run_id=None, at_ms=now_ms()), user_id)


def close(conversation_id: UUID, *, user_id: int) -> str:
    """Put a conversation away, as its owner can, who can take that back. Empty when it happened, else why not."""
    return _wish(conversation_id, ConversationDeleted(at_ms=now_ms()), user_id)


def restore(conversation_id: UUID, *, user_id: int) -> str:
    """Bring a conversation back that was put away. Empty when it happened, else why not."""
    return _wish(conversation_id, ConversationRestored(at_ms=now_ms()), user_id)


def approve(conversation_id: UUID, call_id: UUID, *, digest: str, user_id: int) -> str:
    """Let a call run with the arguments that `digest` names. Empty when it happened, else why not."""
    event = ToolApproved(
        call_id=CallId(call_id),
        digest=digest,
        arguments=None,
        scope=Scope.ONCE,
        user_id=user_id,
        at_ms=now_ms(),
        is_staff_decision=True,
    )
    return _wish(conversation_id, event, user_id)


def reject(conversation_id: UUID, call_id: UUID, *, reason: str, user_id: int) -> str:
    """Refuse a call; the model is told the reason. Empty when it happened, else why not."""
    event = ToolRejected(
        call_id=CallId(call_id), reason=reason, user_id=user_id, at_ms=now_ms(), is_staff_decision=True
    )
    return _wish(conversation_id, event, user_id)


def resolve(conversation_id: UUID, call_id: UUID, *, choice: Choice, user_id: int) -> str:
    """Say what becomes of a call whose outcome was lost. Empty when it happened, else why not."""
    event = UnknownOutcomeResolved(
        call_id=CallId(call_id), choice=choice, user_id=user_id, at_ms=now_ms(), is_staff_decision=True
    )
    return _wish(conversation_id, event, user_id)


def _wish(conversation_id: UUID, event: WishEvent, user_id: int) -> str:
    try:
        result = async_to_sync(_let_happen)(ConversationId(conversation_id), event, user_id)
    except ConversationMissingError:
        return MISSING
    return result.words if isinstance(result, Refused) else ""


async def _let_happen(conversation_id: ConversationId, event: WishEvent, user_id: int) -> object:
    # A decision goes on with the run, so somebody must be there to perform it; what starts nothing needs nobody.
    starts_nothing = isinstance(event, StopRequested | ConversationDeleted | ConversationRestored)
    site = wiring.site() if starts_nothing else await wiring.running()
    return await site.engine.apply(conversation_id, event, actor_id=user_id)
