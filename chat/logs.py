"""What a line of the log is about, and its forms: text for people, JSON for programs.

Knows ids, and which values are secret. Must not know, and never writes, what anybody said: what a fault quotes of it is
left out.
"""

from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

HIDDEN = "[secret]"
# From this status on, a request that failed is the server's fault.
OUR_FAULT = 500
# Those that a terminal obeys.
CONTROL_CHARACTERS = {code: f"\\x{code:02x}" for code in (*range(9), *range(10, 32), *range(127, 160))}
# What PostgreSQL puts before the values that a fault is about: the row that it refused, with all its text.
DETAILS = "DETAIL:"

# The conversation, run and order that the current task works for: names to ids.
_about: ContextVar[dict[str, object] | None] = ContextVar("about", default=None)


def about(**ids: object) -> None:
    """From now on, lines of this task and of those that it starts are about these."""
    _about.set((_about.get() or {}) | ids)


class About(logging.Filter):
    """Notes on each line what it is about."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Never leaves one out."""
        record.about = {name: str(value) for name, value in (_about.get() or {}).items()}
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


class _Discreet(logging.Formatter):
    """Leaves out what faults quote, and secrets, as they are and as they stand in addresses."""

    def __init__(self, *words: Any, secrets: Iterable[str] = (), **named: Any) -> None:
        super().__init__(*words, **named)
        forms = {form for secret in secrets for form in (secret, quote(secret, safe=""))}
        # The longest first: one may be a part of another.
        self._secrets = sorted(forms, key=len, reverse=True)

    def hidden(self, text: str) -> str:
        """The text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the library's name
        """Where it happened, and the first line of what each fault says."""
        return "\n".join(_told(ei[1])) if ei[1] is not None else ""


class TextFormatter(_Discreet):
    """Lines for people, and tracebacks below them. Messages and tracebacks quote what other programs said."""

    def format(self, record: logging.LogRecord) -> str:
        """The text."""
        if DETAILS in str(record.msg) + str(record.args):
            record.msg, record.args = record.getMessage().partition(DETAILS)[0], None
        # What a browser sent must not look like a line of its own.
        lines = self.hidden(super().format(record)).split("\n")
        return "\n    ".join(line.translate(CONTROL_CHARACTERS) for line in lines)


class JsonFormatter(_Discreet):
    """One object a line: time, level, logger, message, the ids that it is about, and a traceback where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": datetime.fromtimestamp(record.created, tz=UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": self.hidden(record.getMessage().partition(DETAILS)[0]),
            **getattr(record, "about", {}),
        }
        if record.exc_info:
            line["traceback"] = self.hidden(self.formatException(record.exc_info))
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
    # Not cut short here: a secret that is cut in two is not found any more.
    yield f"{type(fault).__qualname__}: {said}"
    if isinstance(fault, BaseExceptionGroup):
        for each in fault.exceptions:
            yield from _told(each)
