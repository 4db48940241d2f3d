"""What becomes of an execution: words for the model, tables, pictures and files for the person."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from chat.core.ids import CallId, ConversationId
from chat.tools import workshop
from chat.tools.registry import ToolFailedError, ToolResult
from chat.tools.sandbox import availability
from chat.tools.sandbox.availability import Unavailable
from chat.tools.sandbox.execution import Collector
from chat.tools.sandbox.folder import WorkFolder
from chat.tools.sandbox.messages import Display, Result, Shown
from chat.tools.sandbox.pool import Sandbox
from chat.tools.sandbox.values import Html, Limits, Outcome, SandboxSettings, Status, WorkFile

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
TABLE = "<div><style scoped>td{}</style><table><tr><th>sales</th></tr><tr><td>4711</td></tr></table></div>"
NOWHERE = Unavailable(reason="There are no walls.", remedy="Build some.")


class Context:
    """A call that nobody looks at."""

    conversation_id = ConversationId(UUID(int=1))
    call_id = CallId(UUID(int=2))

    def output(self, text: str, *, stream: str = "stdout") -> None:
        """Nobody sees it."""

    def progress(self, fraction: float | None, words: str = "") -> None:
        """Nobody sees it."""


async def result(folder: Path, said: str = "", **fields: Any) -> ToolResult:
    heard = workshop.Listener(Context())
    heard("stdout", said)
    return await workshop.result_of(WorkFolder(folder), Outcome(**{"status": Status.SUCCEEDED} | fields), heard)


def written(folder: Path, **files: bytes) -> tuple[WorkFile, ...]:
    for name, data in files.items():
        (folder / name.replace("_", ".")).write_bytes(data)
    return tuple(WorkFile(name=name.replace("_", "."), size_bytes=0, is_new=True) for name in files)


async def test_a_table_is_text_for_the_model_and_a_table_for_the_person(tmp_path: Path) -> None:
    made = await result(tmp_path, result="   sales\n0   4711", html=(Html(untrusted=TABLE),))
    assert made.text == "   sales\n0   4711\nShown to the user: table-1.html"
    [file] = made.files
    assert (file.name, file.mime, file.html) == ("table-1.html", "text/html", TABLE)
    assert file.data.decode() == (
        '<!doctype html>\n<meta charset="utf-8">\n'
        "<table><tbody><tr><th>sales</th></tr><tr><td>4711</td></tr></tbody></table>\n"
    )


async def test_the_file_of_a_long_table_has_all_of_it(tmp_path: Path) -> None:
    rows = "".join(f"<tr><td>{number}</td></tr>" for number in range(3_000))
    made = await result(tmp_path, html=(Html(untrusted=f"<table>{rows}</table>"),))
    assert made.files[0].data.count(b"<tr>") == 3_000


async def test_html_without_anything_to_see_is_no_file_and_the_model_is_told(tmp_path: Path) -> None:
    hostile = Html(untrusted="<script>alert(1)</script><img src=x onerror=alert(1)>")
    made = await result(tmp_path, html=(hostile, Html(untrusted=TABLE)))
    assert [file.name for file in made.files] == ["table-1.html"]
    assert made.text.startswith("Some HTML is not shown: ")


async def test_a_picture_is_one_only_when_it_is_one(tmp_path: Path) -> None:
    page = b"<html><script>alert(1)</script></html>"
    files = written(
        tmp_path,
        real_png=PNG,
        fake_png=page,
        fake_jpg=page,
        fake_gif=page,
        fake_webp=page,
        real_gif=b"GIF89a\1\0\1\0\0\0\0;",
        huge_png=PNG[:16] + (1 << 30).to_bytes(4, "big") + PNG[20:],
        drawing_svg=b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        page_html=page,
    )
    made = await result(tmp_path, files=files)
    assert {file.name: file.mime for file in made.files} == {
        "real.png": "image/png",
        "fake.png": "application/octet-stream",
        "fake.jpg": "application/octet-stream",
        "fake.gif": "application/octet-stream",
        "fake.webp": "application/octet-stream",
        "real.gif": "image/gif",
        "huge.png": "application/octet-stream",
        "drawing.svg": "image/svg+xml",
        "page.html": "text/html",
    }
    assert not any(file.html for file in made.files)


# What an execution says of tables


def told(limits: Limits, *shown: Display | Result) -> tuple[Collector, str]:
    said: list[str] = []
    collector = Collector(limits, lambda _, text: said.append(text))
    for each in shown:
        collector.take(each)
    return collector, "".join(said)


def test_a_displayed_table_is_said_as_text_in_its_place_and_a_result_is_the_result() -> None:
    shown = Shown(text="a table", html=TABLE)
    collector, said = told(Limits(), Display(data=shown), Display(data=Shown(text="b")), Result(data=shown))
    assert (said, collector.result) == ("a table\nb\n", "a table")
    assert [html.untrusted for html in collector.html] == [TABLE, TABLE]


def test_more_html_than_fits_is_cut_and_then_left_out_with_a_note() -> None:
    shown = Display(data=Shown(text="text", html="<table>" + "x" * 100))
    collector, said = told(Limits(html_max_chars=150), shown, shown, shown)
    assert [len(html.untrusted) for html in collector.html] == [107, 43]
    assert said == "text\n" * 3
    assert list(collector.notes) == ["There was more HTML than can be shown: of the rest, only its text is there."]


# Where code is executed


@pytest.fixture
def closed() -> Iterator[None]:
    """Nothing is open before and after."""
    workshop.open_for(None)
    yield
    workshop.open_for(None)


@pytest.mark.usefixtures("closed")
async def test_a_call_that_comes_before_it_is_known_whether_code_can_be_executed_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_find = asyncio.Event()

    async def find_out(venv: Path) -> Unavailable:
        await may_find.wait()
        return NOWHERE

    monkeypatch.setattr(availability, "find_out", find_out)
    with pytest.raises(ToolFailedError, match="not running"):
        await workshop.sandbox()
    sandbox = Sandbox(SandboxSettings(work_root=tmp_path, venv=tmp_path))
    workshop.open_for(sandbox)
    starting = asyncio.create_task(sandbox.start())
    asking = asyncio.create_task(workshop.sandbox())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not asking.done()
    assert workshop.why_off() == ""
    may_find.set()
    with pytest.raises(ToolFailedError, match=r"Code execution is off. There are no walls. Build some."):
        await asking
    assert await starting is NOWHERE
    assert workshop.why_off() == "There are no walls. Build some."
    await sandbox.close()


@pytest.mark.usefixtures("closed")
async def test_a_sandbox_that_can_not_start_lets_nobody_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def find_out(venv: Path) -> Unavailable:
        raise OSError("the disk is full")

    monkeypatch.setattr(availability, "find_out", find_out)
    sandbox = Sandbox(SandboxSettings(work_root=tmp_path, venv=tmp_path))
    workshop.open_for(sandbox)
    with pytest.raises(OSError, match="the disk is full"):
        await sandbox.start()
    with pytest.raises(ToolFailedError, match="The server's log says why"):
        await workshop.sandbox()
