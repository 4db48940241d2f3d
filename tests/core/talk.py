"""A conversation as tests write it down: messages by their words, the world's answers by a verb each.

Knows the reducer and the ledger that holds each step against the invariants. A message's content is its name.
"""

from __future__ import annotations

from uuid import UUID, uuid5

from chat.core.agents import AgentRef, Profile
from chat.core.calls import Artifact, Choice, Policy, Proposal, Scope, ToolCall
from chat.core.effects import Effect
from chat.core.events import (
    ConversationDeleted,
    ConversationRenamed,
    ConversationRestored,
    ConversationStarted,
    Event,
    GenerationCompleted,
    GenerationDelayed,
    GenerationFailed,
    GenerationInterrupted,
    GenerationLost,
    GenerationStarted,
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
    ToolLost,
    ToolRejected,
    ToolStarted,
    UnknownOutcomeResolved,
)
from chat.core.ids import ConversationId, MessageId, RunId
from chat.core.invariants import Ledger
from chat.core.messages import Delivery, Failure, Message, Role, Telemetry
from chat.core.reducer import step
from chat.core.state import Conversation, Hold, Phase, Refusal, Refused, Run, Step

CONVERSATION_ID = ConversationId(UUID("6f9619ff-8b86-4d01-b42d-00cf4fc964ff"))
ANALYST = AgentRef(
    agent_id=UUID("7b0cbbc5-3a8f-4a43-9c1b-5ef6ff0f6a11"), version=1, name="Analyst", digest=Profile(policies={}).digest
)
NOW_MS = 1_700_000_000_000
FAILURE = Failure(fault="quota", words="The account has no credit left.")
USER_ID = 1
TOOK = Telemetry(model="test-model", finish_reason="stop", prompt_tokens=7, completion_tokens=3, total_ms=1_200)


def message_id(name: str) -> MessageId:
    """The id of the message of this name."""
    return MessageId(uuid5(CONVERSATION_ID, name))


class Talk:
    """One conversation. Every event must be taken, but for those given to `refused`.

    messages, calls: those that the last event added or changed.
    """

    def __init__(self) -> None:
        self.ledger = Ledger()
        self._effects: tuple[Effect, ...] = ()
        self.messages: tuple[Message, ...] = ()
        self.calls: tuple[ToolCall, ...] = ()
        self._state: Conversation | None = None
        self.take(ConversationStarted(conversation_id=CONVERSATION_ID, at_ms=NOW_MS))

    @property
    def state(self) -> Conversation:
        assert self._state is not None
        return self._state

    def phase(self) -> Phase:
        return self.state.phase

    def held(self) -> Hold | None:
        return self.state.held

    def orders(self) -> tuple[Effect, ...]:
        """The effects of the last event."""
        return self._effects

    @property
    def run(self) -> Run:
        assert self.state.run is not None
        return self.state.run

    @property
    def queue(self) -> list[str]:
        """The words of what waits, in order."""
        return [item.content for item in self.state.queue]

    @property
    def asked(self) -> list[str]:
        """The words of the user in the transcript, in order."""
        return [message.content for message in self.ledger.messages.values() if message.role is Role.USER]

    @property
    def answer(self) -> Message:
        """The newest answer."""
        return max(self.ledger.messages.values(), key=lambda message: message.position)

    def take(self, event: Event) -> None:
        result = step(self._state, event)
        assert isinstance(result, Step), f"{event} was refused: {result.words}"
        assert self.ledger.record(self._state, event, result) == []
        self._state, self._effects = result.state, result.effects
        self.messages, self.calls = result.messages, result.calls

    def refused(self, event: Event) -> Refusal:
        """Why this event is refused."""
        result = step(self._state, event)
        assert isinstance(result, Refused), f"{event} was taken"
        assert self.ledger.record(self._state, event, result) == []
        assert result.words.endswith(".")
        return result.code

    def send(self, *names: str, delivery: Delivery = Delivery.QUEUE) -> None:
        for name in names:
            self.take(sent(name, delivery=delivery))

    def interrupt(self, name: str) -> None:
        self.send(name, delivery=Delivery.INTERRUPT)

    def steer(self, name: str) -> None:
        self.send(name, delivery=Delivery.STEER)

    def stop(self) -> None:
        self.take(StopRequested(run_id=None, at_ms=NOW_MS))

    def retry(self) -> None:
        self.take(RetryRequested(at_ms=NOW_MS))

    def resume(self) -> None:
        self.take(QueueResumed(at_ms=NOW_MS))

    def clear(self) -> None:
        self.take(QueueCleared(at_ms=NOW_MS))

    def rename(self, title: str) -> None:
        self.take(ConversationRenamed(title=title, at_ms=NOW_MS))

    def delete(self) -> None:
        self.take(ConversationDeleted(at_ms=NOW_MS))

    def restore(self) -> None:
        self.take(ConversationRestored(at_ms=NOW_MS))

    def hold(self, name: str, *, is_held: bool = True) -> None:
        self.take(QueueItemHeld(message_id=message_id(name), is_held=is_held, at_ms=NOW_MS))

    def edit(self, name: str, content: str) -> None:
        self.take(QueueItemEdited(message_id=message_id(name), content=content, at_ms=NOW_MS))

    def move(self, name: str, position: int) -> None:
        self.take(QueueItemMoved(message_id=message_id(name), position=position, at_ms=NOW_MS))

    def remove(self, name: str) -> None:
        self.take(QueueItemRemoved(message_id=message_id(name), at_ms=NOW_MS))

    def complete(self, text: str = "An answer.") -> None:
        self.take(completed(self.run, text))

    def fail(self) -> None:
        self.take(failed(self.run))

    def end_cancelled(self, text: str = "An ans") -> None:
        self.take(interrupted(self.run, text))

    def make_calls(self, *proposals: Proposal, text: str = "Let me see.") -> None:
        self.take(completed(self.run, text, calls=proposals))

    def call(self, number: int = 1) -> ToolCall:
        """The newest answer's n-th call, as far as it has come."""
        made = [call for call in self.ledger.calls.values() if call.message_id == self.last_caller]
        return next(call for call in made if call.number == number)

    @property
    def last_caller(self) -> MessageId:
        """The newest answer that made calls."""
        answers = {call.message_id for call in self.ledger.calls.values()}
        return max(answers, key=lambda answer: self.ledger.messages[answer].position)

    def approve(self, number: int = 1, *, arguments: str | None = None, scope: Scope = Scope.ONCE) -> None:
        self.take(approved(self.call(number), arguments=arguments, scope=scope))

    def reject(self, number: int = 1, reason: str = "") -> None:
        self.take(rejected(self.call(number), reason))

    def claim(self, number: int = 1) -> None:
        self.take(claimed(self.call(number)))

    def end_call(self, number: int = 1, outcome: str = "succeeded", result: str = "done") -> None:
        self.take(ended(self.call(number), outcome, result))

    def lose_call(self, number: int = 1, *, can_run_again: bool = False) -> None:
        self.take(lost_call(self.call(number), can_run_again=can_run_again))

    def resolve(self, choice: Choice, number: int = 1) -> None:
        self.take(resolved(self.call(number), choice))

    def lose(self, *, can_ask_again: bool = True) -> None:
        self.take(lost(self.run, can_ask_again=can_ask_again))


def sent(name: str, *, delivery: Delivery = Delivery.QUEUE, queue_limit: int = 3) -> MessageSubmitted:
    return MessageSubmitted(
        message_id=message_id(name), content=name, delivery=delivery, queue_limit=queue_limit, at_ms=NOW_MS
    )


def stopped(run_id: RunId | None) -> StopRequested:
    return StopRequested(run_id=run_id, at_ms=NOW_MS)


def started(run: Run, *, attempt: int = 1) -> GenerationStarted:
    return GenerationStarted(run_id=run.run_id, generation_no=run.generation_no, attempt=attempt, at_ms=NOW_MS)


def delayed(run: Run) -> GenerationDelayed:
    return GenerationDelayed(
        run_id=run.run_id,
        generation_no=run.generation_no,
        attempt=1,
        failure=FAILURE,
        until_ms=NOW_MS + 2_000,
        at_ms=NOW_MS,
    )


def completed(run: Run, text: str = "An answer.", *, calls: tuple[Proposal, ...] = ()) -> GenerationCompleted:
    return GenerationCompleted(
        run_id=run.run_id,
        generation_no=run.generation_no,
        text=text,
        reasoning="It was asked.",
        telemetry=TOOK,
        at_ms=NOW_MS + 5,
        calls=calls,
    )


def interrupted(run: Run, text: str = "An ans") -> GenerationInterrupted:
    return GenerationInterrupted(
        run_id=run.run_id, generation_no=run.generation_no, text=text, reasoning="", telemetry=TOOK, at_ms=NOW_MS + 5
    )


def failed(run: Run) -> GenerationFailed:
    return GenerationFailed(
        run_id=run.run_id,
        generation_no=run.generation_no,
        text="An a",
        reasoning="",
        failure=FAILURE,
        telemetry=TOOK,
        at_ms=NOW_MS + 5,
    )


def lost(run: Run, *, can_ask_again: bool = True) -> GenerationLost:
    return GenerationLost(
        run_id=run.run_id,
        generation_no=run.generation_no,
        text="An",
        can_ask_again=can_ask_again,
        at_ms=NOW_MS + 5,
    )


def proposal(
    tool: str = "act", *, policy: Policy = Policy.ASK, arguments: str = '{"n":1}', problem: str = ""
) -> Proposal:
    return Proposal(provider_id="call_1", tool=tool, arguments=arguments, policy=policy, problem=problem)


def approved(
    call: ToolCall, *, digest: str | None = None, arguments: str | None = None, scope: Scope = Scope.ONCE
) -> ToolApproved:
    return ToolApproved(
        call_id=call.call_id,
        digest=call.digest if digest is None else digest,
        arguments=arguments,
        scope=scope,
        user_id=USER_ID,
        at_ms=NOW_MS + 10,
    )


def rejected(call: ToolCall, reason: str = "") -> ToolRejected:
    return ToolRejected(call_id=call.call_id, reason=reason, user_id=USER_ID, at_ms=NOW_MS + 10)


def resolved(call: ToolCall, choice: Choice) -> UnknownOutcomeResolved:
    return UnknownOutcomeResolved(call_id=call.call_id, choice=choice, user_id=USER_ID, at_ms=NOW_MS + 10)


def revoked(tool: str) -> ToolAllowanceRevoked:
    return ToolAllowanceRevoked(tool=tool, at_ms=NOW_MS + 10)


def claimed(call: ToolCall) -> ToolStarted:
    return ToolStarted(run_id=call.run_id, call_id=call.call_id, execution_no=call.execution_no, at_ms=NOW_MS + 20)


def ended(
    call: ToolCall,
    outcome: str = "succeeded",
    result: str = "done",
    *,
    artifacts: tuple[Artifact, ...] = (),
    is_claimed: bool = True,
) -> ToolEnded:
    return ToolEnded(
        run_id=call.run_id,
        call_id=call.call_id,
        execution_no=call.execution_no,
        outcome=outcome,
        output="printed",
        result=result,
        artifacts=artifacts,
        at_ms=NOW_MS + 30,
        is_claimed=is_claimed,
    )


def lost_call(call: ToolCall, *, can_run_again: bool = False) -> ToolLost:
    return ToolLost(
        run_id=call.run_id,
        call_id=call.call_id,
        execution_no=call.execution_no,
        can_run_again=can_run_again,
        at_ms=NOW_MS + 30,
    )


def held_after_stop() -> Talk:
    """`b` and `c` wait because the answer to `a` was stopped."""
    talk = Talk()
    talk.send("a", "b", "c")
    talk.stop()
    talk.end_cancelled()
    return talk


def held_after_failure() -> Talk:
    """`b` and `c` wait because the answer to `a` failed."""
    talk = Talk()
    talk.send("a", "b", "c")
    talk.fail()
    return talk
