"""A simulated outside around the reducer, which performs its orders and misbehaves.

Knows the reducer's door, and what performers, the takeover and persons may send through it: at any time, late, twice,
in any order, about runs that are over or never were. Each event that comes in is held against the promises of
`chat.core.invariants`. Must not know who chooses what happens next: hypothesis does, or a random number.

A choice is a small number that is taken round what there is to choose from, so that any number means something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar
from uuid import UUID, uuid5

from chat.core import reducer
from chat.core.agents import AgentRef
from chat.core.calls import CallState, ToolCall
from chat.core.effects import CancelRun, Effect, Order, RunTool, StartGeneration
from chat.core.events import (
    ConversationDeleted,
    ConversationRenamed,
    ConversationRestored,
    ConversationStarted,
    Event,
    MessageSubmitted,
    QueueCleared,
    QueueItemEdited,
    QueueItemHeld,
    QueueItemMoved,
    QueueItemRemoved,
    QueueResumed,
    RetryRequested,
    StopRequested,
    ToolAllowanceRevoked,
    ToolApproved,
    ToolEnded,
    ToolStarted,
    WishEvent,
)
from chat.core.ids import CallId, ConversationId, MessageId, RunId
from chat.core.invariants import Ledger
from chat.core.messages import Delivery
from chat.core.permissions import order_of
from chat.core.prompt import build
from chat.core.state import Conversation, Refused, Step
from tests.core.deciding import Counts, decision
from tests.core.folding import StepFunction, wrong_log
from tests.core.performing import ANSWERS, OrderEvent, Performer, answered, call_event, generation_event
from tests.core.turns import BuildFunction, wrong_prompt

T = TypeVar("T")

CONVERSATION_ID = ConversationId(UUID("6f9619ff-8b86-4d01-b42d-00cf4fc964ff"))
FOREIGN_RUN = RunId(UUID("00000000-0000-4000-8000-00000000f0e1"))
FOREIGN_CALL = CallId(UUID("00000000-0000-4000-8000-00000000ca11"))
NOBODYS_MESSAGE = MessageId(UUID("00000000-0000-4000-8000-00000000dead"))
QUEUE_LIMIT_MESSAGES = 4


class PromiseBrokenError(AssertionError):
    """The reducer did what it must not, or never came to rest."""


def message_id(number: int) -> MessageId:
    """The id of the n-th message that persons send in this world."""
    return MessageId(uuid5(CONVERSATION_ID, f"message {number}"))


@dataclass(kw_only=True, slots=True)
class World:
    """One conversation, and everything around it.

    build: makes the prompt of each order to the model. user_id: the person who decides.
    orders: all that were given. mail: events on their way to the door. sent: all that ever were.
    counts: how often each call ran.
    log: the events that were taken, in order. is_broken: a promise was, so that what comes after means nothing.
    """

    step: StepFunction = reducer.step
    build: BuildFunction = build
    user_id: int = 1
    state: Conversation | None = None
    ledger: Ledger = field(default_factory=Ledger)
    log: list[Event] = field(default_factory=list)
    performers: list[Performer] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    mail: list[OrderEvent] = field(default_factory=list)
    sent: list[OrderEvent] = field(default_factory=list)
    counts: Counts = field(default_factory=Counts)
    submitted: int = 0
    is_broken: bool = False
    now_ms: int = 1_700_000_000_000

    def start(self, agent: AgentRef | None = None) -> None:
        """Open the conversation."""
        self.apply(ConversationStarted(conversation_id=CONVERSATION_ID, at_ms=self.now_ms, agent=agent))

    @property
    def conversation(self) -> Conversation:
        """The snapshot."""
        assert self.state is not None
        return self.state

    @property
    def is_waited_for(self) -> bool:
        """Whether somebody still performs an order."""
        return any(not performer.has_ended for performer in self.performers)

    def apply(self, event: Event) -> Step | Refused:
        """Bring an event in at the door, and check what came of it."""
        self.now_ms += 1
        self.is_broken = True
        result = self.step(self.state, event)
        wrong = self.ledger.record(self.state, event, result)
        if isinstance(event, ToolStarted):
            self._answer_claim(event, is_claimed=isinstance(result, Step))
        if isinstance(result, Step):
            wrong += self._performed(event) + self._prompts(result)
        if wrong:
            raise PromiseBrokenError(f"{event}: {'; '.join(wrong)}")
        if isinstance(result, Step):
            self.log.append(event)
            self.state = result.state
            for effect in result.effects:
                self._take_order(effect)
        self.is_broken = False
        return result

    def _take_order(self, effect: Effect) -> None:
        match effect:
            case StartGeneration() | RunTool():
                self.orders.append(effect)
                self.performers.append(Performer(order=effect))
            case CancelRun():
                for performer in self.performers:
                    if performer.order.run_id == effect.run_id:
                        performer.is_cancelled = True

    def _answer_claim(self, event: ToolStarted, *, is_claimed: bool) -> None:
        for performer in self.performers:
            if performer.claim is event and performer.is_claimed is None:
                performer.is_claimed = is_claimed

    def _performed(self, event: Event) -> list[str]:
        """What is wrong about the work that tools do, counted by itself."""
        wrong = self.counts.count(event)
        if isinstance(event, ToolEnded):
            wrong.extend(
                f"call {event.call_id} was said to have ended while it runs"
                for one in self.performers
                if one.runs_tool and order_of(one.order) == order_of(event)
            )
        return wrong

    def _prompts(self, result: Step) -> list[str]:
        """What a provider would refuse of what the model is asked now."""
        asked = [order.message_id for order in result.effects if isinstance(order, StartGeneration)]
        return [
            line
            for answer in asked
            for line in wrong_prompt(self.build, self.ledger.messages, self.ledger.calls, answer_id=answer)
        ]

    def decision(self, how: int, call: ToolCall) -> WishEvent:
        """What a person may say to a call that waits, or to one that does not."""
        others = self.ledger.calls.values()
        return decision(how, call, others=others, foreign=FOREIGN_CALL, user_id=self.user_id, now=self.now_ms)

    # What persons wish.

    def submit(self, which: int, delivery: Delivery) -> None:
        """Send a message, or one of the last few once more; the store lets none in whose id it knows."""
        if which == 0:
            self.submitted += 1
        number = max(1, self.submitted - which)
        if message_id(number) in self.ledger.accepted:
            return
        self.apply(
            MessageSubmitted(
                message_id=message_id(number),
                content=f"message {number}",
                delivery=delivery,
                queue_limit=QUEUE_LIMIT_MESSAGES,
                at_ms=self.now_ms,
            )
        )

    def press(self, which: int) -> None:
        """Press one of the buttons of the page, whether it is there or not."""
        now = self.now_ms
        run = self.conversation.run
        buttons: tuple[WishEvent, ...] = (
            StopRequested(run_id=None, at_ms=now),
            RetryRequested(at_ms=now),
            QueueResumed(at_ms=now),
            StopRequested(run_id=run.run_id if run else None, at_ms=now),
            QueueCleared(at_ms=now),
            StopRequested(run_id=self._any_run(which), at_ms=now),
            ConversationDeleted(at_ms=now),
            ConversationRestored(at_ms=now),
            ConversationRenamed(title="A name", at_ms=now),
        )
        self.apply(_chosen(buttons, which))

    def change_queue(self, how: int, which: int, position: int) -> None:
        """Edit, hold, let go, move or remove a message that waits, or one that does not."""
        waiting = [item.message_id for item in self.conversation.queue]
        target = _chosen((*waiting, *waiting, message_id(1), NOBODYS_MESSAGE), which)
        now = self.now_ms
        changes: tuple[WishEvent, ...] = (
            QueueItemHeld(message_id=target, is_held=True, at_ms=now),
            QueueItemMoved(message_id=target, position=position, at_ms=now),
            QueueItemEdited(message_id=target, content=f"edited at {now}", at_ms=now),
            QueueItemHeld(message_id=target, is_held=False, at_ms=now),
            QueueItemRemoved(message_id=target, at_ms=now),
        )
        self.apply(_chosen(changes, how))

    def decide(self, how: int, which: int) -> None:
        """Say yes, no or something else to a call that waits, or to one that does not."""
        waiting = [call for call in self.conversation.calls if call.waits_for_person]
        others = [*self.conversation.calls, *list(self.ledger.calls.values())[::-1]]
        if self.ledger.calls:
            self.apply(self.decision(how, _chosen([*waiting, *waiting, *others], which)))

    def decide_next(self, how: int) -> None:
        """Decide the first call that waits, and rightly."""
        call = next((call for call in self.conversation.calls if call.waits_for_person), None)
        if call is not None:
            is_unknown = call.state is CallState.UNKNOWN
            self.apply(self.decision((4, 5)[how % 2] if is_unknown else (0, 1, 2, 3)[how % 4], call))

    def decide_again(self, how: int, which: int) -> None:
        """Decide a call of this turn that waits for nobody; with none such, one that waits."""
        decided = [call for call in self.conversation.calls if not call.waits_for_person]
        if decided:
            self.apply(self.decision(how % 6, _chosen(decided, which)))
        else:
            self.decide_next(3)

    def lose_guarded(self) -> None:
        """Staff lets the call that waits run, and nobody sees its end."""
        for call in self.conversation.calls[:1]:
            yes = self.decision(0, call)
            assert isinstance(yes, ToolApproved)
            self.apply(replace(yes, is_staff_decision=True))
            self.run_tool(3, 0)

    def allow(self) -> None:
        """Let a tool run in this conversation without being asked for, or ask for it again."""
        allowed = self.conversation.allowed_tools
        if allowed:
            self.apply(ToolAllowanceRevoked(tool=allowed[0], at_ms=self.now_ms))
        else:
            self.decide_next(2)

    # What the world answers.

    def perform(self, how: int, which: int) -> None:
        """A performer goes on; what it has to say is on its way, not yet here."""
        able = [one for one in self.performers if not one.has_ended and not one.waits_for_claim]
        if able:
            self._send(_chosen(able[::-1], which).goes_on(how, self.now_ms))

    def call_tools(self, which: int) -> None:
        """The model ends its answer with calls, and is heard."""
        for performer in self.performers[::-1]:
            order = performer.order
            if isinstance(order, StartGeneration) and not performer.has_ended and not performer.is_cancelled:
                performer.has_ended = True
                calls = _chosen(ANSWERS, which)
                self._send(answered(order.run_id, order.generation_no, self.now_ms, calls=calls))
                self.deliver(-1, stays=False)
                return

    def run_tool(self, how: int, which: int) -> None:
        """Somebody claims an order to a tool, and ends it, or dies and is held to be dead, or just goes on."""
        able = [one for one in self.performers if isinstance(one.order, RunTool) and not one.has_ended]
        if not able:
            return
        performer = _chosen(able[::-1], which)
        if performer.claim is None:
            self._send(performer.goes_on(0, self.now_ms))
            self.deliver(-1, stays=False)
        if performer.has_ended or performer.waits_for_claim or how < 3:
            return
        self._send(performer.goes_on(8 if how < 6 else how, self.now_ms))
        if how < 6:
            self.apply(performer.lost(self.now_ms, can_ask_again=True))
        elif self.mail:
            self.deliver(-1, stays=False)

    def _send(self, event: OrderEvent | None) -> None:
        if event is not None:
            self.mail.append(event)
            self.sent.append(event)

    def duplicate(self, which: int) -> None:
        """Somebody else gets an order to a tool as well."""
        orders = [one.order for one in self.performers[::-1] if isinstance(one.order, RunTool)]
        if orders:
            self.performers.append(Performer(order=_chosen(orders, which)))

    def deliver(self, which: int, *, stays: bool) -> None:
        """An event arrives, in any order; one that `stays` will arrive again."""
        if self.mail:
            at = which % len(self.mail)
            self.apply(self.mail[at] if stays else self.mail.pop(at))

    def repeat(self, which: int) -> None:
        """An event that was sent at some time arrives, perhaps again."""
        if self.sent:
            self.apply(_chosen(self.sent[::-1], which))

    def take_over(self, which: int, *, can_ask_again: bool) -> None:
        """Somebody holds a performer to be dead, rightly or not, now or long ago."""
        if self.performers:
            self.apply(_chosen(self.performers[::-1], which).lost(self.now_ms, can_ask_again=can_ask_again))

    def forge(self, how: int, which: int, number: int) -> None:
        """An event of a run or an order that is over, not yet there, or never was."""
        run_id = self._any_run(which)
        event: OrderEvent = generation_event(how, run_id, number, self.now_ms)
        if how % 2:
            call_id = self._any_call(which)
            event = call_event(how // 2, run_id if number == 3 else self._run_of(call_id), call_id, number, self.now_ms)
        if order_of(event) not in self.ledger.open_orders:
            self.apply(event)

    def _any_run(self, which: int) -> RunId:
        run = self.conversation.run
        ordered = [performer.order.run_id for performer in self.performers[::-1]]
        present = [run.run_id] if run else []
        return _chosen([*present, FOREIGN_RUN, *ordered], which)

    def _any_call(self, which: int) -> CallId:
        present = [call.call_id for call in self.conversation.calls]
        return _chosen([*present, *present, FOREIGN_CALL, *list(self.ledger.calls)[::-1]], which)

    def _run_of(self, call_id: CallId) -> RunId:
        call = self.ledger.calls.get(call_id)
        return FOREIGN_RUN if call is None else call.run_id

    # The end.

    def check_log(self) -> None:
        """Folding the log as it would be stored gives the snapshot, and both survive their storage."""
        wrong = wrong_log(self.step, self.log, self.conversation)
        if wrong:
            raise PromiseBrokenError(wrong)


def _chosen(options: Sequence[T], which: int) -> T:
    return options[which % len(options)]
