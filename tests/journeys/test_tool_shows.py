"""What a tool shows, from the sandbox to who looks on: tables, pictures that are none, how far it is."""

from __future__ import annotations

import json
import re
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path

import pytest

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import CallTool, Say
from tests.journeys.deployments import Deployment, deployed
from tests.journeys.place import Place
from tests.journeys.tooling import calling, python, serving_tools, until_output
from tests.patient import tools as patient
from tests.server import Frame, Person, ServerProcess, Wire

SHOW = """
import pandas as pd
from IPython.display import HTML, display
hostile = b"<html><script>alert(1)</script></html>"
for name in ("fake.png", "fake.jpg", "fake.gif", "page.html"):
    open(name, "wb").write(hostile)
svg = "<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'><script>alert(1)</script></svg>"
open("drawing.svg", "w").write(svg)
display({"image/png": "bm90IGEgcGljdHVyZQ==", "text/plain": "a picture"}, raw=True)
display({"image/svg+xml": "<svg onload=alert(1)/>", "text/plain": "a drawing"}, raw=True)
cell = "<td>hostile<script>alert(1)</script><img src=x onerror=alert(1)></td>"
display(HTML(f"<table onclick=alert(1)><tr>{cell}</tr></table>"))
pd.DataFrame({"sales": [4711]})
"""
# The kernel's start on a busy machine.
RUN_S = 60
pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def server(
    deployment: Deployment, upstream: ScriptedServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    """A site with tools that ask nobody."""
    folder = tmp_path_factory.mktemp("shows")
    with serving_tools(folder, upstream.base_url, deployment, AGENT_TOOL_POLICIES="execute_python=auto") as running:
        yield running


async def test_what_foreign_code_shows_is_served_so_that_nothing_of_it_runs(place: Place) -> None:
    place.answers(calling(python(SHOW)))
    async with place.socket() as wire:
        await wire.say("Show me")
        await wire.until_event("llm_response_completed", within_s=RUN_S)
        await wire.until_idle(within_s=RUN_S)
        call = next(iter(ended(wire)))
    assert call["state"] == "succeeded", call["result"]
    shown = {file["name"]: file for file in call["artifacts"]}
    assert set(shown) == {
        "table-1.html",
        "table-2.html",
        "fake.png",
        "fake.jpg",
        "fake.gif",
        "page.html",
        "drawing.svg",
    }
    for name, file in shown.items():
        assert set(file) == {"id", "url", "mime", "name", "size"}
        headers, content = served(place.person, file["url"])
        assert headers["Content-Type"] == "application/octet-stream", name
        assert headers["Content-Disposition"].startswith("attachment"), name
        assert headers["X-Content-Type-Options"] == "nosniff", name
        assert headers["Content-Security-Policy"] == "default-src 'none'; sandbox", name
        assert len(content) == file["size"]
        # Files are as the code wrote them; what the site made of HTML is harmless by itself.
        assert (b"alert(1)" in content) == (not name.startswith("table")), name
    assert served(place.person, shown["table-1.html"]["url"])[1].endswith(
        b"<table><tbody><tr><td>hostile</td></tr></tbody></table>\n"
    )
    page = place.person.get(place.path)[1]
    assert len(re.findall('class="call-table"', page)) == 2
    assert "<td>4711</td>" in page
    for file in shown.values():
        assert f'<img src="{file["url"]}"' not in page


async def test_of_a_table_the_model_is_told_the_text(place: Place) -> None:
    place.answers(calling(python(SHOW)))
    async with place.socket() as wire:
        await wire.say("Show me")
        await wire.until_event("llm_response_completed", within_s=RUN_S)
        await wire.until_idle(within_s=RUN_S)
    [told] = place.upstream.exchanges[-1].request.tool_results
    assert re.search(r"sales\n0 +4711\n", told.content)
    assert "An image was left out: neither PNG nor JPEG." in told.content
    assert "Shown to the user: table-1.html, table-2.html, " in told.content
    assert "<t" not in told.content


async def test_of_a_long_table_the_model_is_told_a_part_and_how_much_is_left_out(place: Place) -> None:
    code = "import pandas as pd\npd.set_option('display.max_rows', None)\npd.DataFrame({'number': range(5_000)})"
    place.answers(calling(python(code)))
    async with place.socket() as wire:
        await wire.say("Show me")
        await wire.until_event("llm_response_completed", within_s=RUN_S)
        await wire.until_idle(within_s=RUN_S)
    [told] = place.upstream.exchanges[-1].request.tool_results
    assert re.search(r"\n\[… [0-9,]+ of [0-9,]+ characters left out …\]\n", told.content)
    assert len(told.content) < 20_100
    assert "4999" in told.content
    assert "Shown: 200 of 5,001 rows." in place.person.get(place.path)[1]


def ended(wire: Wire) -> list[Frame]:
    """The calls as they are now."""
    calls = {call["call_id"]: call for frame in wire.frames for call in frame.get("tool_calls", ())}
    return list(calls.values())


def served(person: Person, path: str) -> tuple[Message, bytes]:
    """Headers and content of a file."""
    cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in person.cookies)
    request = urllib.request.Request(person.base + path, headers={"Cookie": cookies})
    with urllib.request.urlopen(request, timeout=30) as response:
        headers: Message = response.headers
        return headers, response.read()


# How far a tool is


async def told_progress(wire: Wire) -> tuple[float | None, str]:
    frame = await wire.until(lambda frame: frame["type"] == "tool_progress")
    assert set(frame) == {"type", "call_id", "fraction", "text"}
    return frame["fraction"], frame["text"]


async def test_how_far_a_tool_is_is_told_live_and_to_who_comes_later(
    deployment: Deployment, upstream: ScriptedServer, tmp_path: Path
) -> None:
    with deployed(deployment, tmp_path, upstream=upstream.base_url, **patient.environ(tmp_path)) as site:
        person = Person(site.base).log_in()
        here = Place(server=site, upstream=upstream, person=person, conversation=person.new_conversation())
        upstream.exchanges.clear()
        here.answers(lambda request: (Say(text="Up."),) if request.tool_results else (CallTool(name="climb"),))
        async with here.socket() as wire:
            await wire.say("Climb")
            assert await told_progress(wire) == (0.0, "step 0 of <4>")
            for number in range(patient.STEPS - 1):
                patient.open_gate(tmp_path, number)
                assert await told_progress(wire) == ((number + 1) / 4, f"step {number + 1} of <4>")
            async with here.socket() as late:
                assert (await until_output(late))["text"] == "on step 0\n"
                assert await told_progress(late) == (0.75, "step 3 of <4>")
                patient.open_gate(tmp_path, 3)
                assert await told_progress(late) == await told_progress(wire) == (None, "looking around")
                patient.open_gate(tmp_path, 4)
                await late.until_idle()
            await wire.until_idle()
        [call] = ended(wire)
        assert (call["state"], call["result"]) == ("succeeded", "up")
        export = json.dumps(here.export())
        assert "looking around" not in export
        assert "looking around" not in person.get(here.path)[1]
