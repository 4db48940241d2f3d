"""The same on PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest

from chat.llm.scripted import ScriptedServer
from tests.fleet.postgres import postgres
from tests.journeys.place import Place
from tests.journeys.sending import SendingJourney
from tests.journeys.serving import serving
from tests.journeys.stopping import StoppingJourney
from tests.server import ROOT, ServerProcess


@pytest.fixture(scope="session")
def database_url() -> Iterator[str]:
    """An empty database."""
    with postgres() as database:
        yield database.url()


@pytest.fixture(scope="module")
def server(
    upstream: ScriptedServer, database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """The site as `make run` starts it, on PostgreSQL."""
    folder = tmp_path_factory.mktemp("postgres")
    with serving(ServerProcess(folder, upstream=upstream.base_url, DATABASE_URL=database_url)) as running:
        yield running


class TestSendingOnPostgreSQL(SendingJourney):
    """On PostgreSQL."""


class TestStoppingOnPostgreSQL(StoppingJourney):
    """On PostgreSQL."""


def test_the_log_gives_the_rows(place: Place) -> None:
    checked = place.server.manage("check_replay")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert checked.stdout.endswith(" 0 differences\n")


@pytest.mark.parametrize("tests", ["test_statements.py", "test_texts.py", "test_meetings.py"])
def test_what_the_store_says_to_its_database_is_right_here_too(database_url: str, tests: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"tests/store/{tests}"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database_url},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
