"""`make bench`: measures, prints tables and the goals, writes `var/bench.json`.

`make bench BENCH="--quick"` takes a few minutes, `--only NAME` (more than once if you like) a part of it, `--list`
says what there is. `--peers chainlit` installs that program into an environment of its own and measures it in the same
run. `--write-readme` puts the tables into README.md. `--soak FILE` adds what a soak has found that ran before: it
takes an hour.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from tests.bench import clocks, goals, holding, layers, pages, peers, readme, steps, streaming
from tests.bench.bench import SCENARIOS, Bench
from tests.bench.report import Report, figures_of, figures_table, machine, rows_table, versions
from tests.bench.upstream import Upstream

MODULES = (streaming, holding, pages, steps, layers)


def options(words: Sequence[str]) -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(
        prog="make bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--list", action="store_true", help="list the scenarios and end")
    parser.add_argument("--quick", action="store_true", help="fewer chats, shorter streams, smaller fillings")
    parser.add_argument("--only", action="append", choices=SCENARIOS, metavar="NAME", help="this scenario alone")
    parser.add_argument("--seconds", type=float, help="how long streams are measured (8; quick: 4)")
    parser.add_argument("--tries", type=int, default=3, help="how often at most, where others disturb")
    parser.add_argument("--minutes", type=float, default=60, help="how long the soak takes")
    parser.add_argument("--soak", type=Path, metavar="FILE", help="add the soak that `--only soak --json FILE` wrote")
    parser.add_argument("--peers", action="append", choices=peers.PEERS, default=[], help="measure this program too")
    parser.add_argument("--json", type=Path, default=Path("var/bench.json"), help="where to write the figures")
    parser.add_argument("--write-readme", action="store_true", help="put the tables into README.md")
    return parser.parse_args(words)


async def measure(asked: argparse.Namespace, folder: Path, core: int) -> Report:
    """Run what was asked for."""
    report = Report()
    upstream = Upstream()
    await upstream.start()
    bench = Bench(
        folder=folder,
        upstream=upstream,
        core=core,
        seconds=asked.seconds or (4 if asked.quick else 8),
        tries=asked.tries,
        is_quick=asked.quick,
        minutes=asked.minutes,
        peers=[peers.PEERS[name] for name in asked.peers],
    )
    try:
        for scenario in SCENARIOS.values():
            if scenario.name in asked.only if asked.only else not scenario.is_asked_for:
                print(scenario.name, file=sys.stderr, flush=True)  # noqa: T201 - progress
                report.add(await scenario.run(bench))
                # What is measured is kept when a later one breaks off.
                report.write(asked.json, goals.as_json(goals.judge(report)))
    finally:
        bench.close()
        await upstream.close()
    if asked.soak is not None:
        report.add(figures_of(asked.soak, "soak"))
    report.disturbed = bench.disturbed
    return report


def tables(report: Report) -> str:
    """All of it, for people."""
    known = ", ".join(f"{name} {version}" for name, version in versions().items())
    parts = [
        goals.table(goals.judge(report)),
        rows_table(report.rows) if report.rows else "",
        figures_table(report.figures) if report.figures else "",
        "\n".join(f"Disturbed: {line}." for line in report.disturbed),
        f"{machine()}, one core for the server; Python {sys.version.split()[0]}, {known}.",
    ]
    return "\n\n".join(part for part in parts if part)


def main() -> None:
    """Measure, print, write."""
    asked = options(sys.argv[1:])
    if asked.list:
        for scenario in SCENARIOS.values():
            print(f"{scenario.name:10} {scenario.words}")  # noqa: T201 - the result
        return
    cores = sorted(os.sched_getaffinity(0))
    clocks.pin(os.getpid(), set(cores[1:]) or set(cores))
    with tempfile.TemporaryDirectory() as folder:
        report = asyncio.run(measure(asked, Path(folder), cores[0]))
    print(tables(report))  # noqa: T201 - the result
    report.write(asked.json, goals.as_json(goals.judge(report)))
    if asked.write_readme:
        readme.write(report)


if __name__ == "__main__":
    main()
