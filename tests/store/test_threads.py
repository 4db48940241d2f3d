"""The way to blocking code of the store: steps that come together are kept together, and fail alone."""

from __future__ import annotations

import asyncio
import threading

import pytest
from django.db import connection, transaction
from django.utils.timezone import now

from chat import models
from chat.store.threads import STEPS_AT_A_TIME, Steps, in_thread

pytestmark = pytest.mark.django_db(transaction=True)


class Table:
    """Rows that steps add, and how many were kept when each step began."""

    def __init__(self) -> None:
        self.kept_before: list[int] = []
        self._kept = 0

    def add(self, key: str, *, fails: bool = False) -> str:
        """A step."""
        with transaction.atomic(savepoint=False):
            self.kept_before.append(self._kept)
            models.Tally.objects.create(kind="test", key=key, window=now())
            if fails:
                raise ValueError(key)
            transaction.on_commit(self._count)
        return key

    def _count(self) -> None:
        self._kept += 1

    async def keys(self) -> list[str]:
        """What is in the database."""
        return await in_thread(lambda: sorted(models.Tally.objects.values_list("key", flat=True)))


class Gate:
    """A step that keeps the thread busy until it is let go."""

    def __init__(self) -> None:
        self._is_in, self._may_go = threading.Event(), threading.Event()

    def wait(self) -> None:
        """The step."""
        self._is_in.set()
        self._may_go.wait(10)

    async def entered(self) -> None:
        """Until it has begun."""
        await asyncio.to_thread(self._is_in.wait, 10)

    def open(self) -> None:
        """Let it end."""
        self._may_go.set()


async def test_what_comes_while_the_thread_is_busy_is_kept_in_one_transaction() -> None:
    steps, table, gate = Steps(), Table(), Gate()
    first = asyncio.create_task(steps.take(gate.wait))
    await gate.entered()
    count = STEPS_AT_A_TIME + 3
    others = [asyncio.create_task(steps.take(table.add, f"{number:02}")) for number in range(count)]
    await asyncio.sleep(0)
    gate.open()
    assert await asyncio.gather(first, *others) == [None, *[f"{number:02}" for number in range(count)]]
    assert await table.keys() == [f"{number:02}" for number in range(count)]
    if connection.vendor == "sqlite":
        assert table.kept_before == [0] * STEPS_AT_A_TIME + [STEPS_AT_A_TIME] * 3
    else:
        assert len(table.kept_before) == count


async def test_a_step_that_fails_takes_no_other_with_it() -> None:
    steps, table, gate = Steps(), Table(), Gate()
    first = asyncio.create_task(steps.take(gate.wait))
    await gate.entered()
    others = [asyncio.create_task(steps.take(table.add, key, fails=key == "b")) for key in "abc"]
    await asyncio.sleep(0)
    gate.open()
    await first
    a, b, c = await asyncio.gather(*others, return_exceptions=True)
    assert (a, c) == ("a", "c")
    assert isinstance(b, ValueError)
    assert await table.keys() == ["a", "c"]


async def test_who_waits_no_more_takes_no_other_with_it_and_its_step_is_kept() -> None:
    steps, table, gate = Steps(), Table(), Gate()
    first = asyncio.create_task(steps.take(gate.wait))
    await gate.entered()
    gone, stays = [asyncio.create_task(steps.take(table.add, key)) for key in "ab"]
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    gate.open()
    await first
    assert await stays == "b"
    assert await table.keys() == ["a", "b"]
    # And what comes later finds its way.
    assert await steps.take(table.add, "c") == "c"
