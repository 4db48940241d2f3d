"""A site of several processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from channels.layers import channel_layers

from chat import relay as relays
from tests.relay.site import LossyLayer, Site


@pytest.fixture
async def a_site(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """Stopped when the test ends; no task may be left."""
    monkeypatch.setattr(relays, "RETRY_DELAY_S", 0.01)
    monkeypatch.setattr(relays, "ASK_INTERVAL_S", 0.0)
    layer = LossyLayer(capacity=10_000)
    before = channel_layers.set("default", layer)
    found = Site(layer)
    yield found
    for process in found.processes:
        await process.relay.stop()
    channel_layers.set("default", before)
    assert asyncio.all_tasks() == {asyncio.current_task()}
