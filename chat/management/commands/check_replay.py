"""Holds every stored log against its chain and its seal, folds it again, and compares with the stored state."""

from __future__ import annotations

import sys
import time
from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError

from chat.errors import AgentsiteError
from chat.management.base import SiteCommand
from chat.store import replay

PROGRESS_INTERVAL_S = 0.2


class Command(SiteCommand):
    """`python manage.py check_replay [--conversation ID]`"""

    help = (
        "Check that no stored log was changed, fold every one again and compare with the stored state; "
        "exit 1 on any difference."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which conversation."""
        parser.add_argument("--conversation", metavar="ID", type=UUID, help="only this conversation")

    def handle(self, *args: Any, **options: Any) -> None:
        """Check, and print what was found."""
        only = options["conversation"]
        conversations = events = erased = faults = 0
        progress = _Progress(self, total=1 if only else replay.conversation_count())
        for conversation_id in [only] if only else replay.conversation_ids():
            try:
                count, wrong = replay.check(conversation_id)
                erased += replay.erased_count(conversation_id)
            except AgentsiteError as fault:
                if only:
                    raise CommandError(str(fault)) from fault
                # It was there a moment ago: somebody has removed it meanwhile.
                continue
            except Exception as fault:  # the others are to be checked, whatever is wrong with this one
                count, wrong = 0, [f"it can't be checked: {fault!r}"]
            conversations += 1
            events += count
            faults += len(wrong)
            if wrong:
                progress.clear()
            for line in wrong:
                self.stdout.write(f"{conversation_id}: {line}")
            progress.show(conversations)
        progress.clear()
        of_them = f" ({erased} of them erased)" if erased else ""
        self.stdout.write(f"{conversations} conversations, {events} events{of_them}, {faults} differences")
        if faults:
            sys.exit(1)


class _Progress:
    """A line on a terminal that says how far it has come; nothing elsewhere."""

    def __init__(self, command: SiteCommand, *, total: int) -> None:
        self._out = command.stderr if total > 1 and command.stderr.isatty() else None
        self._total = total
        self._shown_at_s = time.monotonic()
        self._is_shown = False

    def show(self, done: int) -> None:
        """At most a few times a second."""
        if self._out is not None and time.monotonic() - self._shown_at_s >= PROGRESS_INTERVAL_S:
            self._shown_at_s = time.monotonic()
            self._is_shown = True
            self._out.write(f"\r{done:,} of {self._total:,} conversations", self._same, ending="")
            self._out.flush()

    def clear(self) -> None:
        """Make room for other lines."""
        if self._out is not None and self._is_shown:
            self._is_shown = False
            self._out.write("\r\x1b[K", self._same, ending="")
            self._out.flush()

    @staticmethod
    def _same(text: str) -> str:
        """Progress is no error, and not in its colour."""
        return text
