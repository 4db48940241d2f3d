"""What the commands of this site have in common."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import OperationalError, ProgrammingError


class SiteCommand(BaseCommand):
    """A command that needs the database, and says so in a line where that is away or has no tables yet."""

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run it."""
        try:
            return super().execute(*args, **options)
        except (OperationalError, ProgrammingError) as fault:
            words = str(fault).strip().partition("\n")[0].rstrip(".")
            raise CommandError(
                f"The database does not do what it is asked: {words}. Look at DATABASE_URL, and whether "
                "python manage.py migrate has run; with --traceback you see where it was asked."
            ) from fault
