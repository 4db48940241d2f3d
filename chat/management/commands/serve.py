"""Serves the site with daphne: migrates, makes a first superuser when there is none, and listens."""

from __future__ import annotations

import atexit
import os
import secrets
import signal
import sys
from argparse import ArgumentParser, ArgumentTypeError
from typing import Any

from daphne.cli import CommandLineInterface
from django.contrib.auth import get_user_model
from django.core import checks
from django.core.management import call_command
from django.db import IntegrityError

from chat.checks import code_can_be_executed
from chat.management.base import SiteCommand
from chat.management.folders import check_folders
from chat.store import processes
from chat.web.server import PatientServer

FIRST_USER = "admin"

checks.register(code_can_be_executed, "sandbox")


class Command(SiteCommand):
    """`python manage.py serve`"""

    help = "Migrate, make a first superuser when there is none, and serve with daphne."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where to listen."""
        parser.add_argument("--host", default=os.environ.get("HOST") or "127.0.0.1")
        parser.add_argument("--port", type=_port, default=os.environ.get("PORT") or "8000")

    def handle(self, *args: Any, **options: Any) -> None:
        """Come up and stay until a signal ends it."""
        check_folders()
        call_command("migrate", verbosity=0, interactive=False)
        processes.try_to_write()
        self._make_first_superuser()
        _take_the_terminal()
        place = ["-b", options["host"], "-p", str(options["port"])]
        server = CommandLineInterface()
        server.server_class = _Server
        server.run([*place, "-v", "0", "--no-server-name", "agentsite.asgi:application"])

    def _make_first_superuser(self) -> None:
        users = get_user_model()
        if users.objects.filter(is_superuser=True).exists():
            return
        password = os.environ.get("ADMIN_PASSWORD") or secrets.token_urlsafe(12)
        try:
            users.objects.create_superuser(FIRST_USER, password=password)
        except IntegrityError:
            # Another process that starts at this moment has made it, and tells its password.
            return
        if not os.environ.get("ADMIN_PASSWORD"):
            self.stdout.write(f"First superuser: {FIRST_USER}, password: {password} (shown only now)")


class _Server(PatientServer):
    """Says where it listens, once it does."""

    def listen_success(self, port: Any) -> None:
        """Daphne's word that it does."""
        super().listen_success(port)
        host, number = self.listening_addresses[-1]
        sys.stdout.write(f"Agentsite listens on http://{f'[{host}]' if ':' in host else host}:{number}\n")
        sys.stdout.flush()


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and 0 < int(text) <= 65_535:
        return int(text)
    raise ArgumentTypeError(f"{text!r} is no port; a valid example: --port 8000, or PORT=8000 in the environment")


def _take_the_terminal() -> None:
    """Under make, let Ctrl-C reach this process alone.

    It would reach make as well, which then dies of it instead of telling how the server ended. A process that leads
    its group has the terminal already, and without a terminal there is no Ctrl-C.
    """
    if not sys.stdin.isatty() or os.getpgrp() == os.getpid():
        return
    terminal = sys.stdin.fileno()
    before = os.tcgetpgrp(terminal)
    if before != os.getpgrp():
        return
    # Taking and giving back the terminal from the background would stop us; so would Ctrl-Z, with nobody to wake us.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    os.setpgid(0, 0)
    os.tcsetpgrp(terminal, os.getpid())
    atexit.register(os.tcsetpgrp, terminal, before)
