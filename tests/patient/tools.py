"""The tool of this app. A test opens its gates, which are files in the folder that the environment names."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from chat.tools.registry import ToolContext, tool

STEPS = 4
FOLDER = "PATIENT_FOLDER"
LOOK_AGAIN_S = 0.02


@tool(policy="auto", timeout_s=None)
async def climb(context: ToolContext) -> str:
    """Climb a stair and tell how far it is."""
    for number in range(STEPS):
        context.progress(number / STEPS, f"step {number} of <{STEPS}>")
        context.output(f"on step {number}\n")
        await _passed(number)
    context.progress(None, "looking around")
    await _passed(STEPS)
    return "up"


async def _passed(number: int) -> None:
    gate = Path(os.environ[FOLDER]) / str(number)
    while not gate.exists():  # noqa: ASYNC110 - another process opens it
        await asyncio.sleep(LOOK_AGAIN_S)


def environ(folder: Path) -> dict[str, str]:
    """What the environment of a site with this tool says. Its log and its gates lie in this folder."""
    return {"DJANGO_SETTINGS_MODULE": "tests.patient.settings", FOLDER: str(folder)}


def open_gate(folder: Path, number: int) -> None:
    """Let it go on from a step."""
    (folder / str(number)).touch()
