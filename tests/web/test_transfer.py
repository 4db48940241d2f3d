"""Long bodies under both servers: none lies in memory as a whole, and one that is too long is refused early."""

from __future__ import annotations

import json
import os
import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.server import BOUNDARY, Person, ServerProcess

MIB = 1 << 20
UPLOAD_MAX_MIB = 24
FILE_MIB = 20
UVICORN = [sys.executable, "-m", "uvicorn", "agentsite.asgi:application", "--port", "{port}"]
WORDS = f"This is larger than {UPLOAD_MAX_MIB} MB, the most that this site takes.\n"


@pytest.fixture(scope="module", params=["daphne", "uvicorn"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    command = UVICORN if request.param == "uvicorn" else None
    running = ServerProcess(
        tmp_path_factory.mktemp(request.param), command=command, AGENT_UPLOAD_MAX_MIB=str(UPLOAD_MAX_MIB)
    )
    try:
        if command:
            migrated = running.manage("migrate")
            assert migrated.returncode == 0, migrated.stderr
        running.start()
        yield running
    finally:
        running.close()


@pytest.fixture
def person(server: ServerProcess, request: pytest.FixtureRequest) -> Person:
    return Person(server.base).sign_up(f"visitor-{abs(hash(request.node.name))}")


def peak_mib(server: ServerProcess) -> int:
    """The most memory that the process ever had."""
    status = Path(f"/proc/{server.pid}/status").read_text()
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) // 1024


class Raw:
    """A connection on which requests are written by hand."""

    def __init__(self, server: ServerProcess, person: Person) -> None:
        self._person = person
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=20)

    def __enter__(self) -> Raw:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def begin(self, method: str, path: str, *headers: str) -> None:
        """Send a request's first lines."""
        cookies = "; ".join(f"{cookie.name}={cookie.value}" for cookie in self._person.cookies)
        first = (f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", f"Cookie: {cookies}")
        kind = f"Content-Type: multipart/form-data; boundary={BOUNDARY}"
        self.socket.sendall("\r\n".join((*first, kind, *headers, "", "")).encode())

    def answer(self) -> tuple[int, str]:
        """Status and text; the server closes."""
        received = b""
        while piece := self.socket.recv(MIB):
            received += piece
        head, _, body = received.partition(b"\r\n\r\n")
        if b"transfer-encoding: chunked" in head.lower():
            body = b"".join(body.split(b"\r\n")[1::2])
        return int(head.split()[1]), body.decode()


def test_a_large_file_goes_in_and_out_and_never_lies_in_memory(server: ServerProcess, person: Person) -> None:
    conversation = person.new_conversation()
    person.upload(conversation, "first.csv", b"what every first upload loads into memory")
    before = peak_mib(server)
    content = os.urandom(FILE_MIB * MIB)
    status, text = person.upload(conversation, "big.csv", content)
    assert status == 201, text
    path = json.loads(text)["url"]
    try:
        assert person.fetch(path) == content
        assert peak_mib(server) - before < FILE_MIB
    finally:
        person.delete(path)


def test_what_a_client_does_not_read_does_not_pile_up(server: ServerProcess, person: Person) -> None:
    _, text = person.upload(person.new_conversation(), "big.csv", bytes(FILE_MIB * MIB))
    path = json.loads(text)["url"]
    before = server.memory_mb
    try:
        with Raw(server, person) as raw:
            raw.begin("GET", path)
            assert raw.socket.recv(1)
            for _ in range(50):
                assert person.get("/healthz")[0] == 200
            assert server.memory_mb - before < FILE_MIB / 2
    finally:
        person.delete(path)


def test_too_long_a_body_is_refused_by_its_first_lines(server: ServerProcess, person: Person) -> None:
    path = f"/c/{person.new_conversation()}/files/"
    for expect in ((), ("Expect: 100-continue",)):
        with Raw(server, person) as raw:
            raw.begin("POST", path, f"Content-Length: {1 << 40}", *expect)
            assert raw.socket.recv(MIB).split(b"\r\n")[0].startswith(b"HTTP/1.1 413 ")


def test_who_sends_too_much_all_the_same_reads_why(server: ServerProcess, person: Person) -> None:
    before = peak_mib(server)
    size = (UPLOAD_MAX_MIB + 4) * MIB
    with Raw(server, person) as raw:
        raw.begin("POST", f"/c/{person.new_conversation()}/files/", f"Content-Length: {size}")
        raw.socket.sendall(bytes(size))
        assert raw.answer() == (413, WORDS)
    assert peak_mib(server) - before < FILE_MIB


def test_a_body_that_does_not_tell_its_length_is_counted(server: ServerProcess, person: Person) -> None:
    with Raw(server, person) as raw:
        raw.begin("POST", f"/c/{person.new_conversation()}/files/", "Transfer-Encoding: chunked")
        for _ in range(UPLOAD_MAX_MIB + 4):
            raw.socket.sendall(b"%x\r\n%b\r\n" % (MIB, bytes(MIB)))
        raw.socket.sendall(b"0\r\n\r\n")
        assert raw.answer() == (413, WORDS)


def test_half_a_file_is_none(server: ServerProcess, person: Person) -> None:
    conversation = person.new_conversation()
    body = person.form_with("half.csv", bytes(MIB))
    with Raw(server, person) as raw:
        raw.begin("POST", f"/c/{conversation}/files/", f"Content-Length: {len(body)}")
        raw.socket.sendall(body[: len(body) // 2])
    assert json.loads(person.upload(conversation, "half.csv", b"whole")[1])["name"] == "half.csv"
