"""Folds every stored log again and compares with the stored state."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError

from chat.errors import AgentsiteError
from chat.store import replay


class Command(BaseCommand):
    """`python manage.py check_replay [--conversation ID]`"""

    help = "Fold every stored log again and compare with the stored state; exit 1 on any difference."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which conversation."""
        parser.add_argument("--conversation", metavar="ID", type=UUID, help="only this conversation")

    def handle(self, *args: Any, **options: Any) -> None:
        """Check, and print what was found."""
        only = options["conversation"]
        conversations = events = faults = 0
        for conversation_id in [only] if only else replay.conversation_ids():
            try:
                count, wrong = replay.check(conversation_id)
            except AgentsiteError as fault:
                raise CommandError(str(fault)) from fault
            conversations += 1
            events += count
            faults += len(wrong)
            for line in wrong:
                self.stdout.write(f"{conversation_id}: {line}")
        self.stdout.write(f"{conversations} conversations, {events} events, {faults} differences")
        if faults:
            sys.exit(1)
