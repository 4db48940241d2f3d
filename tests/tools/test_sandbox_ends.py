"""Whatever ends a sandbox, and in whichever moment of its start: no process of it stays."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
import uvloop

from chat.tools.sandbox import install
from chat.tools.sandbox.command import INSIDE, Confinement
from tests.needs import missing
from tests.tools.places import Said, run, sandbox_in

# A start takes about 0.1 s, more on a busy machine.
LONGEST_START_S = 0.2
CANCELLATIONS, KILLS = 40, 12
FAR_S = 20.0
SERVER = """
import asyncio, sys
from pathlib import Path
from chat.tools.sandbox import install
from chat.tools.sandbox.pool import Sandbox
from chat.tools.sandbox.values import SandboxSettings

async def main():
    sandbox = Sandbox(SandboxSettings(work_root=Path(sys.argv[1]), venv=install.PLACE, warm_kernels=0))
    print(await sandbox.start(), flush=True)
    while True:
        await sandbox.run_shell("talk", "sleep 1000", on_output=lambda *_: None, timeout_s=0.3)

asyncio.run(main())
"""


def at_work_in(folder: Path) -> list[int]:
    """The processes that were given this folder."""
    found = []
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            if entry.name.isdigit() and str(folder).encode() in (entry / "cmdline").read_bytes():
                found.append(int(entry.name))
    return found


@pytest.mark.parametrize("confinement", list(Confinement), ids=str)
async def test_a_start_that_is_cancelled_at_any_moment_leaves_no_process(
    confinement: Confinement, tmp_path: Path
) -> None:
    async with sandbox_in(confinement, tmp_path / "work") as sandbox:
        for number in range(CANCELLATIONS):
            task = asyncio.create_task(
                sandbox.run_shell("talk", "sleep 1000", on_output=Said(), timeout_s=FAR_S), name="to be cancelled"
            )
            await asyncio.sleep(LONGEST_START_S * number / CANCELLATIONS)
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled()
            assert await asyncio.to_thread(at_work_in, tmp_path / "work" / "talk") == []


def test_a_server_that_is_killed_at_any_moment_of_a_start_leaves_no_process(tmp_path: Path) -> None:
    install.install()
    chance = random.Random(1)
    for _ in range(KILLS):
        with subprocess.Popen([sys.executable, "-c", SERVER, str(tmp_path)], stdout=subprocess.PIPE) as server:
            try:
                assert server.stdout is not None
                found = server.stdout.readline().decode()
                time.sleep(chance.uniform(0, LONGEST_START_S))
            finally:
                server.kill()
        if not found.startswith("Available"):
            missing(found)
    deadline = time.monotonic() + FAR_S
    while at_work_in(tmp_path):
        assert time.monotonic() < deadline, "sandboxes outlive their server"
        time.sleep(0.05)


def test_what_was_started_for_a_server_that_has_ended_meanwhile_does_not_begin(tmp_path: Path) -> None:
    install.install()
    lifeline, others_end = os.pipe()
    os.close(others_end)
    orders = {"lifeline": lifeline, "unneeded": [], "folder": str(tmp_path), "run": "shell", "command": "touch ran"}
    done = subprocess.run(
        [install.PLACE / "bin" / "python", "-I", INSIDE / "entry.py"],
        input=json.dumps(orders).encode(),
        capture_output=True,
        pass_fds=(lifeline,),
        check=False,
        timeout=FAR_S,
    )
    os.close(lifeline)
    assert (done.returncode, done.stderr) == (1, b"the server has ended\n")
    assert list(tmp_path.iterdir()) == []


def test_no_pipe_is_given_to_a_transport_of_the_server_s_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """uvloop closes such a descriptor twice: the second time, another thread may have a file by that number."""

    async def refuse(*words: object) -> None:
        raise AssertionError("a pipe was made a transport")

    async def start_and_end() -> None:
        async with sandbox_in(Confinement.BUBBLEWRAP, tmp_path / "work") as sandbox:
            assert (await run(sandbox, "print(1)"))[1] == "1\n"
            outcome = await sandbox.run_shell("talk", "echo 1", on_output=Said(), timeout_s=FAR_S)
            assert outcome.status == "succeeded"

    monkeypatch.setattr(uvloop.Loop, "connect_read_pipe", refuse)
    monkeypatch.setattr(uvloop.Loop, "connect_write_pipe", refuse)
    uvloop.run(start_and_end())
