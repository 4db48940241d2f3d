"""A short chaos run; the long one is `python -m tests.fleet.chaos`.

`CHAOS_SECONDS` in the environment says how long, `CHAOS_SEED` replays its faults; the seed is shown with the figures.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from chat.llm.scripted import ScriptedServer
from tests.fleet import chaos
from tests.fleet.ground import ground
from tests.journeys import figures
from tests.patient import tools as patient

SECONDS = float(os.environ.get("CHAOS_SECONDS") or 60)
SEED = int(os.environ.get("CHAOS_SEED") or random.randrange(10**9))


@pytest.mark.timeout(SECONDS + 840)
async def test_whatever_dies_nothing_is_lost_and_nothing_is_done_twice(
    upstream: ScriptedServer, tmp_path: Path
) -> None:
    settings = chaos.SETTINGS | patient.environ(tmp_path)
    with ground(tmp_path, upstream, settings, webs=chaos.WEBS, workers=chaos.WORKERS) as site:
        for line in await chaos.run(site, tmp_path, seconds=SECONDS, seed=SEED, conversations=chaos.CONVERSATIONS):
            figures.show(line)
