"""Removes for good what was deleted long enough ago."""

from __future__ import annotations

from typing import Any

from asgiref.sync import async_to_sync

from chat import wiring
from chat.management.base import SiteCommand


class Command(SiteCommand):
    """`python manage.py purge`"""

    help = (
        "Remove conversations that were deleted more than AGENT_DELETED_KEPT_DAYS ago, with their files. "
        "A running site does the same every hour."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Remove them, and print how many."""
        count = async_to_sync(_purge)()
        self.stdout.write(f"{count} conversations removed")


async def _purge() -> int:
    return await wiring.site().purge()
