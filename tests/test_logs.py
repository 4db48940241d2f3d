"""Lines of the log: what they are about, and that they are one JSON object each."""

from __future__ import annotations

import asyncio
import json
import logging
import sys

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
