"""A sandbox for tests, in each confinement, and what to do where one can't be had."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from chat.tools.sandbox import install
from chat.tools.sandbox.availability import Available
from chat.tools.sandbox.command import Confinement
from chat.tools.sandbox.pool import Sandbox
from chat.tools.sandbox.values import MIB, Limits, Outcome, SandboxSettings
from tests.needs import missing

# Longer than anything that is waited for takes.
FAR_S = 60
# Small, so that an attack arrives at them soon.
LIMITS = Limits(
    memory_max_bytes=512 * MIB,
    tasks_max=48,
    file_max_bytes=48 * MIB,
    folder_max_bytes=64 * MIB,
    folder_entries_max=1000,
    folder_depth_max=16,
    tmp_max_bytes=64 * MIB,
    output_max_chars=50_000,
    result_max_chars=20_000,
    images_max=5,
    traffic_max_bytes=32 * MIB,
    files_reported_max=20,
)


@asynccontextmanager
async def sandbox_in(confinement: Confinement, root: Path, **settings: Any) -> AsyncIterator[Sandbox]:
    """A started sandbox; skips, or fails with CI=true, where this machine can't hold code in that way."""
    install.install()
    with pytest.MonkeyPatch.context() as patch:
        if confinement is Confinement.LANDLOCK:
            patch.setenv("PATH", "/nonexistent")
        chosen: dict[str, Any] = {"limits": LIMITS, "warm_kernels": 0, **settings}
        sandbox = Sandbox(SandboxSettings(work_root=root, venv=install.PLACE, **chosen))
        found = await sandbox.start()
    try:
        if not isinstance(found, Available) or found.confinement is not confinement:
            missing(f"no {confinement.value} here: {found}")
        yield sandbox
    finally:
        await sandbox.close()


class Said:
    """Collects output."""

    def __init__(self) -> None:
        self.pieces: list[tuple[str, str]] = []
        self.first_s = 0.0

    def __call__(self, stream: str, text: str) -> None:
        self.first_s = self.first_s or time.perf_counter()
        self.pieces.append((stream, text))

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(text for _, text in self.pieces)


async def run(sandbox: Sandbox, code: str, *, name: str = "talk", timeout_s: float = 20) -> tuple[Outcome, str]:
    """Execute a cell; its outcome and its output."""
    said = Said()
    outcome = await sandbox.execute(name, code, on_output=said, timeout_s=timeout_s)
    return outcome, said.text


async def until(is_true: Callable[[], bool]) -> None:
    """Wait until something outside has happened, which nobody announces. Raises TimeoutError where it never does."""
    async with asyncio.timeout(FAR_S):
        while not is_true():  # noqa: ASYNC110 - nobody announces it
            await asyncio.sleep(0.01)
