"""What all tests share: the same examples of hypothesis for everybody, and figures at the end of a run."""

from __future__ import annotations

import pytest
from hypothesis import settings

from tests.journeys import figures

# What fails once fails again.
settings.register_profile("same", derandomize=True, deadline=None, database=None)
settings.load_profile("same")


SEVERAL = "several_processes"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which of the two suites is run."""
    words = "run what needs a site of several processes, and only that (make test-several)"
    parser.addoption("--several-processes", action="store_true", dest=SEVERAL, help=words)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Journeys and faults of several processes take as long as all the rest: they are a suite of their own."""
    wanted: list[pytest.Item] = []
    others: list[pytest.Item] = []
    for item in items:
        is_several = (
            item.get_closest_marker(SEVERAL) is not None
            or "fleet" in item.path.parts
            or "several-processes" in item.name
        )
        (wanted if is_several == config.getoption(SEVERAL) else others).append(item)
    items[:] = wanted
    config.hook.pytest_deselected(items=others)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print what was measured, and what was not run."""
    if terminalreporter.stats.get("deselected") and not config.getoption(SEVERAL):
        terminalreporter.write_line("Not run here: a site of several processes. make test-several does that.")
    if figures.lines():
        terminalreporter.section("figures")
        for line in figures.lines():
            terminalreporter.write_line(line)
