"""Erases what a user and the model said, and keeps what can be checked of it."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError

from chat import wiring
from chat.errors import AgentsiteError
from chat.management.base import SiteCommand
from chat.store import erasure


class Command(SiteCommand):
    """`python manage.py erase_user USERNAME [--conversation ID] [--yes]`"""

    help = (
        "Erase all text and remove all files of a user's conversations. That they took place, and when, stays, and can "
        "be checked."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Whose, and which of them."""
        parser.add_argument("username")
        parser.add_argument("--conversation", metavar="ID", type=UUID, help="only this one of theirs")
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask, erase, and print what was erased."""
        username, only = options["username"], options["conversation"]
        try:
            found = erasure.conversations_of(username)
        except AgentsiteError as fault:
            raise CommandError(str(fault)) from fault
        chosen = [each for each in found if only in (None, each)]
        if only and not chosen:
            raise CommandError(f"{username} has no conversation {only}.")
        if chosen and not options["yes"]:
            self._ask(username, len(chosen))
        events = files = refused = 0
        for each in chosen:
            try:
                erased = erasure.erase(each, by="", remove_folder=wiring.work_folder(each).remove)
            except (AgentsiteError, OSError) as fault:
                refused += 1
                self.stderr.write(f"{each}: {fault}")
                continue
            events += erased.events
            files += erased.files
        self.stdout.write(
            f"{len(chosen) - refused} conversations, {events} events erased, {files} files removed, {refused} refused"
        )
        if refused:
            sys.exit(1)

    def _ask(self, username: str, count: int) -> None:
        self.stdout.write(
            f"This erases what was said in {count} conversations of {username}, and their files, for good."
        )
        try:
            answer = input(f"Write {username} to go on: ")
        except EOFError:
            answer = ""
        if answer != username:
            raise CommandError("Nothing was erased.")
