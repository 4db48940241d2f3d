from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.llm.asking import World


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World()
    async with world.server:
        yield world
        for model in world.models:
            await model.close()
    assert asyncio.all_tasks() == {asyncio.current_task()}
