"""The sandbox and the rest of the machine: it works as an ordinary user, too, and leaves nothing behind when killed."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from chat.tools.sandbox import install
from chat.tools.sandbox.availability import new_user_id
from chat.tools.sandbox.command import STAGE
from chat.tools.sandbox.proctree import is_running
from tests.tools.places import until

PROJECT = Path(__file__).parents[2]
ORDINARY_USER_ID = 64321
# One of each kind; the rest is the same code.
CHOSEN = (
    "variables_live or interrupt_keeps or command_works or traps_the_interrupt or cancelling or "
    "reads_a_file or every_environment or hosts_files_mode or to_the_server or signals_the_server or system_call or "
    "shell_fork_bomb or memory_in_many or folders_without or daemons"
)


@pytest.fixture
def home() -> Iterator[Path]:
    """A folder that another user can enter and write to, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="agentsite-") as made:
        Path(made).chmod(0o755)
        home = Path(made, "home")
        home.mkdir()
        shutil.chown(home, ORDINARY_USER_ID, ORDINARY_USER_ID)
        yield home


@pytest.mark.skipif(os.getuid() != 0, reason="the whole suite runs as an ordinary user already")
async def test_it_holds_as_an_ordinary_user(home: Path) -> None:
    install.install()
    ini = home.parent / "pytest.ini"
    ini.write_text("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    options = ["-p", "no:django", "-p", "no:playwright", "-p", "no:cacheprovider", "-q", "-k", CHOSEN]
    files = [str(PROJECT / "tests/tools" / name) for name in ("test_sandbox.py", "test_sandbox_attacks.py")]
    orders = {
        "user_id": ORDINARY_USER_ID,
        "reach": sorted({str(PROJECT), str(Path(sys.prefix)), sys.base_prefix}),
        "argv": [sys.executable, "-B", "-m", "pytest", "-c", str(ini), f"--rootdir={PROJECT}", *options, *files],
    }
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-S", str(STAGE), json.dumps(orders)),
        env={
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "TMPDIR": str(home),
            "PYTHONPATH": str(PROJECT),
            "CI": os.environ.get("CI", ""),
        },
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()[-5000:]
    assert b" passed" in said


@pytest.mark.parametrize("path", [os.environ["PATH"], "/nonexistent"], ids=["bubblewrap", "landlock"])
async def test_everything_dies_with_a_server_that_is_killed(tmp_path: Path, path: str) -> None:
    install.install()
    code = f"""
import asyncio, os
from pathlib import Path
from chat.tools.sandbox import install
from chat.tools.sandbox.availability import new_user_id
from chat.tools.sandbox.pool import Sandbox
from chat.tools.sandbox.values import SandboxSettings
async def main():
    sandbox = Sandbox(SandboxSettings(work_root=Path({str(tmp_path)!r}), venv=install.PLACE, warm_kernels=0))
    await sandbox.start()
    code = "import os, subprocess, time\\n"
    code += "if os.fork() == 0: os.setsid()\\n"
    code += "subprocess.Popen(['sleep', '1000']); time.sleep(1000)"
    task = asyncio.create_task(sandbox.execute("a", code, on_output=print, timeout_s=1000))
    while not any(len(process.members()) >= 5 for room in sandbox._rooms.values() for process in room.processes):
        await asyncio.sleep(0.05)
    print(*sandbox._rooms["a"].processes[0].members(), flush=True)
    await task
asyncio.run(main())
"""
    server = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code), stdout=asyncio.subprocess.PIPE, env={"PATH": path}, cwd=PROJECT
    )
    assert server.stdout
    members = tuple(map(int, (await server.stdout.readline()).split()))
    assert len(members) >= 5
    server.kill()
    await server.wait()
    await until(lambda: not any(is_running(pid) for pid in members))


@pytest.mark.skipif(os.getuid() != 0, reason="an ordinary user becomes nobody else")
def test_no_two_servers_of_a_machine_become_the_same_user() -> None:
    first = new_user_id(frozenset())
    assert first is not None
    elsewhere = subprocess.Popen(["sleep", "60"], user=first)
    try:
        assert new_user_id(frozenset()) not in (None, first)
    finally:
        elsewhere.kill()
        elsewhere.wait()
