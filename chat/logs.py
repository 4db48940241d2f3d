"""What a line of the log is about, and its form as JSON.

Knows ids. Must not know, and never writes, what anybody said.
"""

from __future__ import annotations

import json
import logging
from contextvars import ContextVar
from datetime import UTC, datetime

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


class JsonFormatter(logging.Formatter):
    """One object a line: time, level, logger, message, the ids that it is about, and a traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **getattr(record, "about", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)
