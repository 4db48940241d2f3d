"""The sandbox does what it is for: variables live on, output comes at once, stop is stop, files stay."""

from __future__ import annotations

import asyncio
import contextlib
import re
import statistics
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from chat.tools.sandbox import availability, install
from chat.tools.sandbox.availability import Unavailable
from chat.tools.sandbox.command import Confinement
from chat.tools.sandbox.pool import Sandbox
from chat.tools.sandbox.values import Limits, SandboxFullError, SandboxSettings, SandboxUnavailableError, Status
from tests.costs import slowness
from tests.tools.places import Said, run, sandbox_in, until

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(params=list(Confinement), ids=str, scope="module", loop_scope="module")
async def sandbox(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Sandbox]:
    async with sandbox_in(request.param, tmp_path_factory.mktemp("sandbox") / "work", warm_kernels=1) as sandbox:
        yield sandbox


def living(pids: tuple[int, ...]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


async def test_variables_live_on(sandbox: Sandbox) -> None:
    await run(sandbox, "x = 41")
    outcome, _ = await run(sandbox, "x + 1")
    assert (outcome.status, outcome.result, outcome.error) == (Status.SUCCEEDED, "42", "")


async def test_conversations_have_their_own_variables_and_files(sandbox: Sandbox) -> None:
    await run(sandbox, "mine = 1; open('mine.txt', 'w').write('x')")
    outcome, said = await run(sandbox, "import os\nprint(os.listdir('.'))\nmine", name="other")
    assert outcome.status is Status.FAILED
    assert said == "[]\n"
    await sandbox.close_kernel("other")


async def test_an_exception_is_a_plain_traceback(sandbox: Sandbox) -> None:
    outcome, _ = await run(sandbox, "def f():\n    return 1 / 0\nf()")
    assert outcome.status is Status.FAILED
    assert outcome.error.endswith("ZeroDivisionError: division by zero")
    assert "return 1 / 0" in outcome.error
    assert "\x1b" not in outcome.error
    assert outcome.has_kept_variables


async def test_output_comes_while_it_runs_and_in_whole_characters(sandbox: Sandbox) -> None:
    said = Said()
    code = (
        "import time, sys, os\nprint('first ü')\nprint('err', file=sys.stderr)\ntime.sleep(1.5)\n"
        "os.system('printf 日本語%.0s {1..9000}')"
    )
    task = asyncio.create_task(sandbox.execute("talk", code, on_output=said, timeout_s=20))
    await until(lambda: "first ü" in said.text)
    assert not task.done()
    assert (await task).status is Status.SUCCEEDED
    assert ("stderr", "err\n") in said.pieces
    assert "�" not in said.text
    assert said.text.endswith("日本語")


async def test_what_child_processes_print_belongs_to_the_cell(sandbox: Sandbox) -> None:
    code = (
        "import os, subprocess\npid = os.fork()\nif pid == 0:\n    print('forked'); os._exit(0)\nos.waitpid(pid, 0)\n"
    )
    _, said = await run(sandbox, code + "subprocess.run(['echo', 'started'])\n!echo magic")
    assert sorted(said.split()) == ["forked", "magic", "started"]


async def test_a_table_and_a_chart_come_as_values(sandbox: Sandbox) -> None:
    code = "import pandas as pd, matplotlib.pyplot as plt\ntable = pd.DataFrame({'month': [1, 2], 'sales': [3, 4]})\n"
    outcome, _ = await run(sandbox, code + "table.plot(x='month')\nplt.show()\ntable")
    assert "<table" in outcome.html[0].untrusted
    assert "sales" in outcome.result
    [image] = outcome.images
    assert image.mime == "image/png"
    assert 100 < image.width_px < 2000
    assert image.content.startswith(b"\x89PNG")


async def test_a_table_that_is_displayed_is_told_as_text_too(sandbox: Sandbox) -> None:
    outcome, said = await run(sandbox, "import pandas as pd\ndisplay(pd.DataFrame({'month': [1], 'sales': [4711]}))")
    assert "<table" in outcome.html[0].untrusted
    assert re.search(r"month +sales\n0 +1 +4711\n", said)
    assert "<" not in said


async def test_new_and_changed_files_are_told_and_can_be_opened(sandbox: Sandbox) -> None:
    outcome, _ = await run(sandbox, "import os; os.makedirs('out', exist_ok=True); open('out/a.txt', 'w').write('one')")
    assert [(file.name, file.size_bytes, file.is_new) for file in outcome.files] == [("out/a.txt", 3, True)]
    outcome, _ = await run(sandbox, "open('out/a.txt', 'a').write('two')")
    assert [(file.name, file.is_new) for file in outcome.files] == [("out/a.txt", False)]
    file, size = await asyncio.to_thread(sandbox.folder("talk").open, "out/a.txt")
    with file:
        assert (file.read(), size) == (b"onetwo", 6)
    assert (await run(sandbox, "1"))[0].files == ()


async def test_an_attachment_is_there_for_the_code_and_may_be_changed(sandbox: Sandbox) -> None:
    await asyncio.to_thread(sandbox.folder("talk").add, "sales.csv", [b"a,b\n", b"1,2\n"], Limits())
    outcome, _ = await run(sandbox, "open('sales.csv', 'a').write('3,4\\n'); len(open('sales.csv').readlines())")
    assert outcome.result == "3"


async def test_a_shell_command_works_in_the_same_folder(sandbox: Sandbox) -> None:
    await run(sandbox, "open('from-python', 'w').write('hello')")
    said = Said()
    outcome = await sandbox.run_shell(
        "talk", "cat from-python | tr a-z A-Z; echo no >&2; echo x > from-shell; exit 3", on_output=said, timeout_s=10
    )
    assert (outcome.status, outcome.exit_code) == (Status.FAILED, 3)
    assert ("stdout", "HELLO") in said.pieces
    assert ("stderr", "no\n") in said.pieces
    assert [file.name for file in outcome.files] == ["from-shell"]
    assert (await run(sandbox, "open('from-shell').read()"))[0].result == "'x\\n'"


async def test_a_shell_command_is_stopped_with_what_it_started(sandbox: Sandbox) -> None:
    said = Said()
    command = "trap '' INT TERM; sleep 1000 & (setsid sleep 1000 &) ; echo ready; sleep 1000"
    task = asyncio.create_task(sandbox.run_shell("talk", command, on_output=said, timeout_s=60))
    await until(lambda: "ready" in said.text)
    [*_, shell] = sandbox._rooms["talk"].processes
    members = shell.members()
    assert len(members) >= 4
    await sandbox.interrupt("talk")
    assert not living(members)
    assert (await task).status is Status.INTERRUPTED


async def test_a_shell_command_that_takes_too_long_is_ended(sandbox: Sandbox) -> None:
    outcome = await sandbox.run_shell("talk", "sleep 1000", on_output=Said(), timeout_s=0.3)
    assert (outcome.status, outcome.exit_code) == (Status.TIMED_OUT, None)
    assert outcome.notes == ("It was stopped after 0.3 s, the most that it may take.",)


async def test_an_interrupt_keeps_the_variables(sandbox: Sandbox) -> None:
    await run(sandbox, "kept = 7")
    said = Said()
    task = asyncio.create_task(
        sandbox.execute("talk", "print('on'); import time; time.sleep(1000)", on_output=said, timeout_s=60)
    )
    await until(lambda: "on" in said.text)
    await sandbox.interrupt("talk")
    outcome = await task
    assert outcome.status is Status.INTERRUPTED
    assert outcome.has_kept_variables
    assert (await run(sandbox, "kept"))[0].result == "7"


async def stop_of_a_cell_that_traps(sandbox: Sandbox) -> float:
    """Seconds until nothing of it is left."""
    said = Said()
    code = "print('on')\nimport time\nwhile True:\n    try: time.sleep(1000)\n    except KeyboardInterrupt: pass"
    task = asyncio.create_task(sandbox.execute("talk", code, on_output=said, timeout_s=60))
    await until(lambda: "on" in said.text)
    members = sandbox._rooms["talk"].processes[0].members()
    started = time.perf_counter()
    await sandbox.interrupt("talk")
    took_s = time.perf_counter() - started
    assert not living(members)
    outcome = await task
    assert outcome.status is Status.INTERRUPTED
    assert not outcome.has_kept_variables
    assert "variables are gone" in outcome.notes[0]
    return took_s


async def test_a_cell_that_traps_the_interrupt_is_dead_within_half_a_second(sandbox: Sandbox) -> None:
    times_s = [await stop_of_a_cell_that_traps(sandbox) for _ in range(3)]
    assert statistics.median(times_s) < 0.5 * slowness()


async def test_cancelling_an_execution_stops_it_first(sandbox: Sandbox) -> None:
    await run(sandbox, "kept = 8")
    said = Said()
    code = "print('on')\nimport subprocess, time\nsubprocess.Popen(['sleep', '1000'])\ntime.sleep(1000)"
    task = asyncio.create_task(sandbox.execute("talk", code, on_output=said, timeout_s=60))
    await until(lambda: "on" in said.text)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await run(sandbox, "kept"))[0].result == "8"


async def test_cancelling_an_execution_that_still_waits_for_its_kernel_leaves_nothing(sandbox: Sandbox) -> None:
    for delay_s in (0, 0.05, 0.3):
        task = asyncio.create_task(run(sandbox, "open('ran', 'w')", name="hasty"))
        await asyncio.sleep(delay_s)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await sandbox.close_kernel("hasty")
        assert "hasty" not in sandbox._rooms


async def test_time_is_up(sandbox: Sandbox) -> None:
    outcome, _ = await run(sandbox, "import time; time.sleep(1000)", timeout_s=0.2)
    assert outcome.status is Status.TIMED_OUT
    assert outcome.has_kept_variables
    assert outcome.notes == ("It was stopped after 0.2 s, the most that it may take.",)


async def test_what_an_execution_may_take_is_said_by_the_settings_and_begins_with_its_turn(tmp_path: Path) -> None:
    async with sandbox_in(Confinement.BUBBLEWRAP, tmp_path / "work", execution_timeout_s=1.0) as sandbox:
        first, second = await asyncio.gather(
            sandbox.execute("talk", "import time; time.sleep(1000)", on_output=Said()),
            sandbox.execute("talk", "6 * 7", on_output=Said()),
        )
        assert (first.status, second.result) == (Status.TIMED_OUT, "42")
        shell = await sandbox.run_shell("talk", "sleep 1000", on_output=Said())
        assert shell.notes == ("It was stopped after 1 s, the most that it may take.",)


async def test_a_kernel_that_died_is_replaced_and_its_files_stay(sandbox: Sandbox) -> None:
    await run(sandbox, "x = 1; open('stays.txt', 'w').write('here')")
    outcome, _ = await run(sandbox, "import os; os._exit(3)")
    assert outcome.status is Status.DIED
    assert "code 3" in outcome.error
    assert not outcome.has_kept_variables
    outcome, _ = await run(sandbox, "'x' in globals(), open('stays.txt').read()")
    assert outcome.result == "(False, 'here')"


async def test_cells_of_one_conversation_run_one_after_another(sandbox: Sandbox) -> None:
    await run(sandbox, "order = []")
    codes = [f"import time; time.sleep({delay}); order.append({delay})" for delay in (0.2, 0.1, 0)]
    await asyncio.gather(*(run(sandbox, code) for code in codes))
    assert (await run(sandbox, "order"))[0].result == "[0.2, 0.1, 0]"


async def test_a_warm_kernels_first_output_comes_at_once_and_its_first_chart_soon(tmp_path: Path) -> None:
    outputs, charts = [], []
    chart = "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3])\nplt.title('Sales')\nplt.show()"
    async with sandbox_in(Confinement.BUBBLEWRAP, tmp_path / "work", warm_kernels=3) as sandbox:
        await until(lambda: sandbox.warm_kernels == 3)
        for number in range(3):
            said = Said()
            started = time.perf_counter()
            await sandbox.execute(f"new-{number}", "print('hello')", on_output=said, timeout_s=20)
            outputs.append(said.first_s - started)
            started = time.perf_counter()
            outcome, _ = await run(sandbox, chart, name=f"new-{number}")
            charts.append(time.perf_counter() - started)
            assert len(outcome.images) == 1
    slow = slowness()
    assert statistics.median(outputs) < 0.1 * slow
    assert statistics.median(charts) < 0.5 * slow


async def test_idle_kernels_end_and_the_oldest_idle_one_makes_room(tmp_path: Path) -> None:
    async with sandbox_in(Confinement.BUBBLEWRAP, tmp_path / "work", kernels_max=1, idle_timeout_s=1.5) as sandbox:
        await run(sandbox, "x = 1; open('f', 'w').write('stays')", name="a")
        await run(sandbox, "1", name="b")
        assert (await run(sandbox, "'x' in globals(), open('f').read()", name="a"))[0].result == "(False, 'stays')"
        task = asyncio.create_task(run(sandbox, "import time; time.sleep(1000)", name="a"))
        await asyncio.sleep(0.2)
        with pytest.raises(SandboxFullError):
            await run(sandbox, "1", name="b")
        await sandbox.interrupt("a")
        await task
        await until(lambda: not sandbox._rooms)
        await asyncio.to_thread(sandbox.folder("a").remove)
        assert [path.name for path in (tmp_path / "work").iterdir() if not path.name.startswith(".")] == ["b"]


async def test_a_warm_kernel_moves_into_a_folder_that_has_files(tmp_path: Path) -> None:
    async with sandbox_in(Confinement.BUBBLEWRAP, tmp_path / "work", warm_kernels=1) as sandbox:
        folder = sandbox.folder("talk")
        await asyncio.to_thread(folder.create, None)
        await asyncio.to_thread(folder.add, "sales.csv", [b"1\n2\n"], Limits())
        await until(lambda: sandbox.warm_kernels > 0)
        outcome, _ = await run(sandbox, "open('new', 'w').close(); open('sales.csv').read()")
        assert outcome.result == r"'1\n2\n'"
        assert [file.name for file in outcome.files] == ["new"]
        assert sorted(path.name for path in folder.path.iterdir()) == ["new", "sales.csv"]


async def test_folders_of_a_server_that_was_killed_are_cleared(tmp_path: Path) -> None:
    left = tmp_path / "work" / ".process-dead" / "warm-x"
    left.mkdir(parents=True)
    (left.parent / "lock").touch()
    async with (
        sandbox_in(Confinement.BUBBLEWRAP, tmp_path / "work") as one,
        sandbox_in(Confinement.BUBBLEWRAP, tmp_path / "work") as two,
    ):
        assert not left.exists()
        assert (await run(one, "1", name="a"))[0].result == (await run(two, "1", name="b"))[0].result
    assert sorted(path.name for path in (tmp_path / "work").iterdir()) == ["a", "b"]


async def test_without_any_confinement_it_refuses_and_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install.install()
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(availability, "landlock_abi", lambda: 4)
    sandbox = Sandbox(SandboxSettings(work_root=tmp_path, venv=install.PLACE))
    found = await sandbox.start()
    assert isinstance(found, Unavailable)
    assert "bubblewrap is not installed" in found.reason
    assert "Landlock 4" in found.reason
    assert "apt-get install bubblewrap" in found.remedy
    for wish in (
        sandbox.execute("a", "1", on_output=Said(), timeout_s=1),
        sandbox.run_shell("a", "true", on_output=Said(), timeout_s=1),
    ):
        with pytest.raises(SandboxUnavailableError, match="apt-get install bubblewrap"):
            await wish
    await sandbox.close()


async def test_without_its_own_python_it_refuses(tmp_path: Path) -> None:
    found = await availability.find_out(tmp_path / "none")
    assert isinstance(found, Unavailable)
    assert "python -m chat.tools.sandbox.install" in found.remedy


@pytest.mark.parametrize("name", ["", "..", "a/b", ".hidden", "-x", "a\0b", "ü" * 3, "x" * 101])
async def test_a_conversations_name_can_not_point_elsewhere(tmp_path: Path, name: str) -> None:
    sandbox = Sandbox(SandboxSettings(work_root=tmp_path, venv=install.PLACE))
    with pytest.raises(ValueError, match="not a name"):
        sandbox.folder(name)
