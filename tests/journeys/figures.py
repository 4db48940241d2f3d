"""Figures that journeys measure: shown at the end of a run, so that nobody has to believe a green dot."""

from __future__ import annotations

from statistics import median

_LINES: list[str] = []


def show(line: str) -> None:
    """Print this at the end of the run."""
    _LINES.append(line)


def show_times(what: str, seconds: list[float]) -> float:
    """Print how long something took; the median in seconds."""
    middle = median(seconds)
    show(f"{what}: median {middle * 1000:.1f} ms, worst {max(seconds) * 1000:.1f} ms, {len(seconds)} times")
    return middle


def lines() -> tuple[str, ...]:
    """Everything that was shown."""
    return tuple(_LINES)
