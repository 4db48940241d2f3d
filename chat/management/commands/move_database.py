"""Moves a site from SQLite, where it began, to PostgreSQL, where it grows."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError

from chat.management.base import SiteCommand
from chat.store import moving

# Batches between two lines of progress.
TOLD_EACH = 20


class Command(SiteCommand):
    """`python manage.py move_database SOURCE`"""

    help = "Move everything from a SQLite file into the empty database that DATABASE_URL names, or nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where from."""
        parser.add_argument("source", help="the file to move from, such as sqlite:////srv/agentsite/var/db.sqlite3")

    def handle(self, *args: Any, **options: Any) -> None:
        """Move, and check all of it."""
        rows = 0
        silent_for_s = settings.AGENTSITE.agent_heartbeat_timeout_s
        try:
            for progress in moving.move(options["source"], silent_for_s=silent_for_s):
                if progress.done == progress.total:
                    rows += progress.total
                    self.stdout.write(f"{progress.table}: {progress.total:,} rows")
                elif progress.done % (TOLD_EACH * moving.BATCH) == 0:
                    self.stdout.write(f"{progress.table}: {progress.done:,} of {progress.total:,}")
                self.stdout.flush()
        except moving.MoveError as fault:
            raise CommandError(f"{fault} Nothing was changed.") from None
        self.stdout.write(f"{rows:,} rows were moved; every log is checked now")
        call_command("check_replay", stdout=self.stdout)
