"""Whose a call is, when whoever claims it is cancelled in any moment around the answer."""

from __future__ import annotations

import asyncio

import pytest
from django.db import InterfaceError, OperationalError

from chat.core.events import Event, ToolEnded
from chat.core.ids import ConversationId
from chat.performers import call_tool
from chat.performers.call_tool import NOT_RUN_RESULT
from chat.tools import registry
from chat.tools.registry import ToolContext
from tests.test_call_tool import Outside, ended, execution, forbidden

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


class Restarted(Outside):
    """A database that is away at first. faults: of the first questions."""

    def __init__(self, *faults: Exception) -> None:
        super().__init__()
        self._faults = list(faults)

    async def report(self, conversation_id: ConversationId, event: Event) -> int | None:
        """Away, or as ever."""
        answer = await super().report(conversation_id, event)
        if self._faults:
            raise self._faults.pop(0)
        return answer


AWAY = (OperationalError("terminating connection"), InterfaceError("closed"), OperationalError("starting up"))


@pytest.fixture
def _no_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(call_tool, "CLAIM_RETRY_DELAYS_S", (0.0, 0.0))


@pytest.mark.usefixtures("_no_delays")
async def test_a_call_waits_for_a_database_that_is_away_and_runs_once() -> None:
    ran = []

    async def work(context: ToolContext, n: int) -> str:
        ran.append(n)
        return "done"

    outside = Restarted(*AWAY)
    event = await ended(outside, work)
    assert (event.outcome, event.result, event.is_claimed) == ("succeeded", "done", True)
    assert ran == [2]
    assert len(outside.events) == len(AWAY) + 1
    assert len(set(outside.events)) == 1


@pytest.mark.usefixtures("_no_delays")
async def test_one_whose_claim_was_kept_while_its_answer_was_lost_does_not_run_and_says_so() -> None:
    outside = Restarted(OperationalError("broken off"))
    outside.takes_claims = False
    event = await ended(outside, forbidden)
    assert (event.outcome, event.result, event.is_claimed) == ("stopped", NOT_RUN_RESULT, True)


async def test_one_that_is_cancelled_while_the_database_is_away_may_have_been_claimed() -> None:
    outside = Restarted(*AWAY)
    one = execution(outside, forbidden)
    performing = asyncio.create_task(one.perform())
    for _ in range(STEPS):
        await asyncio.sleep(0)
    assert len(outside.events) == 1
    performing.cancel()
    await asyncio.wait({performing})
    assert performing.cancelled()
    event = one.interrupted()
    assert isinstance(event, ToolEnded)
    assert event.is_claimed
