"""What the figures should be. Whether they are is computed from a run, never by hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from tests.bench.report import Report, number

RELAY, PEER = "bare relay", "Chainlit"


@dataclass(frozen=True, kw_only=True, slots=True)
class Goal:
    """One line. measure: None when the run has not what it needs. bound: the most, or with `is_least` the least; None
    where it is enough to know it.
    """

    what: str
    unit: str
    bound: float | None
    measure: Callable[[Report], float | None]
    is_least: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """A goal and what a run says of it."""

    what: str
    unit: str
    bound: float | None
    is_least: bool
    value: float | None
    is_reached: bool | None


def judge(report: Report) -> list[Judged]:
    """Every goal."""
    judged = []
    for goal in GOALS:
        value = goal.measure(report)
        is_reached = None if value is None else _is_reached(goal, value)
        judged.append(
            Judged(
                what=goal.what,
                unit=goal.unit,
                bound=goal.bound,
                is_least=goal.is_least,
                value=value,
                is_reached=is_reached,
            )
        )
    return judged


def _is_reached(goal: Goal, value: float) -> bool:
    if goal.bound is None:
        return True
    return value >= goal.bound if goal.is_least else value <= goal.bound


def as_json(judged: list[Judged]) -> list[dict[str, object]]:
    """For programs."""
    return [asdict(each) for each in judged]


def table(judged: list[Judged]) -> str:
    """For people."""
    lines = ["| figure | goal | measured | reached |", "|:--|--:|--:|:--|"]
    for each in judged:
        bound = "to be known"
        if each.bound is not None:
            bound = f"{'≥' if each.is_least else '≤'} {number(each.bound)} {each.unit}"
        value = "not measured" if each.value is None else f"{number(each.value)} {each.unit}"
        reached = {True: "yes", False: "**no**", None: "–"}[each.is_reached]
        lines.append(f"| {each.what} | {bound} | {value} | {reached} |")
    return "\n".join(lines)


def _row(name: str, chats: int, field: str, *, app: str = "agentsite") -> Callable[[Report], float | None]:
    def measure(report: Report) -> float | None:
        row = report.row(name, chats, app=app)
        return None if row is None else float(getattr(row, field))

    return measure


def _figure(name: str) -> Callable[[Report], float | None]:
    return lambda report: report.figure(name)


def _ratio(
    upper: Callable[[Report], float | None], lower: Callable[[Report], float | None]
) -> Callable[[Report], float | None]:
    def measure(report: Report) -> float | None:
        above, below = upper(report), lower(report)
        return None if above is None or not below else above / below

    return measure


_CPU_OF_100 = _row("paced", 100, "cpu_us")
_UNLIMITED = _row("unlimited", 1, "carried")
GOALS = (
    Goal(
        what="300 chats: carried", unit="tokens/s", bound=14_900, is_least=True, measure=_row("paced", 300, "carried")
    ),
    Goal(what="300 chats: share of the core", unit="%", bound=70, measure=_row("paced", 300, "core_percent")),
    Goal(what="300 chats: added, p50", unit="ms", bound=15, measure=_row("paced", 300, "p50_ms")),
    Goal(what="300 chats: added, p99", unit="ms", bound=40, measure=_row("paced", 300, "p99_ms")),
    Goal(what="300 chats: first token added, p50", unit="ms", bound=20, measure=_row("paced", 300, "first_p50_ms")),
    Goal(what="CPU per token, 100 chats", unit="µs", bound=50, measure=_CPU_OF_100),
    Goal(
        what="the same against the bare relay",
        unit="×",
        bound=2.2,
        measure=_ratio(_CPU_OF_100, _row("paced", 100, "cpu_us", app=RELAY)),
    ),
    Goal(
        what="the same against Chainlit",
        unit="×",
        bound=0.2,
        measure=_ratio(_CPU_OF_100, _row("paced", 100, "cpu_us", app=PEER)),
    ),
    Goal(what="1 chat: added, p50", unit="ms", bound=3, measure=_row("paced", 1, "p50_ms")),
    Goal(what="1 chat: first token added", unit="ms", bound=8, measure=_row("paced", 1, "first_p50_ms")),
    Goal(what="one chat without limit", unit="tokens/s", bound=100_000, is_least=True, measure=_UNLIMITED),
    Goal(
        what="the same against Chainlit",
        unit="×",
        bound=20,
        is_least=True,
        measure=_ratio(_UNLIMITED, _row("unlimited", 1, "carried", app=PEER)),
    ),
    Goal(
        what="300 first messages within a second: first token added, p99",
        unit="ms",
        bound=250,
        measure=_row("burst", 300, "first_p99_ms"),
    ),
    Goal(
        what="20 tabs on a conversation against one: CPU",
        unit="×",
        bound=3,
        measure=_figure("CPU of 20 tabs on a conversation against one"),
    ),
    Goal(
        what="turn 1,000 against turn 1: CPU more",
        unit="ms",
        bound=8,
        measure=_figure("CPU that a late turn costs more"),
    ),
    Goal(
        what="turn 1,000 against turn 1: bytes",
        unit="×",
        bound=1.05,
        measure=_figure("bytes of a late turn against the first"),
    ),
    Goal(
        what="200 KB of Markdown: CPU of the last tokens against the first",
        unit="×",
        bound=1.2,
        measure=_figure("last tokens of a long reply against its first"),
    ),
    Goal(what="bytes on the wire per token, 100 chats", unit="B", bound=60, measure=_row("paced", 100, "bytes_each")),
    Goal(what="memory at start", unit="MiB", bound=130, measure=_figure("memory at start")),
    Goal(what="memory of an idle socket", unit="KiB", bound=40, measure=_figure("memory of an idle socket")),
    Goal(what="memory more of a stream", unit="KiB", bound=40, measure=_figure("memory more of a stream")),
    Goal(
        what="memory after an hour of load (`--only soak`)",
        unit="×",
        bound=1.05,
        measure=_figure("growth of memory under load"),
    ),
    Goal(
        what="Stop to upstream closed, 1 chat, median",
        unit="ms",
        bound=10,
        measure=_figure("from Stop to upstream closed, 1 chat, median"),
    ),
    Goal(
        what="Stop to upstream closed, 300 chats, median",
        unit="ms",
        bound=50,
        measure=_figure("from Stop to upstream closed, 300 chats, median"),
    ),
    Goal(
        what="Stop to upstream closed, 300 chats, p99",
        unit="ms",
        bound=150,
        measure=_figure("from Stop to upstream closed, 300 chats, p99"),
    ),
    Goal(
        what="1,000 messages: first byte",
        unit="ms",
        bound=40,
        measure=_figure("first byte of a long conversation"),
    ),
    Goal(
        what="1,000 messages: can be used after",
        unit="ms",
        bound=500,
        measure=_figure("a long conversation can be used after"),
    ),
    Goal(
        what="1,000 messages: longest task while text streams",
        unit="ms",
        bound=50,
        measure=_figure("longest task of the browser while text streams into it"),
    ),
    Goal(
        what="uvicorn instead of daphne: CPU per token, 100 chats",
        unit="×",
        bound=None,
        measure=_ratio(_row("paced", 100, "cpu_us", app="agentsite, uvicorn"), _CPU_OF_100),
    ),
)
