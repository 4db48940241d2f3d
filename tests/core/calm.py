"""How a world comes to rest: whatever was begun ends, and whoever is waited for decides.

Knows the simulated outside. Must not know who chose what happened before.
"""

from __future__ import annotations

from chat.core.calls import CallState
from chat.core.events import ConversationRestored, Event, QueueItemHeld, QueueResumed, RetryRequested
from chat.core.invariants import joined
from chat.core.messages import MessageState, Role
from chat.core.permissions import order_of
from chat.core.state import Idle
from tests.core.performing import Performer
from tests.core.world import PromiseBrokenError, World

# Each answer of the world brings the conversation forward, so that far fewer calm down any that can.
STEPS_MAX = 600


def calm_down(world: World) -> None:
    """The world answers everything and persons let everything go on; then all must have come to rest."""
    if world.conversation.is_deleted:
        world.apply(ConversationRestored(at_ms=world.now_ms))
    for _ in range(STEPS_MAX):
        event = _next_event(world)
        if event is None:
            break
        world.apply(event)
    state = world.conversation
    if not isinstance(state.phase, Idle) or state.queue or state.retryable:
        raise PromiseBrokenError(f"It never came to rest: {state}")
    transcript = world.ledger.messages.values()
    heard = {
        message.answering
        for message in transcript
        if message.role is Role.ASSISTANT and message.state is not MessageState.STREAMING
    }
    asked = {message.message_id for message in transcript if message.role is Role.USER}
    heard |= joined(transcript)
    if world.ledger.accepted != heard | world.ledger.withdrawn or asked != heard:
        raise PromiseBrokenError("An accepted message was neither answered nor withdrawn.")
    if not all(call.is_settled and call.result for call in world.ledger.calls.values()):
        raise PromiseBrokenError("A call was never settled.")


def _next_event(world: World) -> Event | None:
    state = world.conversation
    now = world.now_ms
    edited = next((item.message_id for item in state.queue if item.is_edited), None)
    if edited is not None:
        return QueueItemHeld(message_id=edited, is_held=False, at_ms=now)
    if world.mail:
        return world.mail.pop(0)
    able = next((one for one in world.performers if not one.has_ended), None)
    if able is not None:
        # One whose claim was lost on its way claims once more.
        able.claim = able.claim if able.is_claimed is not None else None
        return able.goes_on(3 if able.is_cancelled else 0, now)
    for order in world.orders:
        if order_of(order) in world.ledger.open_orders:
            return Performer(order=order).lost(now, can_ask_again=True)
    for call in state.calls:
        if call.waits_for_person:
            return world.decision(4 + now % 2 if call.state is CallState.UNKNOWN else 0, call)
    if state.retryable is not None:
        return RetryRequested(at_ms=now)
    if state.held is not None:
        return QueueResumed(at_ms=now)
    return None
