"""Every order to the outside. An effect that starts something ends in exactly one terminal event."""

from __future__ import annotations

from dataclasses import dataclass

from chat.core.ids import CallId, MessageId, RunId


@dataclass(frozen=True, kw_only=True, slots=True)
class StartGeneration:
    """Ask the model for the answer `message_id`. Named by `(run_id, generation_no)`."""

    run_id: RunId
    generation_no: int
    message_id: MessageId


@dataclass(frozen=True, kw_only=True, slots=True)
class RunTool:
    """Run a tool. Named by `(call_id, execution_no)`. `arguments` is JSON text."""

    run_id: RunId
    call_id: CallId
    execution_no: int
    tool: str
    arguments: str


@dataclass(frozen=True, kw_only=True, slots=True)
class CancelRun:
    """End whatever is performed for this run; its terminal event says that it has ended."""

    run_id: RunId


Order = StartGeneration | RunTool
Effect = Order | CancelRun
