"""Daphne that waits for slow readers, and the site's life beside whichever server runs it.

Daphne has no lifespan, and lets an application send without end: what a client does not read piles up in memory.
Here a send ends when the transport has room again, so that whoever sends can tell that its reader is too slow.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from functools import partial
from typing import Any

from autobahn.exception import Disconnected
from daphne.http_protocol import HTTPFactory
from daphne.server import Server
from daphne.ws_protocol import WebSocketProtocol
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.tcp import Connection

from chat import wiring
from chat.bell import Bell
from chat.web.transfer import Application, Body, PatientRequest, Receive, Room, Scope, Send

logger = logging.getLogger(__name__)

# A reader that was closed for being slow finds out when it reads on; after this it is cut off.
CLOSE_HANDSHAKE_TIMEOUT_S = 30

# More of one client's frames than any page sends ahead of the answers.
FRAMES_WAITING_MAX = 64

# The codes that the WebSocket registry keeps for servers: an error, a restart, come back later.
CODES_OF_SERVERS = frozenset({1011, 1012, 1013})


class _Protocol(WebSocketProtocol):  # type: ignore[misc]
    """Daphne's, without two of its limits on what the application says, and calm when the client has gone."""

    maxMessagePayloadSize: int  # noqa: N815 - Autobahn's name
    _room: Room | None = None

    def room(self) -> Room:
        """Whether its client has room for more."""
        if self._room is None:
            self._room = Room()
            # The HTTP channel that the socket came from still listens, and would stop reading when we must wait
            # with writing: a slow reader could not even say Stop.
            self.transport.unregisterProducer()
            self.transport.registerProducer(self._room, True)
        return self._room

    def serverClose(self, code: int | None = None) -> None:  # noqa: N802 - Daphne's name
        """Close, also with a code that Autobahn takes for the protocol's own."""
        if code in CODES_OF_SERVERS:
            self.sendCloseFrame(code=code)
        else:
            super().serverClose(code=code)

    def serverSend(self, content: Any, binary: bool = False) -> None:  # noqa: N802 - Daphne's name
        """Send a text in one frame, and at once.

        Autobahn builds frames for all that there can be, and Twisted asks the loop first whether it may write: together
        several times what the frame itself costs.
        """
        transport = self.transport
        if binary or self.state != self.STATE_OPEN or not isinstance(transport, Connection) or transport.TLS:
            super().serverSend(content, binary)
            return
        payload = content.encode()
        frame = _head(len(payload)) + payload
        if transport.connected and not transport.dataBuffer and not transport._tempDataLen:
            sent = transport.writeSomeData(frame)
            # Of a connection that is lost, the transport finds out with what is left.
            frame = frame if isinstance(sent, Exception) else frame[sent:]
        if frame:
            transport.write(frame)

    def sendMessage(self, payload: bytes, *words: Any, **named: Any) -> None:  # noqa: N802 - Autobahn's name
        """Send, however long: the limit is for what comes in."""
        limit, self.maxMessagePayloadSize = self.maxMessagePayloadSize, 0
        try:
            super().sendMessage(payload, *words, **named)
        except Disconnected:
            # The client went at this very moment; the application hears of it next.
            pass
        finally:
            self.maxMessagePayloadSize = limit


def _head(length: int) -> bytes:
    """Of a text frame of so many bytes, as a server sends it: whole and without a mask (RFC 6455, 5.2)."""
    if length < 126:
        return bytes((0x81, length))
    if length < 1 << 16:
        return b"\x81\x7e" + length.to_bytes(2)
    return b"\x81\x7f" + length.to_bytes(8)


class _Inbox:
    """What a client has sent and the application has not taken yet; when it is full, no more is read.

    One application takes from it. A queue of asyncio's would take 3 KiB for each idle socket.
    """

    def __init__(self, protocol: Any) -> None:
        self._protocol = protocol
        self._messages: list[dict[str, Any]] = []
        self._arrived = Bell()
        self._is_paused = False

    def put_nowait(self, message: dict[str, Any]) -> None:
        """Take a message of the client."""
        self._messages.append(message)
        self._arrived.set()
        if len(self._messages) >= FRAMES_WAITING_MAX and not self._is_paused:
            self._is_paused = True
            self._protocol.transport.pauseProducing()

    async def get(self) -> dict[str, Any]:
        """The next message."""
        while not self._messages:
            self._arrived.clear()
            await self._arrived.wait()
        message = self._messages.pop(0)
        if self._is_paused and len(self._messages) < FRAMES_WAITING_MAX // 2 and self._protocol.transport:
            self._is_paused = False
            self._protocol.transport.resumeProducing()
        return message


class PatientServer(Server):  # type: ignore[misc]
    """Daphne's server, which neither sends nor reads more than is taken."""

    def run(self) -> None:
        """Serve until the reactor stops."""
        reactor.callWhenRunning(self._set_protocol)
        super().run()

    def _set_protocol(self) -> None:
        self.ws_factory.protocol = _Protocol
        self.http_factory.buildProtocol = self._build_channel
        # Origins are judged by the consumers; left out here, "null" would be refused without a close code.
        self.ws_factory.setProtocolOptions(closeHandshakeTimeout=CLOSE_HANDSHAKE_TIMEOUT_S, allowNullOrigin=True)

    def _build_channel(self, address: Any) -> Any:
        channel = HTTPFactory.buildProtocol(self.http_factory, address)
        channel.requestFactory = PatientRequest
        return channel

    def create_application(self, protocol: Any, scope: Scope) -> _Inbox | Body | None:
        """Start the application for a connection. Returns the queue of what its client sends."""
        # As Daphne does it, but for the queue.
        inbox = _Inbox(protocol) if scope["type"] == "websocket" else Body(protocol)
        scope.setdefault("asgi", {"version": "3.0"})
        application = self.application(scope=scope, receive=inbox.get, send=partial(self.handle_reply, protocol))
        if protocol not in self.connections:
            application.close()
            return None
        self.connections[protocol]["application_instance"] = asyncio.ensure_future(application)
        return inbox

    async def handle_reply(self, protocol: Any, message: dict[str, Any]) -> None:
        """Pass a message of the application on to its client."""
        if message["type"] == "websocket.send":
            # As Daphne does it, but for what it looks at in messages of other types.
            connection = self.connections.get(protocol)
            if connection is not None and not connection.get("disconnected"):
                protocol.handle_reply(message)
                if protocol in self.connections:
                    await protocol.room().wait()
            return
        await super().handle_reply(protocol, message)
        if message["type"] == "http.response.body":
            await protocol.room.wait()


def with_lifespan(application: Application) -> Application:
    """The application, which starts and stops the site with its server."""
    if "daphne.server" in sys.modules:
        _follow_reactor()

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        else:
            await application(scope, receive, send)

    return wrapped


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await wiring.running()
            await send({"type": "lifespan.startup.complete"})
        else:
            await wiring.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return


def _follow_reactor() -> None:
    """Daphne: start when its reactor runs, and let it end only once the site has stopped."""
    reactor.callWhenRunning(lambda: asyncio.ensure_future(_start()))
    reactor.addSystemEventTrigger(
        "before", "shutdown", lambda: Deferred.fromFuture(asyncio.ensure_future(wiring.stop()))
    )


async def _start() -> None:
    try:
        await wiring.running()
    except Exception:
        # Pages and health checks say what is wrong; the next socket tries again.
        logger.exception("The site could not start")
