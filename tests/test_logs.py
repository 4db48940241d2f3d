"""Lines of the log: what they are about, and that they are one JSON object each."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from typing import Any
from urllib.parse import quote

import pytest
from django.conf import settings

from chat import logs


def line(message: str, *words: object, exc_info: bool = False) -> dict[str, str]:
    record = logging.LogRecord(
        "chat.runner", logging.WARNING, __file__, 1, message, words, sys.exc_info() if exc_info else None
    )
    assert logs.About().filter(record)
    text = logs.JsonFormatter().format(record)
    assert "\n" not in text
    found: dict[str, str] = json.loads(text)
    return found


async def test_a_line_names_the_conversation_and_run_that_its_task_works_for() -> None:
    async def work(number: int) -> dict[str, str]:
        logs.about(conversation=f"c{number}")
        await asyncio.sleep(0)
        logs.about(run=f"r{number}")
        return line("something of %s", number)

    first, second = await asyncio.gather(work(1), work(2))
    assert (first["conversation"], first["run"], first["message"]) == ("c1", "r1", "something of 1")
    assert (second["conversation"], second["run"]) == ("c2", "r2")
    assert "conversation" not in line("something else")


def test_a_fault_is_one_line_with_its_traceback() -> None:
    try:
        raise ZeroDivisionError("a bug")
    except ZeroDivisionError:
        found = line("It failed", exc_info=True)
    assert (found["level"], found["logger"]) == ("WARNING", "chat.runner")
    assert "ZeroDivisionError: a bug" in found["traceback"]


SECRETS = ("sk-a-key-of-16-chars", "sk-a-key-of-16", "p@ss/word of a database")


def written(formatter: logging.Formatter, message: str, error: Exception | None = None, name: str = "x") -> str:
    try:
        raise error or ValueError
    except Exception:
        held = sys.exc_info() if error else None
    record = logging.LogRecord(name, logging.ERROR, __file__, 1, message, (), held)
    assert logs.Brief().filter(record)
    return formatter.format(record)


@pytest.mark.parametrize("formatter", [logs.TextFormatter(secrets=SECRETS), logs.JsonFormatter(secrets=SECRETS)])
def test_no_line_holds_a_secret_whoever_put_it_into_a_message_or_an_error(formatter: logging.Formatter) -> None:
    said = "; ".join((*SECRETS, *(quote(secret, safe="") for secret in SECRETS)))
    text = written(formatter, f"It said: {said}", OSError(f"no answer from {said}"))
    assert not any(secret in text or quote(secret, safe="") in text for secret in SECRETS)
    assert "chars" not in text
    assert text.count(logs.HIDDEN) == 12
    assert "no answer from" in text


def test_what_a_stranger_sent_can_not_pass_for_lines_of_our_own() -> None:
    text = written(logs.TextFormatter("%(levelname)s %(message)s"), "Not found: /x\nERROR all is lost\x1b[2J\x9b\r\x07")
    first, second = text.split("\n")
    assert first == "ERROR Not found: /x"
    assert second == "    ERROR all is lost\\x1b[2J\\x9b\\x0d\\x07"


def test_what_a_stranger_sent_is_no_error_of_ours() -> None:
    formatter = logs.TextFormatter("%(levelname)s %(message)s")
    suspicious = written(formatter, "Invalid HTTP_HOST header", OSError("x"), name="django.security.DisallowedHost")
    assert suspicious == "WARNING Invalid HTTP_HOST header"
    assert "Traceback" in written(formatter, "A bug", OSError("x"))


def test_the_sites_own_log_is_made_so() -> None:
    made: Any = settings.LOGGING
    assert {"about", "brief"} <= set(made["handlers"]["stderr"]["filters"])
    for form in made["formatters"].values():
        assert settings.SECRET_KEY in form["secrets"]


@pytest.mark.parametrize("formatter", [logs.JsonFormatter(), logs.TextFormatter("{levelname} {message}", style="{")])
def test_what_a_fault_quotes_is_not_written(formatter: logging.Formatter) -> None:
    # Not in the lines that a traceback shows.
    secret = "zebra"
    quoting = RuntimeError(f"It is refused.\nDETAIL:  Failing row contains (1, {secret}).")
    other = ValueError(f"beyond\n{secret}")
    try:
        try:
            raise quoting
        except RuntimeError as fault:
            raise ExceptionGroup("several", [other, KeyError("which")]) from fault
    except ExceptionGroup:
        record = logging.LogRecord("chat", logging.ERROR, __file__, 1, "%s failed: %r", (7, quoting), sys.exc_info())
    text = formatter.format(record)
    assert secret not in text
    for kept in (
        "7 failed: RuntimeError('It is refused.",
        "RuntimeError: It is refused.",
        "ExceptionGroup: several",
        "ValueError: beyond",
        "KeyError: 'which'",
        "test_logs.py",
    ):
        assert kept in text
