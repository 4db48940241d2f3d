from __future__ import annotations

import os
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from chat.liveness import FORGOTTEN_AFTER_S, Liveness

HOLD = """
import sys, time, uuid
from pathlib import Path
from chat.liveness import Liveness
liveness = Liveness(Path(sys.argv[1]))
liveness.hold(uuid.UUID(sys.argv[2]))
print("held", flush=True)
time.sleep(1000)
"""


@pytest.fixture
def killed(tmp_path: Path) -> uuid.UUID:
    """A process that held its lock in the folder and was killed."""
    process_id = uuid.uuid4()
    words = [sys.executable, "-c", HOLD, str(tmp_path), str(process_id)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"held\n"
            assert not Liveness(tmp_path).is_dead(process_id)
        finally:
            process.kill()
    return process_id


def test_a_killed_process_is_dead_for_everybody_who_asks_and_each_time(tmp_path: Path, killed: uuid.UUID) -> None:
    here, there = Liveness(tmp_path), Liveness(tmp_path)
    assert [each.is_dead(killed) for each in (here, here, there)] == [True, True, True]


def test_whoever_takes_over_after_one_that_died_of_it_is_told_too(tmp_path: Path, killed: uuid.UUID) -> None:
    first = Liveness(tmp_path)
    first.hold(uuid.uuid4())
    assert first.is_dead(killed)
    first.forget_dead()
    assert Liveness(tmp_path).is_dead(killed)
    first.release()


def test_nothing_is_known_of_who_never_was_here_or_has_left(tmp_path: Path) -> None:
    liveness, process_id = Liveness(tmp_path), uuid.uuid4()
    assert not liveness.is_dead(process_id)
    liveness.hold(process_id)
    assert not Liveness(tmp_path).is_dead(process_id)
    liveness.release()
    assert not liveness.is_dead(process_id)
    assert list(tmp_path.iterdir()) == []


def test_the_long_dead_are_forgotten_and_the_living_are_not(tmp_path: Path, killed: uuid.UUID) -> None:
    living, process_id = Liveness(tmp_path), uuid.uuid4()
    living.hold(process_id)
    for path in tmp_path.iterdir():
        long_ago_s = path.stat().st_mtime - FORGOTTEN_AFTER_S - 1
        os.utime(path, (long_ago_s, long_ago_s))
    living.forget_dead()
    assert [path.name for path in tmp_path.iterdir()] == [f"{socket.gethostname()}.{process_id}.lock"]
    living.release()


def test_nothing_is_said_of_a_process_of_another_machine_that_shares_the_folder(
    tmp_path: Path, killed: uuid.UUID
) -> None:
    elsewhere = Liveness(tmp_path, machine="elsewhere")
    assert not elsewhere.is_dead(killed)
    for path in tmp_path.iterdir():
        long_ago_s = path.stat().st_mtime - FORGOTTEN_AFTER_S - 1
        os.utime(path, (long_ago_s, long_ago_s))
    elsewhere.forget_dead()
    assert Liveness(tmp_path).is_dead(killed)
