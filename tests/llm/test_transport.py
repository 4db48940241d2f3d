"""What the way to the server must keep, whichever library goes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx2
import pytest

from chat.llm.transport import Transport

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
    transport = Transport(connections_max=10, keep_alive_s=20, trust_env=False)
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


async def test_a_proxy_of_the_environment_is_asked(server: tuple[Server, str], monkeypatch: pytest.MonkeyPatch) -> None:
    made, place = server
    monkeypatch.setenv("http_proxy", f"http://{place}")
    transport = Transport(connections_max=10, keep_alive_s=20, trust_env=True)
    async with httpx2.AsyncClient(transport=transport, timeout=20) as through:
        assert (await through.get("http://elsewhere.test/v1")).text == "ok"
    assert made.heads[0].startswith("GET http://elsewhere.test/v1 ")
