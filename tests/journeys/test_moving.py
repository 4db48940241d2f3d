"""From one process to many: everything that SQLite holds moves to PostgreSQL, or nothing does."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
from psycopg import sql

from tests.fleet.postgres import PostgresProcess, postgres
from tests.journeys.everything import EMPTY, NO_NUL
from tests.journeys.serving import serving
from tests.server import Person, ServerProcess

# What a migrated database holds.
MADE = {"django_migrations", "django_content_type", "auth_permission", "auth_group", "auth_group_permissions"}
FILL = "from tests.journeys.everything import fill; fill()"


def site_on(folder: Path, database_url: str) -> ServerProcess:
    """A site that is not started."""
    folder.mkdir()
    site = ServerProcess(folder)
    site.environ["DATABASE_URL"] = database_url
    return site


def run(site: ServerProcess, *words: str) -> str:
    """What a command says that must succeed."""
    done = site.manage(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a site in which every table has rows."""
    folder = tmp_path_factory.mktemp("filled")
    site = site_on(folder / "site", f"sqlite:///{folder / 'db.sqlite3'}")
    run(site, "migrate")
    run(site, "shell", "-v", "0", "-c", FILL)
    return folder / "db.sqlite3"


@pytest.fixture
def small(filled: Path, tmp_path: Path) -> ServerProcess:
    """A site with a copy of that file."""
    file = tmp_path / "small.sqlite3"
    with closing(sqlite3.connect(filled)) as there, closing(sqlite3.connect(file)) as here:
        there.backup(here)
    return site_on(tmp_path / "small", f"sqlite:///{file}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """The same site on a PostgreSQL of its own. name: of its database."""

    site: ServerProcess
    database: PostgresProcess
    name: str

    def move(self, small: ServerProcess) -> CompletedProcess[str]:
        return self.site.manage("move_database", source(small))

    def is_untouched(self) -> bool:
        """Whether it holds nothing but what migrations make."""
        with self.database.connect(self.name) as connection:
            tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
            found = {
                table
                for (table,) in tables
                if connection.execute(sql.SQL("SELECT 1 FROM {} LIMIT 1").format(sql.Identifier(table))).fetchone()
            }
        return found == MADE


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresProcess]:
    with postgres() as running:
        yield running


@pytest.fixture(scope="module")
def empty(database: PostgresProcess, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a database that was migrated."""
    name = database.new_database()
    run(site_on(tmp_path_factory.mktemp("empty") / "site", database.url(name)), "migrate")
    return name


@pytest.fixture
def target(database: PostgresProcess, empty: str, tmp_path: Path) -> Iterator[Target]:
    name = f"{empty}_{tmp_path.name}"[-60:].lower()
    with database.connect() as connection:
        made = sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(empty))
        connection.execute(made)
    site = site_on(tmp_path / "target", database.url(name))
    yield Target(site=site, database=database, name=name)
    site.close()


def source(site: ServerProcess) -> str:
    return site.environ["DATABASE_URL"]


def change(site: ServerProcess, statement: str) -> None:
    """What no code of the site would write."""
    with closing(sqlite3.connect(source(site).removeprefix("sqlite:///"))) as connection, connection:
        assert connection.execute(statement).rowcount > 0


def rows(site: ServerProcess) -> dict[str, list[dict[str, Any]]]:
    """Every row of every table that is taken along, by its table."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in json.loads(
        run(site, "dumpdata", "-v", "0", *(f"--exclude={table.replace('_', '.', 1)}" for table in EMPTY))
    ):
        found.setdefault(row["model"], []).append(row)
    return found


def test_every_row_of_every_table_moves_and_the_site_goes_on_with_it(small: ServerProcess, target: Target) -> None:
    moved = target.move(small)
    assert moved.returncode == 0, moved.stderr
    assert "chat_event: " in moved.stdout
    assert moved.stdout.rstrip().endswith(", 0 differences")
    before, after = rows(small), rows(target.site)
    for table in ("contenttypes.contenttype", "auth.permission"):
        # Those of the engine of jobs, which only PostgreSQL has, come behind.
        assert len(after[table]) > len(before[table])
        after[table] = after[table][: len(before[table])]
    assert after == before
    assert any(row["fields"]["content"] == NO_NUL for row in after["chat.message"])
    # What comes now has numbers of its own.
    with serving(target.site):
        person = Person(target.site.base).sign_up("grace")
        conversation = person.new_conversation()
        assert person.get(f"/c/{conversation}/")[0] == 200
    again = target.move(small)
    assert (again.returncode, "The target is not empty: " in again.stderr) == (1, True)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE chat_message SET content = 'a' || char(0) WHERE position = 2", "content has a NUL character"),
        (
            """UPDATE chat_message SET attachments = '[{"name": "\\\\\\u0000"}]' WHERE position = 3""",
            "attachments has a NUL character",
        ),
        ("UPDATE chat_conversation SET title = printf('%.201c', 'x')", "title has more than 200 characters"),
        ("UPDATE chat_message SET prompt_tokens = 3000000000 WHERE position = 2", "prompt_tokens is beyond 2147483647"),
    ],
)
def test_what_postgresql_can_not_hold_is_found_before_anything_is_written(
    small: ServerProcess, target: Target, statement: str, words: str
) -> None:
    change(small, statement)
    refused = target.move(small)
    assert refused.returncode == 1
    assert words in refused.stderr
    assert "Nothing was changed." in refused.stderr
    assert (refused.stdout, target.is_untouched()) == ("", True)


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("UPDATE chat_toolcall SET run_id = 'no id'", "chat_toolcall: what comes after row "),
        ("UPDATE chat_accesstrace SET staff_id = 4711", "chat_accesstrace: rows from "),
    ],
)
def test_what_fails_on_the_way_leaves_nothing_behind(
    small: ServerProcess, target: Target, statement: str, words: str
) -> None:
    change(small, statement)
    refused = target.move(small)
    assert refused.returncode == 1
    assert words in refused.stderr
    assert "Nothing was changed." in refused.stderr
    assert "auth_user: " in refused.stdout
    assert target.is_untouched()


def test_a_site_that_still_runs_is_not_moved(small: ServerProcess, target: Target) -> None:
    with serving(small):
        refused = target.move(small)
    assert (refused.returncode, target.is_untouched()) == (1, True)
    assert "The source is in use by 1 processes. Stop the site" in refused.stderr
    with serving(target.site):
        refused = target.move(small)
    assert refused.returncode == 1
    assert "The target is in use by 1 processes. Stop the site" in refused.stderr


def test_a_source_of_another_version_is_not_moved(small: ServerProcess, target: Target) -> None:
    change(small, "DELETE FROM django_migrations WHERE name = '0002_groups'")
    refused = target.move(small)
    assert refused.returncode == 1
    assert "The source lacks migration chat.0002_groups. Run `python manage.py migrate` on it first" in refused.stderr


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("sqlite:////not/there.sqlite3", "There is no file /not/there.sqlite3."),
        ("postgres://user:secret@localhost/name", "postgres: the source must be a file, such as sqlite:///"),
        ("the same", "Source and target are the same database."),
    ],
)
def test_a_source_that_is_none_is_refused(small: ServerProcess, words: str, fault: str) -> None:
    refused = small.manage("move_database", source(small) if words == "the same" else words)
    assert refused.returncode == 1
    assert fault in refused.stderr
    assert "secret" not in refused.stderr
