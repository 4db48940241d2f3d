"""Django's test command runs the same suite as `make test`."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

import pytest


class PytestRunner:
    """What `TEST_RUNNER` names. Hands paths and the common options over to pytest."""

    def __init__(
        self,
        *,
        verbosity: int = 1,
        failfast: bool = False,
        keepdb: bool = False,
        test_name_patterns: list[str] | None = None,
        **_: Any,
    ) -> None:
        self._options = ["-v"] * (verbosity > 1)
        self._options += ["--exitfirst"] * failfast
        self._options += ["--reuse-db"] * keepdb
        for pattern in test_name_patterns or ():
            self._options += ["-k", pattern.strip("*")]

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """The options of Django's own runner that mean something here."""
        parser.add_argument("--keepdb", action="store_true", help="Keep the test database between runs.")
        parser.add_argument("-k", action="append", dest="test_name_patterns", help="Only tests whose name matches.")

    def run_tests(self, test_labels: list[str], **_: Any) -> int:
        """The number that the command exits with: 0 when all passed."""
        return int(pytest.main([*self._options, *(_path(label) for label in test_labels)]))


def _path(label: str) -> str:
    """A file as pytest names it, also when it was given as Django names modules."""
    if "/" in label or label.endswith(".py") or "::" in label or "." not in label:
        return label
    return label.replace(".", "/") + ".py"
