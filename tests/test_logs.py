"""Lines of the log: what they are about, and that they are one JSON object each."""

from __future__ import annotations

import asyncio
import json
import logging
import sys

import pytest

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


@pytest.mark.parametrize(
    "formatter", [logs.JsonFormatter(), logs.DiscreetFormatter("{levelname} {message}", style="{")]
)
def test_what_a_fault_quotes_is_not_written(formatter: logging.Formatter) -> None:
    # Not in the lines that a traceback shows.
    secret = "zebra"
    quoting = RuntimeError(f"It is refused.\nDETAIL:  Failing row contains (1, {secret}).")
    other = ValueError(f"beyond\n{secret}")
    try:
        try:
            raise quoting
        except RuntimeError as fault:
            raise ExceptionGroup("several", [other, KeyError("a" * 1000)]) from fault
    except ExceptionGroup:
        record = logging.LogRecord("chat", logging.ERROR, __file__, 1, "%s failed: %r", (7, quoting), sys.exc_info())
    text = formatter.format(record)
    assert secret not in text
    for kept in (
        "7 failed: RuntimeError('It is refused.",
        "RuntimeError: It is refused.",
        "ExceptionGroup: several",
        "ValueError: beyond",
        "KeyError: 'aaa",
        "test_logs.py",
    ):
        assert kept in text
    assert len(text) < 3000
