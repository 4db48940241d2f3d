"""A server of the OpenAI dialect that answers what a function tells it to, over real HTTP on this machine.

Knows HTTP/1.1 and `scripted_steps`. Must not know what a script wants to show: the demo model and the
tests bring their own. It watches its client all the time, so it knows within milliseconds that somebody
hung up.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Final, Self

import h11
import msgspec

from chat.llm.scripted_answer import ScriptedAnswer
from chat.llm.scripted_steps import Ending, Exchange, Script, ScriptedRequest, error_object

_READ_BYTES: Final = 64 * 1024

# How long a new thread may take to listen before its starter gives up.
_START_S: Final = 10.0


class ScriptedServer:
    """Listens on 127.0.0.1. `async with`, or `start` and `close`.

    script: called once for each request for an answer; may be replaced at any time.
    exchanges: every request for an answer, in order of arrival.
    """

    def __init__(self, script: Script, *, model: str = "scripted") -> None:
        """model: its own name, in the list of models and in each answer, whichever was asked for."""
        self.script = script
        self.exchanges: list[Exchange] = []
        self.model = model
        self._connections: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._arrival = threading.Condition()

    async def start(self, port: int = 0) -> None:
        """Listen; port 0 takes a free one."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", port, backlog=1024)

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        if self._server is not None:
            self._server.close()
            connections = tuple(self._connections)
            for task in connections:
                task.cancel()
            await asyncio.gather(*connections, return_exceptions=True)
            await self._server.wait_closed()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def base_url(self) -> str:
        """What a client is given as the base URL."""
        if self._server is None or not self._server.sockets:
            raise RuntimeError("the scripted server does not listen")
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/v1"

    def wait_for_exchange(self, number: int, *, timeout_s: float) -> Exchange:
        """Block until request `number` (from 0) has arrived. For threads other than the server's."""
        with self._arrival:
            if not self._arrival.wait_for(lambda: len(self.exchanges) > number, timeout_s):
                raise TimeoutError(f"request {number} did not arrive within {timeout_s:g} s")
        return self.exchanges[number]

    def record(self, body: Mapping[str, object], headers: Mapping[str, str], client_port: int) -> Exchange:
        """Enter a request in the list."""
        with self._arrival:
            request = ScriptedRequest(
                number=len(self.exchanges),
                body=body,
                headers=headers,
                client_port=client_port,
                arrived_at_s=time.monotonic(),
            )
            exchange = Exchange(request=request)
            self.exchanges.append(exchange)
            self._arrival.notify_all()
        return exchange

    def models(self) -> bytes:
        """The answer to `GET /v1/models`."""
        entry = {"id": self.model, "object": "model", "created": 0, "owned_by": "script"}
        return msgspec.json.encode({"object": "list", "data": [entry]})

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(_Connection(self, reader, writer).serve(), name="scripted server's connection")
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)


@contextmanager
def start_in_thread(script: Script, *, model: str = "scripted") -> Iterator[ScriptedServer]:
    """A server on its own loop in its own thread, for code that has no loop or blocks the one that it has."""
    server = ScriptedServer(script, model=model)
    ready: Future[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = Future()

    async def serve() -> None:
        stop = asyncio.Event()
        try:
            await server.start()
        except OSError as error:
            ready.set_exception(error)
            return
        ready.set_result((asyncio.get_running_loop(), stop))
        await stop.wait()
        await server.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()), name="scripted server", daemon=True)
    thread.start()
    loop, stop = ready.result(_START_S)
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join()


class _Connection:
    """One client's connection: requests one after another, each watched for the client's leaving."""

    def __init__(self, server: ScriptedServer, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._server = server
        self._reader = reader
        self._writer = writer
        self._client_port: int = writer.get_extra_info("peername")[1]
        self._http = h11.Connection(h11.SERVER)

    async def serve(self) -> None:
        try:
            while (request := await self._request()) is not None:
                head, body = request
                await self._respond(head, body)
                if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
                    return
                self._http.start_next_cycle()
        except (ConnectionError, h11.RemoteProtocolError):
            return
        finally:
            self._writer.close()
            with suppress(ConnectionError):
                await self._writer.wait_closed()

    async def _request(self) -> tuple[h11.Request, bytes] | None:
        """The next request with its body; None when the client is gone."""
        head: h11.Request | None = None
        body = bytearray()
        while True:
            received = self._http.next_event()
            if received is h11.NEED_DATA:
                self._http.receive_data(await self._reader.read(_READ_BYTES))
            elif isinstance(received, h11.Request):
                head = received
            elif isinstance(received, h11.Data):
                body += received.data
            elif isinstance(received, h11.EndOfMessage) and head is not None:
                return head, bytes(body)
            else:
                return None

    async def _respond(self, head: h11.Request, body: bytes) -> None:
        place = (head.method, head.target.partition(b"?")[0])
        if place == (b"GET", b"/v1/models"):
            await self.send_whole(200, self._server.models())
            return
        if place != (b"POST", b"/v1/chat/completions"):
            await self.send_whole(404, error_object("No such address.", "invalid_request_error", "not_found"))
            return
        try:
            asked = msgspec.json.decode(body, type=dict[str, object])
        except (msgspec.MsgspecError, UnicodeDecodeError):
            error = error_object("The body is not a JSON object.", "invalid_request_error", None)
            await self.send_whole(400, error)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
        await self._perform(self._server.record(asked, headers, self._client_port))

    async def _perform(self, exchange: Exchange) -> None:
        """Run the script for one request, until its end or the client's, whichever comes first."""
        answer = ScriptedAnswer(self, exchange, model=self._server.model)
        script = asyncio.create_task(answer.run(self._server.script(exchange.request)), name="scripted answer")
        watch = asyncio.create_task(self._watch(exchange), name="watch scripted server's client")
        try:
            await asyncio.wait({script, watch}, return_when=asyncio.FIRST_COMPLETED)
            if script.done():
                script.result()
        except ConnectionError:
            exchange.end(Ending.CLOSED_BY_CLIENT, time.monotonic())
            raise
        finally:
            script.cancel()
            watch.cancel()
            await asyncio.gather(script, watch, return_exceptions=True)
            # Whoever ended it has said so; if nobody did, the server itself is being closed.
            exchange.end(Ending.SERVER_CLOSED, time.monotonic())

    async def _watch(self, exchange: Exchange) -> None:
        """Return when the client is gone. What it sends early is kept for the next request."""
        try:
            while data := await self._reader.read(_READ_BYTES):
                self._http.receive_data(data)
        except ConnectionError:
            pass
        exchange.end(Ending.CLOSED_BY_CLIENT, time.monotonic())

    async def send(self, *events: h11.Response | h11.Data | h11.EndOfMessage) -> None:
        """Write in one piece; wait while the client takes nothing more."""
        self._writer.write(b"".join(self._http.send(sent) or b"" for sent in events))
        await self._writer.drain()

    async def send_whole(self, status: int, body: bytes, headers: tuple[tuple[str, str], ...] = ()) -> None:
        """A JSON response with a body of known length."""
        own = [("content-type", "application/json"), ("content-length", str(len(body)))]
        response = h11.Response(status_code=status, headers=[*own, *headers])
        await self.send(response, h11.Data(data=body), h11.EndOfMessage())

    def drop(self, *, reset: bool) -> None:
        """Close without ending the body."""
        if reset:
            self._writer.transport.abort()
        else:
            self._writer.close()
