"""What a line of the log is about, its form as text and as JSON, and what no line may hold.

Knows ids, and which words are secret. Must not know, and never writes, what anybody said.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

HIDDEN = "[secret]"
# From this status on, a request that failed is the server's fault.
OUR_FAULT = 500
# Those that a terminal obeys.
CONTROL_CHARACTERS = {code: f"\\x{code:02x}" for code in (*range(9), *range(10, 32), *range(127, 160))}

# The conversation, run and order that the current task works for: names to ids.
_about: ContextVar[dict[str, str] | None] = ContextVar("about", default=None)


def about(**ids: object) -> None:
    """From now on, lines of this task and of those that it starts are about these."""
    _about.set((_about.get() or {}) | {name: str(value) for name, value in ids.items()})


class About(logging.Filter):
    """Notes on each line what it is about."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Never leaves one out."""
        record.about = _about.get() or {}
        return True


class Brief(logging.Filter):
    """What a stranger sent is no error of ours: one line without a traceback says it."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Never leaves one out."""
        is_request = record.name == "django.request" and getattr(record, "status_code", OUR_FAULT) < OUR_FAULT
        if is_request or record.name.startswith("django.security"):
            record.levelno, record.levelname = logging.WARNING, logging.getLevelName(logging.WARNING)
            record.exc_info = record.exc_text = None
        return True


class _Hidden:
    """Takes secrets out of a text, as they are and as they stand in addresses."""

    def __init__(self, secrets: Iterable[str]) -> None:
        self._secrets = sorted({form for secret in secrets for form in (secret, quote(secret, safe=""))}, key=len)

    def __call__(self, text: str) -> str:
        # The longest first: one may be a part of another.
        for secret in reversed(self._secrets):
            text = text.replace(secret, HIDDEN)
        return text


class TextFormatter(logging.Formatter):
    """Lines for people, and tracebacks below them. Messages and tracebacks quote what other programs said."""

    def __init__(self, *words: Any, secrets: Iterable[str] = (), **named: Any) -> None:
        super().__init__(*words, **named)
        self._hidden = _Hidden(secrets)

    def format(self, record: logging.LogRecord) -> str:
        """The text."""
        # What a browser sent must not look like a line of its own.
        lines = self._hidden(super().format(record)).split("\n")
        return "\n    ".join(line.translate(CONTROL_CHARACTERS) for line in lines)


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message, the ids that it is about, and a traceback where there is one."""

    def __init__(self, *words: Any, secrets: Iterable[str] = (), **named: Any) -> None:
        super().__init__(*words, **named)
        self._hidden = _Hidden(secrets)

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": self._hidden(record.getMessage()),
            **getattr(record, "about", {}),
        }
        if record.exc_info:
            line["traceback"] = self._hidden(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)
