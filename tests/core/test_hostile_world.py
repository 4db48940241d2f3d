"""The reducer in a world that misbehaves, against all its promises.

Deterministic, so that everybody sees the same; `HOSTILE_RUNS=20000` looks longer, and `HOSTILE_SEED=7` elsewhere.
"""

from __future__ import annotations

import os

from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.core.hostile import HostileWorld, hostile_settings

RUNS = 2_000


def test_no_misbehaviour_of_the_world_breaks_a_promise() -> None:
    chosen = hostile_settings(runs=int(os.environ.get("HOSTILE_RUNS", RUNS)), shrinks=True)
    if "HOSTILE_SEED" in os.environ:
        chosen = settings(chosen, derandomize=False)
        seed(int(os.environ["HOSTILE_SEED"]))(HostileWorld)
    run_state_machine_as_test(HostileWorld, settings=chosen)
