"""Whoever performs an order in the simulated outside, and what they may say of it.

Knows the events of orders. Must not know the reducer, or when what they say arrives.
"""

from __future__ import annotations

from dataclasses import dataclass

from chat.core.calls import Policy, Proposal
from chat.core.effects import RunTool, StartGeneration
from chat.core.events import (
    CallEvent,
    GenerationCompleted,
    GenerationDelayed,
    GenerationEvent,
    GenerationFailed,
    GenerationInterrupted,
    GenerationLost,
    GenerationStarted,
    ToolEnded,
    ToolLost,
    ToolStarted,
)
from chat.core.ids import CallId, RunId
from chat.core.messages import Failure, Telemetry

OrderEvent = GenerationEvent | CallEvent

FAILURE = Failure(fault="rate_limit", words="Too many requests.")
# Running these twice does no harm.
IDEMPOTENT_TOOLS = frozenset({"look", "read"})


def proposed(tool: str, policy: Policy, *, arguments: str = '{"n":1}', problem: str = "") -> Proposal:
    """A call as a model of this world makes it."""
    return Proposal(provider_id="x", tool=tool, arguments=arguments, policy=policy, problem=problem)


ACT = proposed("act", Policy.ASK)
LOOK = proposed("look", Policy.ASK, arguments='{"at":"it"}')
DO = proposed("do", Policy.AUTO)
READ = proposed("read", Policy.AUTO)
# The same tool that a person may allow for the conversation, so that such a yes must not reach it.
GUARDED = proposed("act", Policy.STAFF)
FORBIDDEN = proposed("launch", Policy.NEVER)
BROKEN = proposed("act", Policy.ASK, arguments="{", problem="The arguments do not fit act.")
ANSWERS: tuple[tuple[Proposal, ...], ...] = (
    (ACT,),
    (DO,),
    (ACT, ACT),
    (ACT, DO),
    (LOOK, ACT, READ),
    (READ,),
    (BROKEN, GUARDED),
    (FORBIDDEN, DO, ACT),
    (GUARDED,),
    (GUARDED, BROKEN, FORBIDDEN),
)


@dataclass(kw_only=True, slots=True, eq=False)
class Performer:
    """Somebody who performs one order.

    is_cancelled: was told to end. has_ended: will say no more.
    claim: what it sent to claim a call. is_claimed: the answer to that; None before it came.
    """

    order: StartGeneration | RunTool
    is_cancelled: bool = False
    has_ended: bool = False
    claim: ToolStarted | None = None
    is_claimed: bool | None = None

    @property
    def waits_for_claim(self) -> bool:
        """Whether it can't go on before its claim has arrived."""
        return self.claim is not None and self.is_claimed is None

    @property
    def runs_tool(self) -> bool:
        """Whether a tool does its work right now."""
        return bool(self.is_claimed) and not self.has_ended

    def goes_on(self, how: int, now: int) -> OrderEvent | None:
        """What it says next; None when its process dies instead."""
        event = self._of_call(how, now) if isinstance(self.order, RunTool) else self._of_generation(how, now)
        if event is None or not isinstance(event, GenerationStarted | GenerationDelayed | ToolStarted):
            self.has_ended = True
        return event

    def _of_generation(self, how: int, now: int) -> OrderEvent | None:
        assert isinstance(self.order, StartGeneration)
        run_id, generation_no = self.order.run_id, self.order.generation_no
        if self.is_cancelled and how % 3:
            # One time in three it had ended by itself before the word reached it.
            return generation_event(3, run_id, generation_no, now)
        return None if how % 9 == 8 else generation_event(how % 9, run_id, generation_no, now)

    def _of_call(self, how: int, now: int) -> OrderEvent | None:
        assert isinstance(self.order, RunTool)
        order = self.order
        if how % 9 == 8:
            return None
        if self.is_claimed is False or (self.claim is None and self.is_cancelled):
            return tool_ended(order, "stopped", now, is_claimed=False)
        if self.claim is None:
            self.claim = tool_started(order, now)
            return self.claim
        outcome = "stopped" if self.is_cancelled and how % 3 else ("succeeded", "failed")[how % 2]
        return tool_ended(order, outcome, now)

    def lost(self, now: int, *, can_ask_again: bool) -> OrderEvent:
        """What is said by whoever holds it to be dead."""
        if isinstance(self.order, StartGeneration):
            return generation_lost(self.order.run_id, self.order.generation_no, now, can_ask_again=can_ask_again)
        return ToolLost(
            run_id=self.order.run_id,
            call_id=self.order.call_id,
            execution_no=self.order.execution_no,
            can_run_again=self.order.tool in IDEMPOTENT_TOOLS,
            at_ms=now,
        )


def tool_started(order: RunTool, now: int) -> ToolStarted:
    """A claim."""
    return ToolStarted(run_id=order.run_id, call_id=order.call_id, execution_no=order.execution_no, at_ms=now)


def tool_ended(order: RunTool, outcome: str, now: int, *, is_claimed: bool = True) -> ToolEnded:
    """The end of a call."""
    return ToolEnded(
        run_id=order.run_id,
        call_id=order.call_id,
        execution_no=order.execution_no,
        outcome=outcome,
        output=f"printed at {now}",
        result=f"result at {now}" if now % 3 else "",
        artifacts=(),
        at_ms=now,
        is_claimed=is_claimed,
    )


def call_event(how: int, run_id: RunId, call_id: CallId, execution_no: int, now: int) -> CallEvent:
    """Any event of an order to a tool."""
    order = RunTool(run_id=run_id, call_id=call_id, execution_no=execution_no, tool="act", arguments="{}")
    match how % 4:
        case 0:
            return tool_started(order, now)
        case 1:
            return tool_ended(order, "succeeded", now)
        case 2:
            return tool_ended(order, "stopped", now, is_claimed=False)
        case _:
            return ToolLost(run_id=run_id, call_id=call_id, execution_no=execution_no, can_run_again=how > 5, at_ms=now)


def generation_lost(run_id: RunId, generation_no: int, now: int, *, can_ask_again: bool) -> GenerationLost:
    """The performer is gone."""
    return GenerationLost(
        run_id=run_id, generation_no=generation_no, text="saved", can_ask_again=can_ask_again, at_ms=now
    )


def answered(run_id: RunId, generation_no: int, now: int, *, calls: tuple[Proposal, ...] = ()) -> GenerationCompleted:
    """The model has ended its answer."""
    return GenerationCompleted(
        run_id=run_id,
        generation_no=generation_no,
        text=f"text at {now}",
        reasoning="",
        telemetry=Telemetry(model="m"),
        at_ms=now,
        calls=calls,
    )


def generation_event(how: int, run_id: RunId, generation_no: int, now: int) -> GenerationEvent:
    """Any event of an order to the model but its loss."""
    text = f"text at {now}"
    took = Telemetry(model="m", total_ms=how)
    match how % 8:
        case 0:
            return answered(run_id, generation_no, now)
        case 4 | 7:
            return answered(run_id, generation_no, now, calls=ANSWERS[now % len(ANSWERS)])
        case 1:
            return GenerationStarted(run_id=run_id, generation_no=generation_no, attempt=1, at_ms=now)
        case 2 | 5:
            return GenerationFailed(
                run_id=run_id,
                generation_no=generation_no,
                text=text,
                reasoning="why",
                failure=FAILURE,
                telemetry=took,
                at_ms=now,
            )
        case 3:
            return GenerationInterrupted(
                run_id=run_id, generation_no=generation_no, text=text, reasoning="", telemetry=took, at_ms=now
            )
        case _:
            return GenerationDelayed(
                run_id=run_id,
                generation_no=generation_no,
                attempt=2,
                failure=FAILURE,
                until_ms=now + 1_000,
                at_ms=now,
            )
