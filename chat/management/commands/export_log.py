"""Writes the log of one conversation as a file that proves where it comes from."""

from __future__ import annotations

import sys
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError

from chat.clock import now_ms
from chat.errors import AgentsiteError
from chat.management.base import SiteCommand
from chat.store import exports


class Command(SiteCommand):
    """`python manage.py export_log CONVERSATION [-o FILE]`"""

    help = "Write a conversation's log as a signed file, which `python -m chat.verify_export` checks anywhere."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which conversation, and where to."""
        parser.add_argument("conversation", type=UUID, nargs="?", help="its id")
        parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="instead of standard output")
        parser.add_argument("--show-key", action="store_true", help="print the public key of this site's exports")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write it, or say why not."""
        try:
            if options["show_key"]:
                self.stdout.write(exports.public_key())
                return
            if options["conversation"] is None:
                raise CommandError("Say which conversation: its id is in the address of its page.")
            lines = exports.signed_export(options["conversation"], at_ms=now_ms())
            if options["output"] is None:
                for line in lines:
                    sys.stdout.buffer.write(line)
                sys.stdout.flush()
            else:
                _write(options["output"], lines)
        except (AgentsiteError, OSError) as fault:
            raise CommandError(str(fault)) from fault


def _write(path: Path, lines: Iterable[bytes]) -> None:
    """All of it or nothing, readable by its owner alone; a pipe or a device is written to, and not replaced."""
    if path.exists() and not path.is_file():
        with path.open("wb") as out:
            out.writelines(lines)
        return
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as draft:
        try:
            draft.writelines(lines)
            draft.flush()
            Path(draft.name).replace(path)
        except BaseException:
            Path(draft.name).unlink()
            raise
