"""Where control groups can be made, memory and processes are bounded by them; elsewhere nothing is missing."""

from __future__ import annotations

from pathlib import Path

import pytest

from chat.tools.sandbox import cgroup
from chat.tools.sandbox.cgroup import Group
from chat.tools.sandbox.values import MIB, Limits

LIMITS = Limits(memory_max_bytes=100 * MIB, tmp_max_bytes=10 * MIB, tasks_max=20)


def test_a_group_bounds_memory_and_processes_before_anything_runs_in_it(tmp_path: Path) -> None:
    group = Group.create(LIMITS, tmp_path)
    assert group
    [made] = tmp_path.iterdir()
    written = {path.name: path.read_text() for path in made.iterdir()}
    assert written == {
        "memory.max": str(120 * MIB),
        "pids.max": "40",
        "memory.swap.max": "0",
        "memory.oom.group": "1",
    }
    group.add((1234,))
    assert (made / "cgroup.procs").read_text() == "1234"
    assert not group.has_run_out_of_memory
    (made / "memory.events").write_text("low 0\noom 1\noom_kill 1\n")
    assert group.has_run_out_of_memory


def test_where_no_group_can_be_made_there_is_none(tmp_path: Path) -> None:
    assert Group.create(LIMITS, None) is None
    assert Group.create(LIMITS, tmp_path / "missing") is None


@pytest.mark.parametrize(("controllers", "can"), [("cpu memory pids", True), ("cpu", False)])
def test_controllers_are_asked_for(tmp_path: Path, controllers: str, can: bool) -> None:
    control = tmp_path / "cgroup.subtree_control"
    control.write_text(controllers)
    assert cgroup.can_bound_memory(tmp_path) is can
    assert (control.read_text() == "+memory +pids") is not can


def test_without_a_hierarchy_nothing_is_delegated(tmp_path: Path) -> None:
    assert not cgroup.can_bound_memory(tmp_path)
