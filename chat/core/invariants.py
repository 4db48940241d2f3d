"""What is true of every conversation at every moment, as functions that name what is not.

They are called by tests after every step and by `check_replay`, never on the way of the data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from chat.core.calls import UNDER_WAY, CallState, ToolCall
from chat.core.effects import CancelRun, RunTool, StartGeneration
from chat.core.events import (
    CallEvent,
    ConversationDeleted,
    ConversationStarted,
    Event,
    GenerationEvent,
    GenerationLost,
    MessageSubmitted,
    QueueCleared,
    QueueItemEdited,
    QueueItemRemoved,
    QueueResumed,
    RetryRequested,
    StopRequested,
    TerminalEvent,
    ToolEnded,
    ToolStarted,
)
from chat.core.ids import CallId, MessageId, RunId
from chat.core.messages import Delivery, Message, MessageState, Role
from chat.core.permissions import Decided, OrderName, guarded_by, is_right, of_step, order_of, wants_to_join
from chat.core.state import (
    Acting,
    AwaitingApproval,
    Conversation,
    Generating,
    Hold,
    Refused,
    RunningTools,
    Step,
    Stopping,
)


def of_state(state: Conversation) -> list[str]:
    """What is wrong with a snapshot by itself."""
    wrong: list[str] = []
    queued = [item.message_id for item in state.queue]
    if len(set(queued)) != len(queued):
        wrong.append("a message waits twice")
    if state.held is not None and not state.queue:
        wrong.append("an empty queue is held")
    run = state.run
    if run is None:
        may_go = state.queue and state.held is None and not state.queue[0].is_edited
        if may_go and not state.is_deleted:
            wrong.append("nothing runs although a message could go")
        if state.held is not None and any(item.delivery is not Delivery.QUEUE for item in state.queue):
            wrong.append("a held message still wants to join or end a run that is over")
    else:
        if run.answering in queued:
            wrong.append("the message that is being answered still waits")
        wrong += _of_phase(state)
        if state.retryable is not None:
            wrong.append("there is something to retry while a run is active")
    if isinstance(state.phase, Stopping) and state.is_deleted and not state.phase.holds:
        wrong.append("a deleted conversation will go on after the stop")
    if state.is_deleted and isinstance(state.phase, Generating | Acting):
        wrong.append("a deleted conversation is being answered")
    if run is not None and state.outcome is not None:
        wrong.append("an outcome is known while a run is active")
    return wrong


def _of_phase(state: Conversation) -> list[str]:
    """What is wrong between the phase of an active run and what is open in it."""
    is_under_way = any(call.state in UNDER_WAY for call in state.calls)
    waits = any(call.waits_for_person for call in state.calls)
    if state.is_asking_model and is_under_way:
        return ["the model is asked while a call is under way"]
    if any(call.message_id != state.run.answer.message_id for call in state.calls if state.run):
        return ["a call is open that the newest answer did not make"]
    match state.phase:
        case Generating() if not state.is_asking_model:
            return ["the answer of the active run has ended"]
        case AwaitingApproval() if not waits or state.is_asking_model:
            return ["nothing waits for a person"]
        case RunningTools() if waits or not is_under_way:
            return ["no call is under way, or one waits for a person"]
        case Stopping() if waits or not (state.is_asking_model or is_under_way):
            return ["nothing is left to be stopped, or a call waits in vain"]
    return []


def of_transcript(
    state: Conversation, messages: Mapping[MessageId, Message], calls: Mapping[CallId, ToolCall]
) -> list[str]:
    """What is wrong between a snapshot and the messages and calls written so far."""
    wrong: list[str] = []
    ordered = sorted(messages.values(), key=lambda message: message.position)
    if [message.position for message in ordered] != list(range(1, state.message_count + 1)):
        wrong.append("positions have gaps")
    streaming = {message.message_id for message in ordered if message.state is MessageState.STREAMING}
    expected = {state.run.answer.message_id} if state.run and state.is_asking_model else set()
    if streaming != expected:
        wrong.append("the messages that stream are not those of the active run")
    wrong.extend(
        f"message {item.message_id} is in the queue and in the transcript"
        for item in state.queue
        if item.message_id in messages
    )
    for message in ordered:
        if (message.state is MessageState.FAILED) != (message.failure is not None):
            wrong.append(f"message {message.message_id} failed without a reason, or has one without failing")
        if message.role is Role.ASSISTANT and message.answering not in messages:
            wrong.append(f"answer {message.message_id} answers nothing")
    if state.run is None and ordered:
        last = ordered[-1]
        # A run that was stopped among its calls ends with an answer that is complete.
        ended = MessageState.INTERRUPTED if any(c.message_id == last.message_id for c in calls.values()) else last.state
        if state.outcome is not ended:
            wrong.append("the outcome is not that of the last answer")
        if state.retryable != (None if ended is MessageState.COMPLETE else last.answering):
            wrong.append("what can be tried again is not what the last answer left open")
    is_open = {call.call_id for call in state.calls}
    wrong.extend(
        f"call {call.call_id} is open in a turn that is over"
        for call in calls.values()
        if not call.is_settled and call.call_id not in is_open
    )
    return wrong


def joined(messages: Iterable[Message]) -> set[MessageId]:
    """The user's messages that joined a run under way: answers of one run stand on both sides of them."""
    found: set[MessageId] = set()
    since: set[MessageId] = set()
    run: RunId | None = None
    for message in sorted(messages, key=lambda message: message.position):
        if message.role is Role.USER:
            since.add(message.message_id)
            continue
        if message.run_id == run:
            found |= since
        run, since = message.run_id, set()
    return found


@dataclass(kw_only=True, slots=True)
class Ledger:
    """Follows one conversation from its start and holds each step against the promises that span steps.

    Fill it by `record`, for every event in order, whether it was taken or refused.

    texts: what a person last wrote, of each accepted message.
    stopped: waiting messages that Stop or a failure holds back, and by which of the two.
    cancelled: runs that were told to end. claimed: orders to a tool that a performer has taken.
    guarded: calls that only a member of staff may let run, as they were proposed.
    is_thorough: whether each step is held against the whole transcript, which costs more with every message;
    else do so once, by `whole`, after the last step.
    """

    is_thorough: bool = True
    messages: dict[MessageId, Message] = field(default_factory=dict)
    accepted: set[MessageId] = field(default_factory=set)
    withdrawn: set[MessageId] = field(default_factory=set)
    texts: dict[MessageId, str] = field(default_factory=dict)
    stopped: dict[MessageId, Hold] = field(default_factory=dict)
    calls: dict[CallId, ToolCall] = field(default_factory=dict)
    open_orders: set[OrderName] = field(default_factory=set)
    ended_orders: set[OrderName] = field(default_factory=set)
    claimed: set[OrderName] = field(default_factory=set)
    cancelled: set[RunId] = field(default_factory=set)
    guarded: set[CallId] = field(default_factory=set)

    def record(self, before: Conversation | None, event: Event, result: Step | Refused) -> list[str]:
        """What this step did wrong; empty when nothing."""
        if isinstance(result, Refused):
            return self._refusal(before, event)
        self.guarded |= guarded_by(event, result)
        wrong = of_step(before, event, result, claimed=self.claimed, guarded=self.guarded)
        wrong += self._orders(before, event, result)
        wrong += self._messages(result.messages) + self._calls(result.calls)
        self._waiting(before, event, result.state)
        started_with = event.agent if isinstance(event, ConversationStarted) else before and before.agent
        if result.state.agent != started_with:
            wrong.append("the conversation has another agent than it started with")
        if before is not None:
            wrong += self._departures(before, event, result)
            self._holds(before, event, result.state)
        wrong += of_state(result.state)
        if self.is_thorough:
            wrong += self.whole(result.state)
        return wrong

    def whole(self, state: Conversation) -> list[str]:
        """What is wrong between the snapshot and everything that was recorded."""
        return of_transcript(state, self.messages, self.calls) + self._fates(state)

    def _refusal(self, before: Conversation | None, event: Event) -> list[str]:
        run = None if before is None else before.run
        is_of_run = run is not None and isinstance(event, GenerationEvent | CallEvent) and event.run_id == run.run_id
        if is_of_run and isinstance(event, TerminalEvent) and order_of(event) in self.open_orders:
            is_of_another = isinstance(event, ToolEnded) and not event.is_claimed and order_of(event) in self.claimed
            return [] if is_of_another else ["the end of an open order was refused"]
        if before is None:
            return []
        if is_of_run and isinstance(event, ToolStarted) and order_of(event) in self.open_orders - self.claimed:
            return [] if isinstance(before.phase, Stopping) else ["the first claim of an open order was refused"]
        if isinstance(event, Decided) and is_right(before, event):
            return ["a decision that a call waits for was refused"]
        if isinstance(event, StopRequested) and not before.is_deleted:
            is_meant = run is not None and event.run_id in (None, run.run_id)
            if is_meant and not (isinstance(before.phase, Stopping) and before.phase.holds):
                return ["Stop was refused while something ran"]
        return []

    def _orders(self, before: Conversation | None, event: Event, result: Step) -> list[str]:
        wrong: list[str] = []
        if isinstance(event, GenerationEvent | CallEvent):
            order = order_of(event)
            if isinstance(event, ToolStarted):
                if before is not None and isinstance(before.phase, Stopping):
                    wrong.append(f"order {order} was claimed although its run is being stopped")
                if order in self.claimed:
                    wrong.append(f"order {order} was claimed twice")
                self.claimed.add(order)
            if order not in self.open_orders:
                wrong.append(f"an event of order {order} was taken, which is not open")
            if isinstance(event, ToolEnded) and not event.is_claimed and order in self.claimed:
                wrong.append(f"order {order} was ended by somebody who did not perform it")
            if isinstance(event, TerminalEvent):
                self.open_orders.discard(order)
                self.ended_orders.add(order)
        if isinstance(event, StopRequested) and event.run_id is not None:
            run = before.run if before else None
            if run is None or run.run_id != event.run_id:
                wrong.append("Stop was taken for a run that is not active")
        for effect in result.effects:
            match effect:
                case StartGeneration() | RunTool():
                    order = order_of(effect)
                    if self.open_orders and isinstance(effect, StartGeneration):
                        wrong.append("two orders are open at once")
                    if order in self.open_orders | self.ended_orders:
                        wrong.append(f"order {order} was given twice")
                    if effect.run_id in self.cancelled:
                        wrong.append("a run that was cancelled came back to life")
                    self.open_orders.add(order)
                case CancelRun():
                    is_active = before is not None and before.run is not None and effect.run_id == before.run.run_id
                    if not is_active or not self.open_orders:
                        wrong.append("a run was cancelled that does not run")
                    self.cancelled.add(effect.run_id)
        run = result.state.run
        queue = result.state.queue
        goes_on = any(isinstance(effect, StartGeneration) and effect.generation_no > 1 for effect in result.effects)
        if goes_on and not isinstance(event, GenerationLost) and queue and wants_to_join(queue[0]):
            wrong.append(f"message {queue[0].message_id} wanted to join the run and was left behind")
        expected: set[OrderName] = {
            (call.call_id, call.execution_no) for call in result.state.calls if call.state in UNDER_WAY
        }
        if run is not None and result.state.is_asking_model:
            expected.add((run.run_id, run.generation_no))
        if self.open_orders != expected:
            wrong.append("the open orders are not those of the active run")
        if run is not None and isinstance(result.state.phase, Stopping) != (run.run_id in self.cancelled):
            wrong.append("the run is being stopped and was not told so, or was told so and goes on")
        return wrong

    def _messages(self, changed: Iterable[Message]) -> list[str]:
        wrong: list[str] = []
        for message in changed:
            known = self.messages.get(message.message_id)
            if known is not None and known.state is not MessageState.STREAMING:
                wrong.append(f"message {message.message_id} changed after it had ended")
            self.messages[message.message_id] = message
        return wrong

    def _calls(self, changed: Iterable[ToolCall]) -> list[str]:
        wrong: list[str] = []
        for call in changed:
            known = self.calls.get(call.call_id)
            if known is not None and known.is_settled:
                wrong.append(f"call {call.call_id} changed after it was settled")
            has_run = (call.call_id, call.execution_no) in self.claimed
            if call.state in {CallState.SUCCEEDED, CallState.UNKNOWN} and not has_run:
                wrong.append(f"call {call.call_id} has an outcome although nobody had claimed it")
            if call.is_settled and not call.result:
                wrong.append(f"call {call.call_id} is settled and the model is told nothing of it")
            self.calls[call.call_id] = call
        return wrong

    def _waiting(self, before: Conversation | None, event: Event, after: Conversation) -> None:
        if isinstance(event, MessageSubmitted):
            self.accepted.add(event.message_id)
        if isinstance(event, MessageSubmitted | QueueItemEdited):
            self.texts[event.message_id] = event.content
        if isinstance(event, QueueItemRemoved):
            self.withdrawn.add(event.message_id)
        if isinstance(event, QueueCleared) and before is not None:
            self.withdrawn |= {item.message_id for item in before.queue}

    def _departures(self, before: Conversation, event: Event, result: Step) -> list[str]:
        """What went from the queue to the model: the right message, whole, and only when it might."""
        wrong: list[str] = []
        target = getattr(event, "message_id", None)
        chosen = before.phase.next_id if isinstance(before.phase, Stopping) else None
        waiting = [item for item in before.queue if item.message_id != target]
        for message in result.messages:
            key = message.message_id
            if message.role is not Role.USER:
                continue
            if message.content != self.texts.get(key):
                wrong.append(f"message {key} went with words that nobody wrote")
            if any(item.message_id == key and item.is_edited for item in waiting):
                wrong.append(f"message {key} went while a person had it open")
            if key in self.stopped and not isinstance(event, QueueResumed):
                wrong.append(f"message {key} went although it was held")
            if key not in (chosen, target) and (not waiting or waiting[0].message_id != key):
                wrong.append(f"message {key} went before those ahead of it")
            waiting = [item for item in waiting if item.message_id != key]
        return wrong

    def _holds(self, before: Conversation, event: Event, after: Conversation) -> None:
        """What Stop or a failure holds back, until a person lets it go."""
        waiting = {item.message_id for item in after.queue}
        if isinstance(event, QueueResumed):
            self.stopped.clear()
        elif isinstance(event, RetryRequested):
            self.stopped = {key: hold for key, hold in self.stopped.items() if hold is not Hold.FAILED}
        elif isinstance(event, StopRequested | ConversationDeleted) and before.run is not None:
            self.stopped |= dict.fromkeys(waiting, Hold.STOPPED)
        elif isinstance(event, TerminalEvent) and after.outcome is MessageState.FAILED:
            self.stopped |= {key: Hold.FAILED for key in waiting if key not in self.stopped}
        self.stopped = {key: hold for key, hold in self.stopped.items() if key in waiting}

    def _fates(self, state: Conversation) -> list[str]:
        wrong: list[str] = []
        queued = {item.message_id for item in state.queue}
        asked = {key for key, message in self.messages.items() if message.role is Role.USER}
        for message_id in self.accepted:
            fates = (message_id in queued) + (message_id in asked) + (message_id in self.withdrawn)
            if fates != 1:
                wrong.append(f"message {message_id} has {fates} fates instead of one")
        answered = {message.answering for message in self.messages.values() if message.role is Role.ASSISTANT}
        unasked = asked - answered
        if unasked:
            unasked -= joined(self.messages.values())
        wrong.extend(f"message {message_id} was never asked" for message_id in unasked)
        if queued - self.accepted:
            wrong.append("a message waits that nobody sent")
        wrong.extend(
            f"message {item.message_id} waits with words that nobody wrote"
            for item in state.queue
            if item.content != self.texts.get(item.message_id)
        )
        return wrong
