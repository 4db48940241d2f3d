"""Whose a call is, when whoever claims it is cancelled in any moment around the answer."""

from __future__ import annotations

import asyncio

import pytest

from chat.core.events import ToolEnded
from chat.tools import registry
from chat.tools.registry import ToolContext
from tests.test_call_tool import Outside, execution

# Of the loop, from the answer to the claim until the tool runs, and some more.
STEPS = 8


@pytest.fixture(autouse=True)
def _own_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tools of a test are gone with it."""
    monkeypatch.setattr(registry, "_tools", {})


@pytest.mark.parametrize("steps", range(STEPS))
async def test_one_that_is_cancelled_around_the_answer_knows_that_the_call_is_its_own(steps: int) -> None:
    async def work(context: ToolContext, n: int) -> str:
        await asyncio.Event().wait()
        return "never"

    outside = Outside()
    outside.claim_gate = asyncio.Event()
    one = execution(outside, work)
    performing = asyncio.create_task(one.perform())
    for _ in range(5):
        await asyncio.sleep(0)
    assert len(outside.events) == 1
    outside.claim_gate.set()
    for _ in range(steps):
        await asyncio.sleep(0)
    performing.cancel()
    await asyncio.wait({performing})
    event = one.interrupted()
    assert isinstance(event, ToolEnded)
    assert (event.outcome, event.is_claimed) == ("stopped", True)
