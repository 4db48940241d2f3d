"""What a line of the log is about, and its form as JSON.

Knows ids. Must not know, and never writes, what anybody said.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

# What PostgreSQL puts before the values that a fault is about.
DETAILS = "DETAIL:"
# Of what a fault says; enough to know it by.
FAULT_MAX_CHARACTERS = 300

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


class DiscreetFormatter(logging.Formatter):
    """As text, without what a fault quotes: PostgreSQL's details hold the row that it refused, with all its text."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and a traceback where there is one."""
        if DETAILS in str(record.msg) + str(record.args):
            record.msg, record.args = record.getMessage().partition(DETAILS)[0], None
        return super().format(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the library's name
        """Where it happened, and the first line of what each fault says."""
        return "\n".join(_told(ei[1])) if ei[1] is not None else ""


class JsonFormatter(DiscreetFormatter):
    """One object a line: time, level, logger, message, the ids that it is about, and a traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage().partition(DETAILS)[0],
            **getattr(record, "about", {}),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False)


def _told(fault: BaseException) -> Iterator[str]:
    """A fault, behind those that led to it."""
    before = fault.__cause__ or (None if fault.__suppress_context__ else fault.__context__)
    if before is not None:
        yield from _told(before)
        yield "This led to another fault:"
    yield "Traceback (most recent call last):"
    yield from (frame.rstrip() for frame in traceback.format_tb(fault.__traceback__))
    said = str(fault).strip().partition("\n")[0].partition(DETAILS)[0]
    yield f"{type(fault).__qualname__}: {said}"[:FAULT_MAX_CHARACTERS]
    if isinstance(fault, BaseExceptionGroup):
        for each in fault.exceptions:
            yield from _told(each)
