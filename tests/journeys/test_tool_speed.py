"""How long it takes from a yes to the first output, and to a chart, as a person's own socket sees it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from chat.llm.scripted import ScriptedServer
from tests.journeys import figures
from tests.journeys.place import Place
from tests.journeys.tooling import (
    ModelCall,
    approve,
    calling,
    proposed,
    python,
    serving_tools,
    shell,
    until_output,
    until_state,
)
from tests.server import ServerProcess, Wire

TIMES = 10
CHART = "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3], [2, 4, {number}])\nplt.title('Sales')\nplt.show()"


@pytest.fixture(scope="module")
def server(upstream: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A site with tools."""
    with serving_tools(tmp_path_factory.mktemp("tool-speed"), upstream.base_url) as running:
        yield running


async def first_output_s(place: Place, wire: Wire, call: ModelCall, output: str) -> float:
    """Seconds from the yes to the first piece of output, which is this."""
    place.answers(calling(call))
    await wire.say("Run it.")
    (waiting,) = await proposed(wire)
    sent_at_s = time.monotonic()
    await approve(wire, waiting)
    frame = await until_output(wire)
    took_s = time.monotonic() - sent_at_s
    assert (frame["call_id"], frame["stream"], frame["offset"]) == (waiting["call_id"], "stdout", 0)
    assert frame["text"].strip() == output
    await wire.until_idle()
    return took_s


async def test_the_first_output_of_a_line_comes_at_once(place: Place) -> None:
    async with place.socket() as wire:
        cold_s = await first_output_s(place, wire, python("print('warm')"), "warm")
        cells_s = [
            await first_output_s(place, wire, python(f"print({number})"), f"{number}") for number in range(TIMES)
        ]
        commands_s = [
            await first_output_s(place, wire, shell(f"echo {number}"), f"{number}") for number in range(TIMES)
        ]
    figures.show_times("from the yes to the first output: the first cell of a server that has just started", [cold_s])
    figures.show_times("from the yes to the first output: a cell in a warm kernel", cells_s)
    figures.show_times("from the yes to the first output: a command", commands_s)


async def test_a_chart_comes_soon(place: Place) -> None:
    took_s: list[float] = []
    async with place.socket() as wire:
        await first_output_s(place, wire, python("print('warm')"), "warm")
        for number in range(TIMES):
            place.answers(calling(python(CHART.format(number=number))))
            await wire.say("Draw it.")
            (waiting,) = await proposed(wire)
            sent_at_s = time.monotonic()
            await approve(wire, waiting)
            done = await until_state(wire, waiting, "succeeded")
            took_s.append(time.monotonic() - sent_at_s)
            assert [artifact["mime"] for artifact in done["artifacts"]] == ["image/png"]
            await wire.until_idle()
    figures.show(f"the first chart of a kernel: {took_s[0] * 1000:.1f} ms")
    figures.show_times("from the yes to a chart in a warm kernel", took_s)
