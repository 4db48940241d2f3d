"""A whole server as a process of its own, as people start it, and ways to talk with it over real HTTP and sockets."""

from __future__ import annotations

import asyncio
import http.cookiejar
import json
import os
import random
import re
import resource
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Origin

from tests.processes import Spawned, wait_until

ROOT = Path(__file__).resolve().parent.parent
PASSWORD = "a password for tests"
OWN_ORIGIN = "the page's own"
BOUNDARY = "the-limit-of-a-part-of-a-form"
# Far more than any command takes; it only ends one that would stay.
COMMAND_TIMEOUT_S = 60
# The lowest port that a kernel gives to connections, where it does not say.
USUALLY_GIVEN_FROM = 32_768
Frame = dict[str, Any]


def free_port() -> int:
    """A port on which nobody listens at this moment, and that the kernel gives to no connection meanwhile."""
    given = Path("/proc/sys/net/ipv4/ip_local_port_range")
    first_given = int(given.read_text().split()[0]) if given.exists() else USUALLY_GIVEN_FROM
    while True:
        port = random.randrange(10_000, first_given)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class ServerProcess(Spawned):
    """`manage.py serve` on a database of its own. Can be killed and started again.

    upstream: the base URL of the model server; empty for the built-in demo.
    command: what to run instead, in words for which `{port}` and `{folder}` are filled in.
    settings: further environment variables.
    """

    def __init__(self, folder: Path, *, upstream: str = "", command: list[str] | None = None, **settings: str) -> None:
        self.port = free_port()
        self.base = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        words = command or [sys.executable, "manage.py", "serve", "--port", "{port}"]
        super().__init__(
            [word.format(port=self.port, folder=folder) for word in words],
            folder=ROOT,
            environ={
                **{name: value for name, value in os.environ.items() if not name.startswith(("AGENT_", "OPENAI_"))},
                "DATABASE_URL": os.environ.get("TEST_DATABASE_URL") or f"sqlite:///{folder / 'db.sqlite3'}",
                "OPENAI_BASE_URL": upstream,
                "OPENAI_API_KEY": "test-key" if upstream else "",
                "ADMIN_PASSWORD": PASSWORD,
                "SECRET_KEY": "a secret key of the tests, long enough for Django",
                "PYTHONUNBUFFERED": "1",
                **settings,
            },
            log=folder / "server.log",
        )

    def start(self, *, within_s: float = 30, path: str = "/readyz") -> None:
        """Come up; returns when it answers at this path."""
        self.launch()
        wait_until(lambda: self.answers(path), within_s=within_s, what=f"the server to answer; see {self.log}")

    def answers(self, path: str) -> bool:
        """Whether it says at this path that all is well. Fails when it has ended by itself."""
        if not self.is_running:
            raise AssertionError(f"the server ended by itself:\n{self.log_text}")
        try:
            with urllib.request.urlopen(f"{self.base}{path}", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    @contextmanager
    def without_room(self) -> Iterator[None]:
        """Meanwhile none of its files grows, so that SQLite has nowhere to write."""
        with closing(sqlite3.connect(self.folder / "db.sqlite3")) as database:
            # What is written next is put behind the rest of the WAL, and not into room that it had before.
            wait_until(
                lambda: database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0,
                within_s=20,
                what="the WAL to begin anew",
            )
            database.executescript(
                "CREATE TABLE ballast (bytes BLOB); INSERT INTO ballast VALUES (zeroblob(1000000)); DROP TABLE ballast"
            )
        size = (self.folder / "db.sqlite3-wal").stat().st_size
        before = resource.prlimit(self.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.pid, resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.prlimit(self.pid, resource.RLIMIT_FSIZE, before)

    @property
    def memory_mb(self) -> float:
        """What it holds in memory now (resident set), in MiB."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) / 1024

    def manage(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run another management command on the same database."""
        return subprocess.run(
            [sys.executable, "manage.py", *words],
            cwd=ROOT,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=COMMAND_TIMEOUT_S,
        )


class Person:
    """Somebody with a browser's cookies."""

    def __init__(self, base: str) -> None:
        self.base = base
        self.cookies = http.cookiejar.CookieJar()
        # Where the last request ended, after redirects.
        self.place = ""
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(self.cookies))

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of a page; redirects are followed."""
        return self._open(urllib.request.Request(self.base + path))

    def post(self, path: str, **fields: str) -> tuple[int, str]:
        """Send a form, with its protection against forgery."""
        if not self._cookie("csrftoken"):
            self.get("/accounts/login/")
        token = self._cookie("csrftoken")
        body = urllib.parse.urlencode({**fields, "csrfmiddlewaretoken": token}).encode()
        return self._open(urllib.request.Request(self.base + path, body, {"Referer": self.base}))

    def upload(self, conversation: str, name: str, content: bytes) -> tuple[int, str]:
        """Send a file into a conversation; status and text of the answer."""
        request = urllib.request.Request(f"{self.base}/c/{conversation}/files/", self.form_with(name, content))
        request.add_header("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
        request.add_header("Referer", self.base)
        return self._open(request)

    def form_with(self, name: str, content: bytes) -> bytes:
        """The body of the form that sends a file."""
        if not self._cookie("csrftoken"):
            self.get("/accounts/login/")
        part = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n'
        token = (part % ("csrfmiddlewaretoken", "") + self._cookie("csrftoken")).encode()
        file = (part % ("file", f"; filename*=UTF-8''{urllib.parse.quote(name)}")).encode()
        return b"%b\r\n%b%b\r\n--%b--\r\n" % (token, file, content, BOUNDARY.encode())

    def delete(self, path: str) -> tuple[int, str]:
        """Take away what lies at a path; status and text of the answer."""
        request = urllib.request.Request(self.base + path, method="DELETE")
        request.add_header("X-CSRFToken", self._cookie("csrftoken"))
        request.add_header("Referer", self.base)
        return self._open(request)

    def fetch(self, path: str) -> bytes:
        """What lies at a path, as it is."""
        with self._opener.open(self.base + path, timeout=30) as response:
            content: bytes = response.read()
            return content

    def _open(self, request: urllib.request.Request) -> tuple[int, str]:
        try:
            with self._opener.open(request, timeout=30) as response:
                self.place = response.url
                return response.status, response.read().decode()
        except urllib.error.HTTPError as fault:
            with fault:
                self.place = fault.url
                return fault.code, fault.read().decode()

    def _cookie(self, name: str) -> str:
        return next((cookie.value or "" for cookie in self.cookies if cookie.name == name), "")

    def log_in(self, name: str = "admin", password: str = PASSWORD) -> Person:
        """As the first superuser, unless told otherwise."""
        status, text = self.post("/accounts/login/", username=name, password=password)
        assert status == 200, f"log-in answered {status}: {text[:500]}"
        assert self._cookie("sessionid"), "log-in brought no session"
        return self

    def sign_up(self, name: str) -> Person:
        """As somebody new."""
        status, text = self.post("/accounts/signup/", username=name, password1=PASSWORD, password2=PASSWORD)
        assert status == 200, f"sign-up answered {status}: {text[:500]}"
        assert self._cookie("sessionid"), "sign-up brought no session"
        return self

    def new_conversation(self) -> str:
        """The id of a fresh one."""
        self.post("/c/new/")
        found = re.search(r"/c/([0-9a-f-]{36})/$", self.place)
        assert found, f"a new conversation led to {self.place}"
        return found[1]

    @property
    def cookie(self) -> str:
        """The header that a browser would send."""
        return "; ".join(f"{cookie.name}={cookie.value}" for cookie in self.cookies)

    @asynccontextmanager
    async def socket(
        self, path: str = "/ws/", *, origin: str | None = OWN_ORIGIN, **options: Any
    ) -> AsyncIterator[Wire]:
        """A JSON socket. `origin` None: without that header. `options` are those of `connect`."""
        if origin == OWN_ORIGIN:
            origin = self.base
        async with connect(
            self.base.replace("http", "ws", 1) + path,
            additional_headers={"Cookie": self.cookie},
            origin=None if origin is None else Origin(origin),
            # It reads all the time, as a browser does, also while a test does something else.
            **{"max_size": None, "max_queue": None, **options},
        ) as connection:
            yield Wire(connection)


class Wire:
    """One JSON socket, with what it has been told."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.frames: list[Frame] = []
        # What offsets make of the text, by message: as a client that knows nothing but the contract would join it.
        self.texts: dict[str, str] = {}
        self.messages: dict[str, Frame] = {}
        self.wrong_offsets: list[Frame] = []
        self.state: Frame = {}

    async def send(self, **frame: Any) -> None:
        """One frame out."""
        await self.connection.send(json.dumps(frame))

    async def say(self, content: str, **fields: Any) -> str:
        """Send a message; its id."""
        message_id = str(fields.pop("id", None) or uuid.uuid4())
        await self.send(type="user_message", id=message_id, content=content, **fields)
        return message_id

    async def closed(self, *, within_s: float = 20) -> int | None:
        """The code with which the other side closes; what comes before is noted."""
        async with asyncio.timeout(within_s):
            try:
                while True:
                    await self.receive(within_s=within_s)
            except ConnectionClosed:
                return self.connection.close_code

    async def receive(self, *, within_s: float = 20) -> Frame:
        """The next frame."""
        async with asyncio.timeout(within_s):
            frame: Frame = json.loads(await self.connection.recv())
        self._note(frame)
        return frame

    async def until(self, is_it: Callable[[Frame], bool], *, within_s: float = 20) -> Frame:
        """The next frame of a kind; everything before it is noted."""
        deadline = time.monotonic() + within_s
        while True:
            frame = await self.receive(within_s=max(0.01, deadline - time.monotonic()))
            if is_it(frame):
                return frame

    async def until_event(self, event_type: str, *, within_s: float = 20) -> Frame:
        """The next `state_update` of an event."""
        return await self.until(lambda frame: frame.get("event_type") == event_type, within_s=within_s)

    async def until_idle(self, *, within_s: float = 20) -> Frame:
        """The next `state_update` in which nothing runs."""
        return await self.until(lambda frame: frame.get("phase") == "idle", within_s=within_s)

    async def until_text(self, *, within_s: float = 20) -> Frame:
        """The next piece of an answer, also when it comes with the whole, because something on its way was lost."""
        return await self.until(_brings_text, within_s=within_s)

    async def until_error(self, *, within_s: float = 20) -> Frame:
        """The next refusal."""
        return await self.until(lambda frame: frame["type"] == "error", within_s=within_s)

    async def until_known(self, message_id: str, *, within_s: float = 20) -> Frame:
        """The next `state_update` that has this message, in the queue or in the transcript."""

        def has(frame: Frame) -> bool:
            rows = [*frame.get("queue", ()), *frame.get("messages", ())]
            return any(row["id"] == message_id for row in rows)

        return await self.until(has, within_s=within_s)

    def _note(self, frame: Frame) -> None:
        self.frames.append(frame)
        if frame["type"] == "llm_response_delta":
            known = self.texts.get(frame["message_id"], "")
            if frame["offset"] != len(known):
                self.wrong_offsets.append(frame)
            self.texts[frame["message_id"]] = known[: frame["offset"]] + frame["text"]
        elif frame["type"] == "state_update":
            self.state = frame
            for message in frame["messages"]:
                self.messages[message["id"]] = message
                if frame["full"] or message["state"] == "streaming":
                    self.texts[message["id"]] = message["content"]


def _brings_text(frame: Frame) -> bool:
    if frame["type"] == "llm_response_delta":
        return True
    return bool(frame.get("full")) and any(row["state"] == "streaming" and row["content"] for row in frame["messages"])
