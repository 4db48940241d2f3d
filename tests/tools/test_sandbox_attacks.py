"""Hostile code is contained: it gets nothing, the server lives, and a neighbour at work does not notice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import platform
import re
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from chat.tools.sandbox.availability import Available
from chat.tools.sandbox.command import INSIDE, Confinement
from chat.tools.sandbox.folder import NoSuchFileError
from chat.tools.sandbox.pool import Sandbox
from chat.tools.sandbox.proctree import is_running
from chat.tools.sandbox.values import Limits, Outcome, Status
from tests.costs import slowness
from tests.tools.attacks import PRELUDE, Attack
from tests.tools.attacks_by_quantity import BOMBS
from tests.tools.attacks_on_the_host import ON_FILES, ON_NETWORK
from tests.tools.attacks_on_the_kernel import CALLS, ON_PROCESSES
from tests.tools.attacks_on_the_server import ENDINGS, FORGERIES, NAMES, OUTPUT
from tests.tools.places import run, sandbox_in, until

pytestmark = pytest.mark.asyncio(loop_scope="module")

# What the walls hold: with each confinement.
ON_WALLS = (*ON_FILES, *ON_NETWORK, *ON_PROCESSES, *BOMBS)
# What the server's side holds: the same with every confinement.
ON_SERVER = (*OUTPUT, *FORGERIES, *ENDINGS)
# Of these it is shown that they do get through where nothing holds them.
HARMLESS = {
    "reads_a_file_of_the_host",
    "reads_the_database",
    "reads_the_project",
    "reads_another_conversations_folder",
    "searches_every_environment",
    "walks_the_servers_root_through_proc",
    "links_to_a_file_of_the_host",
    "connects_to_the_server",
    "connects_to_a_socket_file",
    "connects_to_an_abstract_socket",
}
MARKER = "a-secret-that-only-the-server-has"
# A neighbour's cell takes milliseconds; with a bomb beside it on a busy machine of two cores, more.
NEIGHBOUR_TIMEOUT_S = 15


class Siege:
    """A sandbox under attack, and the server's things that are attacked."""

    def __init__(self, sandbox: Sandbox, root: Path) -> None:
        self.sandbox = sandbox
        assert isinstance(sandbox.availability, Available)
        self.confinement = sandbox.availability.confinement
        self.secret = root / "secret.txt"
        self.secret.write_text(MARKER)
        self.database = root / "db.sqlite3"
        self.database.write_text(MARKER)
        for path in (self.secret, self.database):
            path.chmod(0o666)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.socket_file = root / "s"
        self.unix = socket.socket(socket.AF_UNIX)
        self.unix.bind(str(self.socket_file))
        self.socket_file.chmod(0o777)
        self.abstract = f"agentsite-{os.getpid()}"
        self.abstract_unix = socket.socket(socket.AF_UNIX)
        self.abstract_unix.bind(f"\0{self.abstract}")
        for each in (self.unix, self.abstract_unix):
            each.listen()
            each.setblocking(False)
        self.signals: list[int] = []
        signal.signal(signal.SIGUSR1, lambda number, _: self.signals.append(number))
        self.count = 0

    async def start_over(self) -> None:
        """Take the attacker's kernel and files away."""
        await self.sandbox.close_kernel("attacker")
        await asyncio.to_thread(self.sandbox.folder("attacker").remove)

    @property
    def things(self) -> str:
        """Code that sets the names which attacks use."""
        things: dict[str, Any] = {
            "secret": str(self.secret),
            "database": str(self.database),
            "project": str(Path(__file__).parents[2]),
            "neighbour": str(self.sandbox.folder("neighbour").path),
            "server": os.getpid(),
            "marker": MARKER,
            "inside": str(INSIDE),
            "port": self.listener.getsockname()[1],
            "socket_file": str(self.socket_file),
            "abstract": self.abstract,
        }
        return "".join(f"{name} = {value!r}\n" for name, value in things.items())

    async def attack(self, code: str, *, timeout_s: float = 10) -> tuple[Outcome, str]:
        """Run it while the neighbour works, and check that neither he nor the server noticed."""
        task = asyncio.create_task(
            run(self.sandbox, self.things + PRELUDE + code, name="attacker", timeout_s=timeout_s)
        )
        while True:
            self.count += 1
            outcome, _ = await run(self.sandbox, "n += 1; n", name="neighbour", timeout_s=NEIGHBOUR_TIMEOUT_S)
            assert (outcome.status, outcome.result) == (Status.SUCCEEDED, str(self.count))
            done, _ = await asyncio.wait({task}, timeout=0.1)
            if done:
                break
        outcome, said = task.result()
        assert self.secret.read_text() == self.database.read_text() == MARKER
        assert self.secret.stat().st_mode & 0o777 == 0o666
        assert self.secret.stat().st_mtime > 1000
        assert not self.signals
        for each in (self.listener, self.unix, self.abstract_unix):
            with pytest.raises(BlockingIOError):
                each.accept()
        everything = said + outcome.result + "".join(html.untrusted for html in outcome.html)
        assert "ESCAPED" not in everything
        assert MARKER not in everything
        assert len(said) <= 60_000
        return outcome, said

    def close(self) -> None:
        for each in (self.listener, self.unix, self.abstract_unix):
            each.close()
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)


@pytest_asyncio.fixture(params=list(Confinement), ids=str, scope="module", loop_scope="module")
async def siege(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Siege]:
    root = tmp_path_factory.mktemp("siege")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AGENT_TEST_SECRET", MARKER)
        patch.setattr("chat.tools.sandbox.pool.REFILL_DELAY_S", 0)
        async with sandbox_in(request.param, root / "work", warm_kernels=2) as sandbox:
            await run(sandbox, "n = 0; open('own.txt', 'w').write('mine')", name="neighbour")
            siege = Siege(sandbox, root)
            try:
                yield siege
            finally:
                siege.close()


@pytest.mark.parametrize("attack", [*ON_WALLS, *ON_SERVER], ids=lambda attack: attack.name)
async def test_an_attack_is_contained(siege: Siege, attack: Attack) -> None:
    if attack in ON_SERVER and siege.confinement is not Confinement.BUBBLEWRAP:
        # Once is enough: no confinement has a part in it.
        return
    if attack in BOMBS:
        # What the last one left behind must not be what contains this one.
        await siege.start_over()
    outcome, said = await siege.attack(attack.code, timeout_s=attack.timeout_s)
    assert outcome.status in attack.ends_as, outcome
    assert attack.says in outcome.error + " ".join(outcome.notes), outcome
    # An attack that is wrong itself would look contained.
    assert not re.search("NameError|SyntaxError|AttributeError|ModuleNotFoundError|TypeError", outcome.error + said)


@pytest.mark.parametrize(
    "attack", [each for each in (*ON_FILES, *ON_NETWORK) if each.name in HARMLESS], ids=lambda attack: attack.name
)
async def test_without_a_sandbox_the_attack_succeeds(siege: Siege, attack: Attack, tmp_path: Path) -> None:
    if siege.confinement is not Confinement.BUBBLEWRAP:
        return
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-I", "-c", siege.things + PRELUDE + attack.code),
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate()
    assert b"ESCAPED" in said
    for each in (siege.listener, siege.unix, siege.abstract_unix):
        with contextlib.suppress(BlockingIOError):
            while True:
                each.accept()[0].close()


async def test_a_forged_message_is_taken_for_its_own_cells_output_and_nothing_else(siege: Siege) -> None:
    code = """forge("stream", '{"name": "stdout", "text": "forged", "header": {"msg_type": "error"}}')"""
    outcome, said = await siege.attack(code)
    assert (outcome.status, said) == (Status.SUCCEEDED, "forged")


async def test_no_dangerous_system_call_is_made(siege: Siege) -> None:
    column = {"x86_64": 0, "aarch64": 1}.get(platform.machine())
    if column is None:
        pytest.skip("the numbers of system calls on this machine are not in the table")
    lines = []
    for name, call in CALLS.items():
        lines.append(f"print({name!r}, libc.syscall({call[column]}, {call[2]}))")
    outcome, said = await siege.attack("\n".join(lines))
    assert outcome.status is Status.SUCCEEDED
    assert [line for line in said.splitlines() if not line.endswith(" -1")] == []
    assert len(said.splitlines()) == len(CALLS)


async def test_names_of_files_lead_nowhere(siege: Siege) -> None:
    await siege.start_over()
    outcome, _ = await siege.attack(NAMES)
    assert [file.name for file in outcome.files] == ["fine ü.txt"]
    assert any("not shown" in note for note in outcome.notes)


async def test_traps_in_the_work_folder_are_never_opened(siege: Siege) -> None:
    secret = repr(str(siege.secret))
    traps = {
        "link_out": f"os.symlink({secret}, 'link_out')",
        "link_to_proc": "os.symlink('/proc/self/environ', 'link_to_proc')",
        "link_to_itself": "os.symlink('link_to_itself', 'link_to_itself')",
        "pipe": "os.mkfifo('pipe')",
        "hard_link": "open('real', 'w').write('x'); os.link('real', 'hard_link')",
        "folder_itself": "os.mkdir('folder_itself')",
        "d/secret.txt": "os.mkdir('d'); open('d/secret.txt', 'w').close(); os.rename('d', 'e'); "
        f"os.symlink(os.path.dirname({secret}), 'd')",
    }
    outcome, _ = await siege.attack("\n".join(traps.values()))
    assert outcome.status is Status.SUCCEEDED
    folder = siege.sandbox.folder("attacker")
    for name in traps:
        assert name not in [file.name for file in outcome.files]
        with pytest.raises(NoSuchFileError):
            await asyncio.to_thread(folder.open, name)
    for name in ("link_out", "pipe", "d"):
        given = await asyncio.to_thread(folder.add, name, [b"mine"], Limits())
        with (await asyncio.to_thread(folder.open, given))[0] as file:
            assert file.read() == b"mine"
    assert siege.secret.read_text() == MARKER


async def test_daemons_die_with_a_stop(siege: Siege) -> None:
    code = (
        "for _ in range(3):\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n"
        "            signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(1000)\n        os._exit(0)\n"
        "subprocess.Popen(['bash', '-c', 'trap \"\" INT TERM HUP; while :; do sleep 1; done'])\n"
        "print('ready')\ntime.sleep(1000)"
    )
    seen: list[str] = []
    task = asyncio.create_task(
        siege.sandbox.execute("attacker", PRELUDE + code, on_output=lambda _, text: seen.append(text), timeout_s=60)
    )
    await until(lambda: "ready" in "".join(seen))
    processes = siege.sandbox._rooms["attacker"].processes
    before = processes[0].members()
    assert len(before) > 5
    await siege.sandbox.interrupt("attacker")
    # A dead child stays in the table until the living kernel asks for it.
    assert {pid for pid in processes[0].members() if is_running(pid)} == set(before[:2])
    assert (await task).status is Status.INTERRUPTED
    assert (await run(siege.sandbox, "1", name="attacker"))[0].result == "1"


async def test_what_is_left_of_a_killed_kernel_is_nothing(siege: Siege) -> None:
    await run(
        siege.sandbox, "import subprocess; [subprocess.Popen(['sleep', '1000']) for _ in range(5)]", name="attacker"
    )
    members = siege.sandbox._rooms["attacker"].processes[0].members()
    assert len(members) >= 7
    started = time.perf_counter()
    await siege.sandbox.close_kernel("attacker")
    assert time.perf_counter() - started < 3 * slowness()
    assert not [pid for pid in members if is_running(pid)]
