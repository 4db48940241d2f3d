"""What the way to the server must keep, whichever library goes it."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import weakref
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import httpx2
import pytest

from chat.llm.transport import Body, Transport

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Takes requests and answers each; `connections` counts who came."""

    def __init__(self) -> None:
        self.answer = ANSWER
        self.closes = False
        self.connections = 0
        self.heads: list[str] = []
        self.bodies: list[bytes] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                lengths = [line for line in head.lower().splitlines() if line.startswith("content-length:")]
                self.heads.append(head)
                self.bodies.append(await reader.readexactly(int(lengths[0].split(":")[1])) if lengths else b"")
                writer.write(self.answer)
                await writer.drain()
                if self.closes:
                    break
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        writer.close()


@pytest.fixture
async def server() -> AsyncIterator[tuple[Server, str]]:
    made = Server()
    listening = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    async with listening:
        yield made, f"127.0.0.1:{listening.sockets[0].getsockname()[1]}"


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    transport = Transport(connections_max=10, keep_alive_s=20, trust_env=False, is_encrypted=False)
    async with httpx2.AsyncClient(transport=transport, timeout=20) as made:
        yield made


@pytest.fixture
async def trusting() -> AsyncIterator[httpx2.AsyncClient]:
    """With what the environment says."""
    transport = Transport(connections_max=10, keep_alive_s=20, trust_env=True, is_encrypted=False)
    async with httpx2.AsyncClient(transport=transport, timeout=20) as made:
        yield made


async def test_a_large_body_arrives_whole(server: tuple[Server, str], client: httpx2.AsyncClient) -> None:
    made, place = server
    body = bytes(range(256)) * 20_000
    response = await client.post(f"http://{place}/v1", content=body)
    assert (response.status_code, response.text) == (200, "ok")
    assert made.bodies == [body]


async def test_a_connection_is_used_again_and_one_that_the_server_closed_is_not(
    server: tuple[Server, str], client: httpx2.AsyncClient
) -> None:
    made, place = server
    for _ in range(3):
        await client.post(f"http://{place}/", content=b"x")
    assert made.connections == 1
    made.closes = True
    await client.post(f"http://{place}/", content=b"x")
    await asyncio.sleep(0.05)
    await client.post(f"http://{place}/", content=b"x")
    assert made.connections == 2


async def test_a_user_in_the_address_is_sent_as_a_header_and_the_path_as_it_is(
    server: tuple[Server, str], client: httpx2.AsyncClient
) -> None:
    made, place = server
    await client.get(f"http://me:secret@{place}/a%2Fb%20c?q=%7E+1")
    line, *headers = made.heads[0].splitlines()
    assert line == "GET /a%2Fb%20c?q=%7E+1 HTTP/1.1"
    assert "authorization: basic bwu6c2vjcmv0" in [header.lower() for header in headers]


async def test_headers_that_come_twice_stay_two(server: tuple[Server, str], client: httpx2.AsyncClient) -> None:
    made, place = server
    made.answer = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nX-A: 2\r\nSet-Cookie: a=b\r\nContent-Length: 0\r\n\r\n"
    response = await client.get(f"http://{place}/")
    assert response.headers.get_list("x-a") == ["1", "2"]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", httpx2.RemoteProtocolError),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", httpx2.RemoteProtocolError),
        (b"", httpx2.RemoteProtocolError),
    ],
    ids=["another protocol", "cut off", "nothing"],
)
async def test_a_broken_answer_is_an_error_of_the_protocol(
    server: tuple[Server, str], client: httpx2.AsyncClient, answer: bytes, error: type[Exception]
) -> None:
    made, place = server
    made.answer, made.closes = answer, True
    with pytest.raises(error):
        await client.post(f"http://{place}/", content=b"x")


@pytest.mark.parametrize("address", ["ftp://127.0.0.1/", "127.0.0.1/v1"])
async def test_an_address_of_another_kind_is_refused(client: httpx2.AsyncClient, address: str) -> None:
    with pytest.raises(httpx2.UnsupportedProtocol):
        await client.get(address)


@pytest.mark.parametrize("place", ["http://127.0.0.1:99999/", f"http://{'a' * 64}.test/"], ids=["port", "name"])
async def test_a_server_that_sends_on_to_no_place_leads_to_one_that_is_not_there(
    server: tuple[Server, str], client: httpx2.AsyncClient, place: str
) -> None:
    made, here = server
    made.answer = f"HTTP/1.1 307 Elsewhere\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n".encode()
    with pytest.raises(httpx2.ConnectError):
        await client.post(f"http://{here}/", content=b"x", follow_redirects=True)


@pytest.mark.parametrize("name", ["http_proxy", "ALL_PROXY"])
@pytest.mark.parametrize("scheme", ["http://", ""])
async def test_a_proxy_of_the_environment_is_asked(
    server: tuple[Server, str], trusting: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, name: str, scheme: str
) -> None:
    made, place = server
    monkeypatch.setenv(name, f"{scheme}{place}")
    assert (await trusting.get("http://elsewhere.test/v1")).text == "ok"
    assert made.heads[0].startswith("GET http://elsewhere.test/v1 ")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    await trusting.get(f"http://{place}/v1")
    assert made.heads[1].startswith("GET /v1 ")


async def test_passwords_of_a_netrc_are_left_alone(
    server: tuple[Server, str], trusting: httpx2.AsyncClient, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made, place = server
    (tmp_path / "netrc").write_text("default login me password secret\n")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    await trusting.get(f"http://{place}/", headers={"Authorization": "Bearer key"})
    assert "authorization: bearer key" in made.heads[0].lower()


async def test_a_long_line_in_the_head_of_an_answer_is_taken(
    server: tuple[Server, str], client: httpx2.AsyncClient
) -> None:
    made, place = server
    made.answer = b"HTTP/1.1 200 OK\r\nX-Long: %b\r\nContent-Length: 0\r\n\r\n" % (b"x" * 60_000)
    response = await client.get(f"http://{place}/")
    assert len(response.headers["x-long"]) == 60_000


async def test_leaving_a_server_that_does_not_take_the_request_lets_go_of_the_connection(
    client: httpx2.AsyncClient,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        request = asyncio.create_task(client.post(f"http://127.0.0.1:{port}/", content=b"x" * (20 << 20)))
        # So long that all that the network takes has been taken.
        await asyncio.sleep(0.5)
        assert len(links_to(port)) == 1
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request
        await asyncio.sleep(0.05)
        assert links_to(port) == []


def links_to(port: int) -> list[str]:
    """This process's established connections to a port of this machine, as the kernel writes their far ends."""
    inodes = set()
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            inodes.add(os.readlink(descriptor))
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    far_ends = [fields[2] for fields in lines if f"socket:[{fields[9]}]" in inodes]
    return [far_end for far_end in far_ends if far_end.endswith(f":{port:04X}")]


async def test_where_tls_is_asked_for_nothing_is_said_without_it(client: httpx2.AsyncClient) -> None:
    heard: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.read(1_000))
        writer.write(ANSWER)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        with pytest.raises(httpx2.ConnectError):
            await client.get(f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}/secret")
    assert heard
    assert b"secret" not in heard[0]


async def test_what_was_sent_before_a_cut_is_not_lost_by_a_rest(client: httpx2.AsyncClient) -> None:
    is_cut = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\none")
        await writer.drain()
        await is_cut.wait()
        writer.write(b"two")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        place = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
        async with client.stream("GET", place) as response:
            body = Body.of(response)
            assert await body.read() == b"one"
            body.rest(0.3)
            is_cut.set()
            reading = asyncio.create_task(body.read())
            await asyncio.sleep(0.1)
            assert not reading.done()
            assert await reading == b"two"
            # The connection is gone by now.
            await asyncio.sleep(0.1)
            body.rest(0.1)
            with pytest.raises(httpx2.TransportError):
                await body.read()
            await body.aclose()


async def test_a_rest_ends_with_the_answer(client: httpx2.AsyncClient) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none")

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        place = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/"
        for is_read in (True, False, True):
            async with client.stream("GET", place) as response:
                body = Body.of(response)
                assert await body.read() == b"one"
                body.rest(60)
                assert not is_read or not await body.read()
                await body.aclose()


async def test_a_streaming_answer_holds_nothing_of_its_request(
    server: tuple[Server, str], client: httpx2.AsyncClient
) -> None:
    response = await client.send(client.build_request("POST", f"http://{server[1]}/", content=b"-"), stream=True)
    body, request = Body.of(response), weakref.ref(response.request)
    gc.disable()
    try:
        del response
        assert request() is None
    finally:
        gc.enable()
    assert [piece async for piece in body] == [b"ok"]
    await body.aclose()
