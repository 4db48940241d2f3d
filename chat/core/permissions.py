"""What may run: which step may give an order to a tool, and which decision counts.

Says it a second time and in other words than the reducer, for `chat.core.invariants`. Never on the way of the data.
"""

from __future__ import annotations

from collections.abc import Collection

from chat.core.calls import CallState, Choice, Policy, Scope, ToolCall
from chat.core.effects import Order, RunTool
from chat.core.events import (
    CallEvent,
    Event,
    GenerationCompleted,
    GenerationEvent,
    ToolAllowanceRevoked,
    ToolApproved,
    ToolLost,
    ToolRejected,
    UnknownOutcomeResolved,
)
from chat.core.ids import CallId, RunId
from chat.core.messages import Delivery
from chat.core.state import Conversation, QueuedMessage, Step, Stopping

OrderName = tuple[RunId | CallId, int]
Decided = ToolApproved | ToolRejected | UnknownOutcomeResolved


def order_of(named: GenerationEvent | CallEvent | Order) -> OrderName:
    """What names the order that an event or an effect belongs to."""
    if isinstance(named, CallEvent | RunTool):
        return named.call_id, named.execution_no
    return named.run_id, named.generation_no


def wants_to_join(item: QueuedMessage) -> bool:
    """Whether a waiting message joins the run before the model is asked next."""
    return item.delivery is Delivery.STEER and not item.is_edited


def guarded_by(event: Event, result: Step) -> set[CallId]:
    """The new calls that only a member of staff may let run, as the event proposes them."""
    if not isinstance(event, GenerationCompleted):
        return set()
    return {call.call_id for call in result.calls if event.calls[call.number - 1].policy is Policy.STAFF}


def is_right(before: Conversation, event: Decided) -> bool:
    """Whether a call waits for just this decision."""
    call = _call(before, event.call_id)
    if call is None or call.is_settled or before.is_deleted or isinstance(before.phase, Stopping):
        return False
    if isinstance(event, UnknownOutcomeResolved):
        may_say_so = not call.needs_staff or event.is_staff_decision or event.choice is Choice.CONTINUE
        return may_say_so and call.state is CallState.UNKNOWN
    is_meant = not isinstance(event, ToolApproved) or event.digest == call.digest
    if isinstance(event, ToolApproved) and call.needs_staff:
        is_meant = is_meant and event.is_staff_decision and event.scope is Scope.ONCE
    return is_meant and call.state is CallState.PROPOSED


def of_step(
    before: Conversation | None,
    event: Event,
    result: Step,
    *,
    claimed: Collection[OrderName],
    guarded: Collection[CallId] = (),
) -> list[str]:
    """What this step allowed that nobody may.

    claimed: the orders to tools that somebody claimed before.
    guarded: the calls that, as they were proposed, only a member of staff may let run.
    """
    if before is None:
        return []
    wrong: list[str] = []
    if isinstance(event, Decided) and not is_right(before, event):
        wrong.append(f"a decision on call {event.call_id} was taken that it does not wait for")
    if isinstance(event, Decided):
        decided = _call(result.state, event.call_id)
        if decided is not None and decided.waits_for_person:
            wrong.append(f"call {event.call_id} waits for a person who has decided")
    wrong.extend(
        f"call {order.call_id} runs although no member of staff allowed it"
        for order in result.effects
        if isinstance(order, RunTool) and order.call_id in guarded and not _is_by_staff(event)
    )
    wrong.extend(
        f"call {order.call_id} runs although nobody allowed it so"
        for order in result.effects
        if isinstance(order, RunTool) and not _may_run(before, event, result, order, claimed=claimed)
    )
    if isinstance(event, ToolRejected):
        rejected = next((call for call in result.calls if call.call_id == event.call_id), None)
        if rejected is None or rejected.state is not CallState.REJECTED or event.reason not in rejected.result:
            wrong.append(f"call {event.call_id} was rejected and the model is not told so")
    if sorted(result.state.allowed_tools) != sorted(_allowed(before, event)):
        wrong.append("the tools that run without being asked for are not those that a person allowed")
    return wrong


def _is_by_staff(event: Event) -> bool:
    """Whether it lets a guarded call run; a lost order that is given anew was allowed before."""
    return event.is_staff_decision if isinstance(event, Decided) else isinstance(event, ToolLost)


def _call(state: Conversation, call_id: CallId) -> ToolCall | None:
    return next((call for call in state.calls if call.call_id == call_id), None)


def _may_run(
    before: Conversation, event: Event, result: Step, order: RunTool, *, claimed: Collection[OrderName]
) -> bool:
    if isinstance(event, GenerationCompleted):
        made = next((call for call in result.calls if call.call_id == order.call_id), None)
        if made is None or before.is_deleted or order.execution_no != 1:
            return False
        proposal = event.calls[made.number - 1]
        asks_nobody = proposal.policy is Policy.AUTO or (
            proposal.policy is Policy.ASK and proposal.tool in before.allowed_tools
        )
        is_same = (order.tool, order.arguments) == (proposal.tool, proposal.arguments)
        return asks_nobody and not proposal.problem and is_same
    call = _call(before, order.call_id)
    if call is None or order.tool != call.tool or order.execution_no != call.execution_no + 1:
        return False
    match event:
        case ToolApproved(call_id=order.call_id):
            return order.arguments == (call.arguments if event.arguments is None else event.arguments)
        case UnknownOutcomeResolved(call_id=order.call_id, choice=Choice.RUN_AGAIN):
            return order.arguments == call.arguments
        case ToolLost(call_id=order.call_id):
            is_harmless = event.can_run_again or order_of(event) not in claimed
            return is_harmless and order.arguments == call.arguments
        case _:
            return False


def _allowed(before: Conversation, event: Event) -> set[str]:
    """The tools that run without being asked for after an event that was taken."""
    allowed = set(before.allowed_tools)
    if isinstance(event, ToolAllowanceRevoked):
        return allowed - {event.tool}
    if isinstance(event, ToolApproved) and event.scope is Scope.CONVERSATION:
        call = _call(before, event.call_id)
        return allowed | ({call.tool} if call else set())
    return allowed
