"""The tools of this app. They leave what they did, and find their gates, in the folder that the environment names."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import dataclass
from pathlib import Path

from chat.tools.registry import ToolContext, tool

STEPS = 4
FOLDER = "PATIENT_FOLDER"
LEDGER = "executions"
LOOK_AGAIN_S = 0.02


@tool(policy="auto", timeout_s=None)
async def climb(context: ToolContext) -> str:
    """Climb a stair and tell how far it is."""
    for number in range(STEPS):
        context.progress(number / STEPS, f"step {number} of <{STEPS}>")
        context.output(f"on step {number}\n")
        await _passed(str(number))
    context.progress(None, "looking around")
    await _passed(str(STEPS))
    return "up"


@tool(policy="auto", timeout_s=None)
async def note(context: ToolContext, label: str, gate: str = "", seconds: float = 0) -> str:
    """Write a label into the ledger, then wait for a gate, and for a time."""
    return await _note(context, label, gate, seconds)


@tool(policy="ask", timeout_s=None)
async def note_if_allowed(context: ToolContext, label: str, gate: str = "", seconds: float = 0) -> str:
    """The same, once a person has said yes."""
    return await _note(context, label, gate, seconds)


async def _note(context: ToolContext, label: str, gate: str, seconds: float) -> str:
    # One write, so that what several processes do at once is not mixed up.
    with (Path(os.environ[FOLDER]) / LEDGER).open("a") as ledger:
        ledger.write(f"{context.call_id} {time.time()} {os.getpid()} {label}\n")
    context.output(f"{label}\n")
    if gate:
        await _passed(gate)
    await asyncio.sleep(seconds)
    return f"noted {label}"


async def _passed(gate: str) -> None:
    path = Path(os.environ[FOLDER]) / gate
    while not path.exists():  # noqa: ASYNC110 - another process opens it
        await asyncio.sleep(LOOK_AGAIN_S)


def environ(folder: Path) -> dict[str, str]:
    """What the environment of a site with these tools says. Its log, its gates and its ledger lie in this folder."""
    return {"DJANGO_SETTINGS_MODULE": "tests.patient.settings", FOLDER: str(folder)}


def open_gate(folder: Path, gate: int | str) -> None:
    """Let those go on who wait for it."""
    (folder / str(gate)).touch()


@dataclass(frozen=True, kw_only=True, slots=True)
class Execution:
    """That a call was run. at_s: Unix time at its beginning. pid: of the process that ran it."""

    call_id: str
    at_s: float
    pid: int
    label: str


def executions(folder: Path) -> list[Execution]:
    """Everything that was run, in order."""
    path = folder / LEDGER
    lines = path.read_text().splitlines() if path.exists() else []
    found = (line.split(" ", 3) for line in lines)
    return [
        Execution(call_id=call_id, at_s=float(at_s), pid=int(pid), label=label) for call_id, at_s, pid, label in found
    ]
