"""What all tests share: the same examples of hypothesis for everybody, and figures at the end of a run."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.journeys import figures

# What fails once fails again.
settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.load_profile("same")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured."""
    if figures.lines():
        terminalreporter.section("figures")
        for line in figures.lines():
            terminalreporter.write_line(line)
