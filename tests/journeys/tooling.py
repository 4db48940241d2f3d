"""Tool calls in journeys: a model that makes them, what they leave on the disk, and what of them runs.

Knows sockets, work folders, the database and /proc, all from outside. Must not know how a call is run.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import uuid
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psycopg

from chat.llm.scripted_steps import CallTool, Say, Script, ScriptedRequest, Step
from chat.tools.sandbox import install
from chat.tools.sandbox.availability import Unavailable, find_out
from tests.journeys.deployments import Deployment, Embedded
from tests.journeys.serving import serving
from tests.needs import missing
from tests.processes import running
from tests.server import ROOT, Frame, ServerProcess, Wire

WORK_ROOT = ROOT / "var" / "work"
# Its rows only say who lives, and are written every second.
HEARTBEATS = "chat_process"

Dialect = Literal["native", "text"]
DIALECTS: tuple[Dialect, ...] = ("native", "text")


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCall:
    """A call that the model makes."""

    tool: str
    arguments: dict[str, str]


def shell(command: str) -> ModelCall:
    """A command line."""
    return ModelCall(tool="run_shell", arguments={"command": command})


def python(code: str) -> ModelCall:
    """A cell."""
    return ModelCall(tool="execute_python", arguments={"code": code})


def steps_of(calls: Sequence[ModelCall], dialect: Dialect = "native") -> tuple[Step, ...]:
    """An answer that makes these calls."""
    if dialect == "native":
        return tuple(CallTool(name=call.tool, arguments=json.dumps(call.arguments)) for call in calls)
    return (Say(text="\n".join(("<function_calls>", *map(_invoke, calls), "</function_calls>"))),)


def _invoke(call: ModelCall) -> str:
    parameters = (f'<parameter name="{name}">\n{value}\n</parameter>' for name, value in call.arguments.items())
    return "\n".join((f'<invoke name="{call.tool}">', *parameters, "</invoke>"))


def calling(*calls: ModelCall, dialect: Dialect = "native", then: Sequence[Step] = (Say(text="Done."),)) -> Script:
    """A model that makes these calls on each message, and says `then` once it has their results."""
    steps = steps_of(calls, dialect)

    def script(request: ScriptedRequest) -> Sequence[Step]:
        return then if request.tool_results else steps

    return script


async def proposed(wire: Wire) -> list[Frame]:
    """The calls that wait for a yes, once there are some."""
    frame = await wire.until(lambda frame: frame.get("phase") == "awaiting_approval")
    return [call for call in frame["tool_calls"] if call["state"] == "proposed"]


async def approve(wire: Wire, call: Frame, **fields: Any) -> None:
    """Say yes to what is shown."""
    await wire.send(type="approve", call_id=call["call_id"], digest=call["digest"], **fields)


async def until_state(wire: Wire, call: Frame, state: str) -> Frame:
    """The call, once it is in this state."""

    def has(frame: Frame) -> bool:
        return any((one["call_id"], one["state"]) == (call["call_id"], state) for one in frame.get("tool_calls", ()))

    frame = await wire.until(has)
    return next(one for one in frame["tool_calls"] if one["call_id"] == call["call_id"])


async def until_output(wire: Wire) -> Frame:
    """The next piece of what a tool prints."""
    return await wire.until(lambda frame: frame["type"] == "tool_output_delta")


def calls_of(wire: Wire) -> dict[str, Frame]:
    """What this socket knows of each call, by its id."""
    return {call["call_id"]: call for frame in wire.frames for call in frame.get("tool_calls", ())}


class Ledger:
    """A file in a conversation's work folder to which each execution adds a line: what really ran, and how often."""

    # Hidden, so that no copy of it is kept for each call.
    NAME = ".runs"

    def __init__(self, conversation: str) -> None:
        self.folder = WORK_ROOT / conversation

    @property
    def lines(self) -> list[str]:
        """One for each execution, in order."""
        try:
            return (self.folder / self.NAME).read_text().splitlines()
        except FileNotFoundError:
            return []

    def note(self, name: str) -> str:
        """The command that adds a line of this name, and says so."""
        return f"echo {name} >> {self.NAME}; echo {name}"

    def wait_for(self, gate: str) -> str:
        """The command that waits for a gate."""
        return f"until [ -e .{gate} ]; do sleep 0.02; done"

    def open(self, gate: str) -> None:
        """Let those go on who wait for it."""
        (self.folder / f".{gate}").touch()


def rows(server: ServerProcess) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of the site's tables, as another program reads them."""
    url = server.environ["DATABASE_URL"]
    if url.startswith("postgres"):
        names, parameters = "SELECT tablename FROM pg_tables WHERE tablename LIKE %s", ("chat_%",)
        with psycopg.connect(url) as database:
            return _tables(database.execute, database.execute(names, parameters).fetchall())
    with closing(sqlite3.connect(f"file:{server.folder}/db.sqlite3?mode=ro", uri=True)) as database:
        names = "SELECT name FROM sqlite_master WHERE type = 'table' AND name LIKE 'chat_%'"
        return _tables(database.execute, database.execute(names).fetchall())


def _tables(execute: Callable[[Any], Any], names: list[Any]) -> dict[str, list[tuple[Any, ...]]]:
    tables = {name for (name,) in names} - {HEARTBEATS}
    # A frame takes its part of the pace also when it is refused.
    some = {"chat_tally": "WHERE kind <> 'frames'"}
    return {
        name: execute(f"SELECT * FROM {name} {some.get(name, '')} ORDER BY 1").fetchall() for name in sorted(tables)
    }


def can_execute_code() -> None:
    """Skips, or fails with CI=true, where no code can be executed."""
    install.install()
    found = asyncio.run(find_out(install.PLACE))
    if isinstance(found, Unavailable):
        missing(f"{found.reason} {found.remedy}")


def site_with_tools(folder: Path, upstream: str, **settings: str) -> ServerProcess:
    """A site of one process whose rows can be looked at; not started."""
    can_execute_code()
    database_url = f"sqlite:///{folder}/db.sqlite3"
    return ServerProcess(folder, upstream=upstream, command=None, DATABASE_URL=database_url, **settings)


@contextmanager
def serving_tools(
    folder: Path, upstream: str, deployment: Deployment | None = None, **settings: str
) -> Iterator[ServerProcess]:
    """The same, deployed in one way or the other, started, and seen to end well."""
    can_execute_code()
    with (
        (deployment or Embedded()).site(folder, upstream=upstream, **settings) as site,
        leaving_nothing(site),
        serving(site),
    ):
        yield site


@contextmanager
def leaving_nothing(server: ServerProcess) -> Iterator[None]:
    """At the end, remove the work folders of its conversations."""
    try:
        yield
    finally:
        server.close()
        is_there = "sqlite" not in server.environ["DATABASE_URL"] or (server.folder / "db.sqlite3").exists()
        known = rows(server).get("chat_conversation", []) if is_there else []
        for conversation, *_ in known:
            shutil.rmtree(WORK_ROOT / str(uuid.UUID(str(conversation))), ignore_errors=True)


def marked(marker: str) -> list[int]:
    """The processes that have this in their name, command line or environment."""
    return [pid for pid, each in running().items() if marker.encode() in each.words]


def own_folders(server: ServerProcess) -> set[Path]:
    """The folder that this server's process has for kernels that wait for a conversation."""
    held: set[Path] = set()
    for link in Path(f"/proc/{server.pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            held.add(Path(os.readlink(link)))
    return {path.parent for path in held if path.is_relative_to(WORK_ROOT) and path.name == "lock"}


def at_work_in(folders: Collection[Path]) -> list[int]:
    """The processes that hold or were given one of these folders: sandboxes, and who waits to become one."""
    names = [str(folder).encode() for folder in folders]
    return [pid for pid, each in running().items() if any(name in each.words for name in names)]
