"""Whether a process that serves or performs can write where it will have to."""

from __future__ import annotations

import tempfile
from pathlib import Path

from django.conf import settings
from django.core.management.base import CommandError

from chat import wiring, workplace


def check_folders() -> None:
    """Raises CommandError, which names the first folder that takes no file."""
    for folder in (wiring.LOCK_FOLDER, workplace.WORK_ROOT, Path(settings.MEDIA_ROOT)):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as fault:
            words = "Give whoever runs the site the right to write there"
            raise CommandError(f"{folder} can't be written to: {fault.strerror}. {words}.") from None
