"""What a run has found, as values, as tables and as JSON. Must not know how anything was measured."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

OURS = "agentsite"
VERSIONS_OF = ("Django", "channels", "daphne", "openai", "uvicorn")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One measurement of streams.

    app: who served. chats, frames: how many, and what their sockets speak. rate: tokens a second of each, 0 for as fast
    as possible. carried: tokens a second of all of them. Latencies in ms, CPU in µs a token, memory in MiB at most.
    first_*: from sending a message to its first token, but for the time that the model server took.
    others_percent: what others took of the server's core; load_percent: what the load took of its own.
    tries: how often it was measured until others left the core alone, or no more.
    """

    scenario: str
    app: str
    chats: int
    frames: str
    rate: int
    tokens: int
    carried: float
    p50_ms: float
    p99_ms: float
    first_p50_ms: float
    first_p99_ms: float
    cpu_us: float
    core_percent: float
    bytes_each: float
    peak_mib: float
    others_percent: float
    load_percent: float
    tries: int = 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """One number of anything else. note: how it came about, where that must be known."""

    scenario: str
    name: str
    value: float
    unit: str
    others_percent: float = 0.0
    note: str = ""


@dataclass(kw_only=True, slots=True)
class Report:
    """All of it."""

    rows: list[Row] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    disturbed: list[str] = field(default_factory=list)

    def add(self, found: Iterable[Row | Figure]) -> None:
        """Keep these."""
        for each in found:
            if isinstance(each, Row):
                self.rows.append(each)
            else:
                self.figures.append(each)

    def row(self, scenario: str, chats: int, *, app: str = OURS, frames: str = "html") -> Row | None:
        """The row of that name; None when it was not measured."""
        wanted = (scenario, app, chats, frames)
        return next((row for row in self.rows if (row.scenario, row.app, row.chats, row.frames) == wanted), None)

    def figure(self, name: str) -> float | None:
        """The figure of that name; None when it was not measured."""
        return next((figure.value for figure in self.figures if figure.name == name), None)

    def write(self, path: Path, goals: Sequence[object]) -> None:
        """As JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        report = {
            "python": platform.python_version(),
            "machine": machine(),
            "versions": versions(),
            "disturbed": self.disturbed,
            "rows": [asdict(row) for row in self.rows],
            "figures": [asdict(figure) for figure in self.figures],
            "goals": goals,
        }
        path.write_text(json.dumps(report, indent=2) + "\n")


def figures_of(path: Path, scenario: str) -> list[Figure]:
    """What a run of its own has found in a scenario, from its JSON."""
    figures = [Figure(**figure) for figure in json.loads(path.read_text())["figures"] if figure["scenario"] == scenario]
    if not figures:
        raise SystemExit(f"{path} has no figure of {scenario}: write it with `--only {scenario} --json {path}`")
    return [replace(figure, note=", ".join(filter(None, [figure.note, "a run of its own"]))) for figure in figures]


def versions() -> dict[str, str]:
    """Of what was measured with."""
    return {name: version(name) for name in VERSIONS_OF}


def machine() -> str:
    """The processor's name."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def rows_table(rows: Iterable[Row]) -> str:
    """Streams, for people."""
    lines = [
        "| scenario | served by | chats | frames | tokens/s | p50 ms | p99 ms | first p50 | first p99 | CPU µs/token "
        "| core % | bytes/token | peak MiB | others % | load % |",
        "|:--|:--|--:|:--|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {row.scenario} | {row.app} | {row.chats} | {row.frames} | {row.carried:,.0f} | {row.p50_ms:.1f} "
        f"| {row.p99_ms:.1f} | {row.first_p50_ms:.1f} | {row.first_p99_ms:.1f} | {row.cpu_us:.1f} "
        f"| {row.core_percent:.0f} | {row.bytes_each:.0f} | {row.peak_mib:.0f} | {row.others_percent:.0f} "
        f"| {row.load_percent:.0f} |"
        for row in rows
    ]
    return "\n".join(lines)


def figures_table(figures: Iterable[Figure]) -> str:
    """Everything else, for people."""
    lines = ["| figure | | | others % |", "|:--|--:|:--|--:|"]
    lines += [
        f"| {figure.name}{f' ({figure.note})' if figure.note else ''} | {number(figure.value)} | {figure.unit} "
        f"| {figure.others_percent:.0f} |"
        for figure in figures
    ]
    return "\n".join(lines)


def number(value: float) -> str:
    """As many digits as mean something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def percentile(values: Sequence[float], percent: int) -> float:
    """So many of a hundred are no larger; `values` sorted."""
    return values[min(len(values) - 1, len(values) * percent // 100)] if values else 0.0
