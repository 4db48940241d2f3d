"""Moves a site from one database to another: from SQLite, where it began, to PostgreSQL, where it grows."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError

from chat.store import moving


class Command(BaseCommand):
    """`python manage.py move_database`"""

    help = "Move everything from another database into the empty one that DATABASE_URL names."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where from."""
        parser.add_argument("source", help="the database to move from, such as sqlite:////srv/agentsite/var/db.sqlite3")

    def handle(self, *args: Any, **options: Any) -> None:
        """Move, and check all of it."""
        rows = 0
        try:
            for progress in moving.move(options["source"]):
                if progress.done == progress.total:
                    rows += progress.total
                    self.stdout.write(f"{progress.table}: {progress.total:,} rows")
                elif progress.done % (20 * moving.BATCH) == 0:
                    self.stdout.write(f"{progress.table}: {progress.done:,} of {progress.total:,}")
                self.stdout.flush()
        except moving.MoveError as fault:
            raise CommandError(f"{fault} Nothing was changed.") from None
        self.stdout.write(f"{rows:,} rows were moved; every log is checked now")
        call_command("check_replay", stdout=self.stdout)
