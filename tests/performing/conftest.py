"""A runner with what is around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.performing.outside import Outside


@pytest.fixture
async def outside() -> AsyncIterator[Outside]:
    """Drained when the test ends; no task may be left."""
    outside = Outside()
    yield outside
    for performance in outside.performances.values():
        if performance.reluctance is not None:
            performance.reluctance.set()
    await outside.runner.drain()
    await asyncio.sleep(0)
    assert outside.runner.active == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}
