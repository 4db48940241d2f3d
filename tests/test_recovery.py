"""Whose orders a process takes over when the clock is set by which processes are judged."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db.models.functions import Now

from chat.conf import Conf
from chat.core.events import Event, GenerationLost
from chat.core.ids import ConversationId
from chat.recovery import Recovery
from chat.store import processes
from chat.store.threads import in_thread
from tests.core import talk
from tests.store.kept import Kept, make_user

HERE = uuid.UUID("00000000-0000-4000-8000-0000000000aa")
THERE = uuid.UUID("00000000-0000-4000-8000-0000000000bb")
CONF = Conf(agent_heartbeat_interval_s=0.1, agent_heartbeat_timeout_s=1.0)
LONG_ENOUGH_S = 1.3

pytestmark = pytest.mark.django_db(transaction=True)


class Site:
    """This process, which looks at another that performs a run."""

    def __init__(self, locks: Path) -> None:
        self.taken: list[type[Event]] = []
        self.recovery = Recovery(
            process_id=HERE, kind="server", locks=locks, conf=CONF, apply=self._apply, cancel=lambda run_id: None
        )

    async def _apply(self, conversation_id: ConversationId, event: Event) -> None:
        self.taken.append(type(event))

    async def live(self, *beating: uuid.UUID, for_s: float = LONG_ENOUGH_S) -> None:
        """So long, while these others beat."""
        until_s = time.monotonic() + for_s
        while time.monotonic() < until_s:
            await self.recovery.beat()
            await self.hear(beating)
            await asyncio.sleep(CONF.agent_heartbeat_interval_s)

    async def hear(self, beating: Iterable[uuid.UUID]) -> None:
        for process_id in beating:
            await in_thread(processes.beat, process_id, kind="server")


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    site = Site(tmp_path)
    await site.hear([THERE])
    await in_thread(lambda: Kept(make_user()).take(talk.sent("a"), owner=THERE))
    await site.recovery.begin()
    await site.live(THERE)
    assert site.taken == []
    yield site
    await site.recovery.end()


def set_clock(monkeypatch: pytest.MonkeyPatch, by: timedelta) -> None:
    def now() -> Any:
        return Now() + by

    monkeypatch.setattr(processes, "Now", now)


@pytest.mark.parametrize("by", [timedelta(days=1), timedelta(hours=-1)])
async def test_who_lives_keeps_its_orders_when_the_clock_is_set(
    site: Site, by: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_clock(monkeypatch, by)
    await site.live(THERE)
    assert site.taken == []


@pytest.mark.parametrize("by", [timedelta(days=1), timedelta(hours=-1)])
async def test_who_dies_as_the_clock_is_set_is_found_in_time(
    site: Site, by: timedelta, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_clock(monkeypatch, by)
    await site.live(for_s=0.5)
    assert site.taken == []
    await site.live()
    assert GenerationLost in site.taken
