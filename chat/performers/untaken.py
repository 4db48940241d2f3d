"""How orders end that nobody has taken when their run is cancelled."""

from __future__ import annotations

from chat.core.calls import CallState
from chat.core.events import GenerationInterrupted, TerminalEvent, ToolEnded
from chat.core.messages import Telemetry
from chat.core.orders import STOPPED_RESULT
from chat.core.state import Conversation


def ends_of_untaken(state: Conversation, *, at_ms: int) -> list[TerminalEvent]:
    """The end of each open order of a state, as it is when nothing of it was ever performed."""
    run = state.run
    ends: list[TerminalEvent] = []
    if run is not None and state.is_asking_model:
        ends.append(
            GenerationInterrupted(
                run_id=run.run_id,
                generation_no=run.generation_no,
                text="",
                reasoning="",
                telemetry=Telemetry(),
                at_ms=at_ms,
            )
        )
    ends += [
        ToolEnded(
            run_id=call.run_id,
            call_id=call.call_id,
            execution_no=call.execution_no,
            outcome=CallState.STOPPED.value,
            output="",
            result=STOPPED_RESULT,
            artifacts=(),
            at_ms=at_ms,
            is_claimed=False,
        )
        for call in state.calls
        if call.state is CallState.APPROVED
    ]
    return ends
