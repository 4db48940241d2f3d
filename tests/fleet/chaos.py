"""Everything at once: `python -m tests.fleet.chaos --seconds 600 --seed N`.

Three web processes, two workers, PostgreSQL, Redis, and many conversations, while every few seconds something random is
killed, ended, held or cut off. Afterwards nothing is lost, and nothing was done twice.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path

from chat.llm.scripted import start_in_thread
from tests.fleet.faults import Faults
from tests.fleet.ground import Ground, ground
from tests.fleet.judge import judge
from tests.fleet.talk import Talk, script
from tests.patient import tools as patient

WEBS, WORKERS, CONVERSATIONS, PEOPLE = 3, 2, 60, 6
# Every so many conversations one is open in two tabs.
TWO_TABS_EVERY = 4
SETTINGS = {
    "AGENT_HEARTBEAT_INTERVAL_S": "0.5",
    "AGENT_HEARTBEAT_TIMEOUT_S": "3",
    "AGENT_DRAIN_TIMEOUT_S": "2",
}


async def run(site: Ground, folder: Path, *, seconds: float, seed: int, conversations: int) -> list[str]:
    """A whole run; what it measured. Fails when a promise was not kept."""
    site.upstream.script = script
    people = [await asyncio.to_thread(site.person) for _ in range(PEOPLE)]
    talks = []
    for number in range(conversations):
        own = people[number % PEOPLE]
        conversation = await asyncio.to_thread(own.new_conversation)
        tabs = 2 if number % TWO_TABS_EVERY == 0 else 1
        talks.append(Talk(number, [own] * tabs, conversation, tabs, f"{seed} {number}"))
    faults, until = Faults(site, seed), asyncio.Event()
    talking = [asyncio.create_task(talk.go_on(until), name=f"talk {talk.number}") for talk in talks]
    try:
        await faults.go_on(seconds)
        await asyncio.to_thread(site.mend)
        until.set()
        await asyncio.gather(*talking)
        judged = await judge(site, talks, [site.person(web=number) for number in range(WEBS)], folder)
    except BaseException:
        print("\n".join((f"chaos with seed {seed}:", *faults.record)), file=sys.stderr)  # noqa: T201 - what led to it
        raise
    finally:
        for task in talking:
            task.cancel()
        await asyncio.gather(*talking, return_exceptions=True)
    return [
        f"chaos for {seconds:g} s: CHAOS_SEED={seed}, {faults.happened.total()} faults ({dict(faults.happened)})",
        *judged.splitlines(),
    ]


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.fleet.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="how long something happens every few seconds")
    parser.add_argument("--seed", type=int, default=random.randrange(10**9), help="replays the same faults")
    parser.add_argument("--conversations", type=int, default=CONVERSATIONS)
    parser.add_argument("--logs", type=Path, help="an empty folder in which the logs of all processes stay")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)  # noqa: T201 - also when it is broken off
    with tempfile.TemporaryDirectory(prefix="chaos-") as name, start_in_thread(lambda request: ()) as upstream:
        folder = options.logs or Path(name)
        settings = SETTINGS | patient.environ(folder)
        with ground(folder, upstream, settings, webs=WEBS, workers=WORKERS) as site:
            lines = asyncio.run(
                run(site, folder, seconds=options.seconds, seed=options.seed, conversations=options.conversations)
            )
    print("\n".join(lines))  # noqa: T201 - the result


if __name__ == "__main__":
    main()
