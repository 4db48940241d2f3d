"""Puts the tables of a run into README.md and the page on speed, between two comments. Must not know how anything was
measured.
"""

from __future__ import annotations

from tests.bench import goals
from tests.bench.report import Report, figures_table, machine, rows_table, versions
from tests.server import ROOT

BEGIN, END = "<!-- figures: written by `python -m tests.bench --write-readme` -->", "<!-- end of figures -->"


def write(report: Report) -> None:
    """In place of those of the run before: the goals in README.md, the rest on the page."""
    known = ", ".join(f"{name} {version}" for name, version in versions().items())
    measured_on = f"{machine()}, one core for the server; {known}."
    _replace("README.md", goals.table(goals.judge(report)), measured_on)
    disturbed = [f"- Disturbed: {line}." for line in report.disturbed]
    parts = [rows_table(report.rows), figures_table(report.figures), "\n".join(disturbed), measured_on]
    _replace(".github/docs/speed.md", *(part for part in parts if part))


def _replace(name: str, *parts: str) -> None:
    path = ROOT / name
    before, _, rest = path.read_text().partition(BEGIN)
    _, found, after = rest.partition(END)
    assert found, f"{name} has no place for figures: {BEGIN} and {END}"
    path.write_text("\n\n".join((before + BEGIN, *parts, END + after)))
