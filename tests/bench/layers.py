"""What a token costs in each layer that it passes, without sockets: `python -m tests.bench.layers`. Prints JSON.

Knows the functions of the hot path. It is the one scenario that measures from inside: what it leaves out, which is the
loop, system calls and the two HTTP libraries, is the difference to what a token costs from outside.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable

from tests.bench.bench import Bench, Found, scenario
from tests.bench.report import Figure
from tests.bench.upstream import HEAD, TAIL, token
from tests.server import ROOT

TOKENS = 4_000
# Tokens of one flush: of an idle process, and of a busy one.
EACH = (1, 5)


@scenario("layers")
async def layers(bench: Bench) -> Found:
    """What a token costs in each layer: decoding, calls in the text, the text in flight, Markdown, frames."""
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.bench.layers"),
        cwd=ROOT,
        env={**bench.environ, "DJANGO_SETTINGS_MODULE": "agentsite.settings"},
        stdout=subprocess.PIPE,
    )
    os.sched_setaffinity(program.pid, {bench.core})
    said, _ = await program.communicate()
    assert program.returncode == 0
    return [
        Figure(scenario="layers", name=f"a token: {name}", value=value, unit="µs")
        for name, value in json.loads(said).items()
    ]


def _costs() -> dict[str, float]:
    from chat.core.ids import MessageId, RunId
    from chat.live import LiveText
    from chat.llm.call_filter import CallFilter
    from chat.llm.call_ids import CallIds
    from chat.llm.port import Chunk, ToolSpec
    from chat.llm.sse import AnswerDecoder
    from chat.llm.text_calls import CallParser
    from chat.render import highlight
    from chat.rooms import Room
    from chat.web.out_html import HtmlOut
    from chat.web.out_json import JsonOut

    pieces = [HEAD + token(number).replace("\n", "\\n").encode() + TAIL for number in range(TOKENS)]
    chunks: list[Chunk] = []
    decoder = AnswerDecoder()
    calls = CallFilter(CallParser((ToolSpec(name="run", description="", parameters={}),)), CallIds())
    through: list[Chunk] = []

    def decode() -> None:
        for piece in pieces:
            decoder.feed(piece, chunks)

    def look() -> None:
        for chunk in chunks:
            calls.take((chunk,), through)

    costs = {"decoding": _spent(decode), "looking for calls": _spent(look)}
    # As the site does when it starts.
    highlight.prepare()
    room = Room()

    def text() -> LiveText:
        return LiveText(
            room=room,
            message_id=MessageId(uuid.uuid4()),
            run_id=RunId(uuid.uuid4()),
            generation_no=1,
            opened_seq=1,
        )

    def stream(each: int, out: HtmlOut | JsonOut | None) -> float:
        live = text()

        def run() -> None:
            for number in range(0, TOKENS, each):
                for one in range(number, number + each):
                    live.append(token(one))
                if out is not None:
                    out.text(live)

        return _spent(run)

    costs["text in flight"] = plain = stream(1, None)
    for each in EACH:
        words = "a frame each" if each == 1 else f"a frame for {each}"
        costs[f"Markdown and HTML, {words}"] = stream(each, HtmlOut(frames_per_second_max=60)) - plain
        costs[f"JSON, {words}"] = stream(each, JsonOut()) - plain
    return costs


def _spent(work: Callable[[], object]) -> float:
    """CPU in µs for each token."""
    began_ns = time.process_time_ns()
    work()
    return (time.process_time_ns() - began_ns) / 1000 / TOKENS


if __name__ == "__main__":
    import django

    django.setup()
    print(json.dumps(_costs()))  # noqa: T201 - the result
