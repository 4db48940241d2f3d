"""HTTP for the model's client, by aiohttp: it parses in C and joins what has arrived.

Knows aiohttp and how the client of the SDK wants answers and errors. Must not know models, the SDK or settings. With
the client's own transport each chunk of a stream becomes an event and goes through seven generators, which costs more
than what is done with a token afterwards.
"""

from __future__ import annotations

import asyncio
import encodings.idna  # noqa: F401 - with the first address it would be loaded under the first request
import io
import ssl
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import lru_cache, partial
from typing import Any, Final
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx2
from aiohttp.client_proto import ResponseHandler
from multidict import istr
from yarl import URL

from chat import alarms

# Of a server that is far ahead so many bytes are taken at a time; more waits in aiohttp, which stops reading in time.
PIECE_BYTES: Final = 16 * 1024

# Of the head of an answer; gateways put whole tokens and policies into theirs.
MAX_HEADER_BYTES: Final = 100 * 1024

# Of an answer that refuses or leads elsewhere; the client reads it whole before it says so, and a broken server never
# ends it.
MAX_REFUSAL_BYTES: Final = 256 * 1024


class Client(httpx2.AsyncClient):
    """The SDK's client, for requests to a few addresses with a body of bytes: all that it parses and merges for others
    takes as long as the rest of the SDK.
    """

    def build_request(self, method: str, url: httpx2.URL | str, **named: Any) -> httpx2.Request:
        """As the library does it, but that its own headers are not added: the SDK brings all that matter."""
        content, headers, timeout = named.pop("content"), named.pop("headers"), named.pop("timeout")
        if any(value is not None for value in named.values()):
            return super().build_request(method, url, content=content, headers=headers, timeout=timeout, **named)
        return httpx2.Request(
            method,
            _parsed(str(url)),
            headers=headers,
            content=content,
            cookies=self.cookies or None,
            extensions={"timeout": httpx2.Timeout(timeout).as_dict()},
        )


_parsed = lru_cache(maxsize=64)(httpx2.URL)


class Transport(httpx2.AsyncBaseTransport):
    """Belongs to one event loop. Raises what the client's own transport would.

    connections_max: past it, requests wait for a free connection. keep_alive_s: how long an idle one is kept.
    trust_env: whether proxies and certificates of the environment are used. is_encrypted: TLS is what it is for.
    Of the client's time-outs, `connect` is for a free connection and for making one; the others are not known here.
    """

    def __init__(self, *, connections_max: int, keep_alive_s: float, trust_env: bool, is_encrypted: bool) -> None:
        self._connections_max = connections_max
        self._keep_alive_s = keep_alive_s
        self._trust_env = trust_env
        # Takes tens of milliseconds, which no request has to spare, and two megabytes.
        self._ssl = httpx2.create_ssl_context(trust_env=trust_env) if is_encrypted else None
        self._session: aiohttp.ClientSession | None = None

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send a request; returns when the head of its answer is there."""
        if self._session is None:
            self._session = self._opened()
        way = _Way()
        _way.set(way)
        with _errors(way):
            response = await self._session.request(
                request.method,
                _address(request.url),
                headers=[_header(name, value) for name, value in request.headers.raw],
                data=io.BytesIO(await request.aread()),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, connect=request.extensions["timeout"]["connect"]),
                proxy=_proxy(request.url) if self._trust_env else None,
                ssl=self._certificates(request.url),
            )
        if type(response.content) is aiohttp.StreamReader:
            response.content.__class__ = _Content
        body = Body(response, max_bytes=None if 200 <= response.status < 300 else MAX_REFUSAL_BYTES)
        answer = httpx2.Response(
            response.status,
            headers=[header for header in response.raw_headers if header[0].lower() != b"content-encoding"],
            stream=body,
            request=request,
            extensions={"body": body},
        )
        # JSON is in no other, and among the names that a server may write are some that no text can be read with.
        answer.encoding = "utf-8"
        return answer

    async def aclose(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    def _certificates(self, url: httpx2.URL) -> ssl.SSLContext | bool:
        """Whom to trust; aiohttp's own choice would be another one."""
        if url.scheme != "https":
            return True
        if self._ssl is None:
            # A server without TLS sent us to one that has it.
            self._ssl = httpx2.create_ssl_context(trust_env=self._trust_env)
        return self._ssl

    def _opened(self) -> aiohttp.ClientSession:
        connector = _Connector(
            limit=self._connections_max,
            keepalive_timeout=self._keep_alive_s,
        )
        return aiohttp.ClientSession(
            connector=connector,
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=MAX_HEADER_BYTES,
            max_field_size=MAX_HEADER_BYTES,
            trace_configs=[_watching()],
        )


class _Way:
    """How far a request has come: whether it waits for a free connection, and the one that it has."""

    is_queued = False
    transport: asyncio.Transport | None = None


# That of the request which this task makes.
_way: ContextVar[_Way] = ContextVar("way")


class _Connector(aiohttp.TCPConnector):
    """Tells which connection a request has got."""

    async def connect(self, *words: Any, **named: Any) -> Any:
        """As the library does it."""
        connection = await super().connect(*words, **named)
        _way.get().transport = connection.transport
        return connection


def _watching() -> aiohttp.TraceConfig:
    async def begins(*_: Any) -> None:
        _way.get().is_queued = True

    async def ends(*_: Any) -> None:
        _way.get().is_queued = False

    watching = aiohttp.TraceConfig()
    watching.on_connection_queued_start.append(begins)
    watching.on_connection_queued_end.append(ends)
    return watching


class _Content(aiohttp.StreamReader):
    """What has arrived of a body. Where its chunks began and ended in HTTP means nothing here, and is not noted."""

    __slots__ = ()

    def begin_http_chunk_receiving(self) -> None:
        """Called for each chunk."""

    def end_http_chunk_receiving(self) -> None:
        """Called for each chunk."""


class Body(httpx2.AsyncByteStream):
    """The body of an answer, decompressed. What has arrived since the last piece comes as one.

    max_bytes: after so many, or a piece more, it is left as if it had ended; None for all of it.
    """

    def __init__(self, response: aiohttp.ClientResponse, *, max_bytes: int | None) -> None:
        self._response = response
        self._max_bytes = max_bytes

    @classmethod
    def of(cls, response: httpx2.Response) -> Body:
        """That of an answer of this transport, on its own: what else the client knows of the request and the answer is
        more than most texts, and is not kept while one streams.
        """
        body: Body = response.extensions["body"]
        # The client has tied the two into a ring, which lives until garbage is looked for.
        response.stream = httpx2.ByteStream(b"")
        return body

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        left_bytes = self._max_bytes
        while (left_bytes is None or left_bytes > 0) and (piece := await self.read()):
            if left_bytes is not None:
                left_bytes -= len(piece)
            yield piece

    async def read(self) -> bytes:
        """The next piece; empty at the end."""
        try:
            return await self._response.content.read(PIECE_BYTES)
        except Exception:
            # Entered only here: a read is too frequent for it.
            with _errors():
                raise

    async def finish(self, *, within_s: float) -> None:
        """Read to the end, for the connection to be used again; one whose end does not come by then is not."""
        with suppress(TimeoutError, httpx2.TransportError):
            async with asyncio.timeout(within_s):
                while await self.read():
                    pass

    def rest(self, seconds: float) -> None:
        """Let nothing come for a while, if any: what is sent meanwhile stays in the kernel, and comes as one."""
        if not seconds:
            return
        connection = self._response.connection
        protocol = None if connection is None else connection.protocol
        if protocol is not None and protocol.connected:
            protocol.pause_reading()
            # The next answer on this connection is only read a little sooner by it.
            alarms.call_at(asyncio.get_running_loop().time() + seconds, partial(_resume, protocol))

    async def aclose(self) -> None:
        """Let the connection be used again when the body has been read, and close it when it has not."""
        self._response.release()


@lru_cache(maxsize=256)
def _header(name: bytes, value: bytes) -> tuple[istr, str]:
    """Hardly any differs from one request to the next, and aiohttp keeps those of each until its answer has ended."""
    return istr(name.decode("ascii")), value.decode("ascii")


@lru_cache(maxsize=64)
def _address(url: httpx2.URL) -> URL:
    """Without what it says of a user, of which the client has made a header."""
    return URL(str(url.copy_with(username=None, password=None)), encoded=True)


def _resume(protocol: ResponseHandler) -> None:
    if protocol.connected:
        protocol.resume_reading()


def _proxy(url: httpx2.URL) -> str | None:
    """The proxy that the environment names for an address. aiohttp's look would take passwords from `.netrc` too."""
    if proxy_bypass(url.host):
        return None
    proxies = getproxies()
    proxy = proxies.get(url.scheme) or proxies.get("all")
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


@contextmanager
def _errors(way: _Way | None = None) -> Iterator[None]:
    """The client's errors instead of aiohttp's. The more special come first: they inherit from one another."""
    try:
        yield
    except asyncio.CancelledError:
        if way is not None and way.transport is not None:
            # A server that does not take the request would keep a connection that is merely closed.
            way.transport.abort()
        raise
    except aiohttp.ConnectionTimeoutError as fault:
        kind = httpx2.PoolTimeout if way is not None and way.is_queued else httpx2.ConnectTimeout
        raise kind(str(fault)) from fault
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as fault:
        raise httpx2.UnsupportedProtocol(str(fault)) from fault
    except aiohttp.ClientHttpProxyError as fault:
        raise httpx2.ProxyError(str(fault)) from fault
    except aiohttp.ClientConnectorError as fault:
        raise httpx2.ConnectError(str(fault)) from fault
    except (aiohttp.ClientOSError, OSError) as fault:
        raise httpx2.ReadError(str(fault)) from fault
    except aiohttp.ClientError as fault:
        raise httpx2.RemoteProtocolError(str(fault)) from fault
    except ValueError as fault:
        # An address that no name can be looked up for, such as one that a server sends its clients on to.
        raise httpx2.ConnectError(str(fault)) from fault
