"""What all tests share: the same examples of hypothesis for everybody, and figures at the end of a run."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.journeys import figures

# What fails once fails again.
settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.load_profile("same")


SEVERAL = pytest.mark.several_processes


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Journeys and faults of a site of several processes can be run alone (make test-several)."""
    for item in items:
        if "fleet" in item.path.parts or "several-processes" in item.name:
            item.add_marker(SEVERAL)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what was measured."""
    if figures.lines():
        terminalreporter.section("figures")
        for line in figures.lines():
            terminalreporter.write_line(line)
