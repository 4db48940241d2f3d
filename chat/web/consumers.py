"""Sockets: frames in become events, announcements become frames out.

A consumer never does slow work: Channels handles one message of a socket at a time, so one that streams could
not hear Stop. A task of its own writes what the bus brings.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any
from urllib.parse import parse_qs, urlsplit

import msgspec
from channels.consumer import get_handler_name
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.db import DatabaseError, Error
from django.http.request import split_domain_port, validate_host

from chat import wiring
from chat.clock import now_ms
from chat.core.calls import Artifact
from chat.core.ids import ConversationId
from chat.core.state import Refused
from chat.errors import ConversationMissingError
from chat.rooms import Subscription
from chat.store import faults, files, quotas, reads, sockets
from chat.store.commits import Repeated
from chat.store.threads import in_thread
from chat.tools.registry import ArgumentsError, all_tools
from chat.web import accounts, addresses, frames
from chat.web.out import Out
from chat.web.out_html import HtmlOut
from chat.web.out_json import JsonOut
from chat.web.pace import BURST_S, Pace, paces
from chat.web.reader import Reader
from chat.wiring import Site

logger = logging.getLogger(__name__)

NOT_LOGGED_IN = 4401
WRONG_ORIGIN = 4403
NOT_FOUND = 4404
TOO_SLOW = 4408
TOO_MANY = 4429
INTERNAL_ERROR = 1011
SERVICE_RESTART = 1012
# The database has no room, may not be written to, or is away: what was sent is not lost when its sender keeps it.
NOT_SAVED = "not_saved"
NOT_SAVED_WORDS = "This could not be saved: the site’s database has no room or does not answer. Try again in a while."


class ConversationConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """One socket on one conversation. `default_format` is the format when the address names none."""

    # The bus listens to the channel layer once for the whole process; a socket needs no channel of its own.
    channel_layer_alias = ""
    default_format = "html"

    _site: Site
    _reader: Reader
    _out: Out
    _subscription: Subscription | None = None
    _writer: asyncio.Task[None] | None = None
    _conversation_id: ConversationId
    _user_id: int
    _address: str
    _session_key: str | None
    _expiry: asyncio.TimerHandle | None = None
    _pace: Pace
    _is_too_fast = False
    _loop: asyncio.AbstractEventLoop
    # Looks whether the reader has taken the frame that is being sent since then.
    _clock: asyncio.TimerHandle | None = None
    _sending_since_s: float | None = None
    _is_too_slow = False

    async def dispatch(self, message: dict[str, Any]) -> None:
        """Hand on what the server says of the socket. Channels' own way there first waits for a thread to look for
        connections of the database to close, which `in_thread` does where there are some.
        """
        await getattr(self, get_handler_name(message))(message)

    async def connect(self) -> None:
        """Let the socket in when it is logged in, from our own page, and on a conversation of its user."""
        await self.accept()
        code = await self._refusal()
        if code is not None:
            await self.close(code)
            return
        query = parse_qs(self.scope["query_string"].decode("latin-1"))
        is_json = query.get("format", [self.default_format])[0] == "json"
        after = query.get("after", [""])[0]
        bus, conf = self._site.bus, self._site.conf
        self._out = (
            JsonOut()
            if is_json
            else HtmlOut(
                frames_per_second_max=conf.agent_html_frames_per_second_max, has_performers=lambda: bus.has_performers
            )
        )
        session = self.scope["session"]
        subscription = await self._site.bus.subscribe(
            conversation_id=self._conversation_id,
            user_id=self._user_id,
            address=self._address,
        )
        self._session_key = session.session_key
        if await self._is_one_too_many():
            self._site.bus.unsubscribe(subscription)
            await self._tell_count()
            await self.close(TOO_MANY)
            return
        if not await self._is_logged_in():
            # Logged out while it came in, before it could hear of it.
            self._site.bus.unsubscribe(subscription)
            await self._tell_count()
            await self.close(NOT_LOGGED_IN)
            return
        self._pace = paces.of_user(self._user_id, self._site.conf.agent_frames_max_per_second)
        self._subscription = subscription
        expiry_s = await in_thread(accounts.expiry_s, session)
        self._loop = asyncio.get_running_loop()
        self._expiry = self._loop.call_later(expiry_s, subscription.check_session)
        self._reader = Reader(subscription, self._out, self._site.conf, self._site.copies)
        known = int(after) if after.isascii() and after.isdigit() and not is_json and len(after) < 12 else None
        self._writer = asyncio.create_task(self._write(subscription, known), name="socket writer")
        self._clock = self._loop.call_later(self._site.conf.agent_slow_reader_timeout_s, self._look_at_clock)

    async def disconnect(self, code: int) -> None:
        """The socket is gone; the conversation goes on."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait({self._writer})
            # It knows how it ended, and so this: what a socket had is gone at once, and not when garbage is looked for.
            self._writer = None
        for timer in (self._expiry, self._clock):
            if timer is not None:
                timer.cancel()
        if self._subscription is not None:
            self._site.bus.unsubscribe(self._subscription)
            await self._tell_count()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Let the event happen that a frame wishes for."""
        if self._subscription is None or self._is_too_fast:
            return
        if not await self._is_in_pace():
            self._is_too_fast = True
            words = "You send more frames than this site takes. Wait a moment, then connect again."
            await self.send(self._out.error(code="too_many_frames", words=words, ref=""))
            await self.close(TOO_MANY)
            return
        try:
            if text_data is None:
                raise frames.FrameError("invalid_json", "Frames are text, not bytes.")
            frame = frames.parse(text_data)
            if isinstance(frame, frames.Sync):
                self._subscription.sync_after = frame.after
                self._subscription.wake()
                return
            if isinstance(frame, frames.Approve) and frame.arguments is not None:
                await self._check_arguments(frame)
            attachments = await self._attachments(frame) if isinstance(frame, frames.UserMessage) else ()
            event = frames.event_of(
                frame,
                attachments=attachments,
                user_id=self._user_id,
                at_ms=now_ms(),
                queue_limit=self._site.conf.agent_queue_max_messages,
            )
            result = await self._site.engine.apply(self._conversation_id, event, actor_id=self._user_id)
        except frames.FrameError as fault:
            await self.send(self._out.error(code=fault.code, words=fault.words, ref=fault.ref))
            return
        except ConversationMissingError:
            await self.close(NOT_FOUND)
            return
        except Error as fault:
            # What the database refuses each time is a fault of ours, and the log must say where.
            of_ours = None if faults.is_of_database(fault) else fault
            logger.warning("What a frame asks for could not be saved: %s", faults.in_a_line(fault), exc_info=of_ours)
            ref = str(getattr(frame, "id", None) or getattr(frame, "call_id", ""))
            await self.send(self._out.error(code=NOT_SAVED, words=NOT_SAVED_WORDS, ref=ref))
            return
        if isinstance(result, Refused):
            ref = getattr(event, "message_id", "") or getattr(event, "call_id", "")
            await self.send(self._out.error(code=result.code.value, words=result.words, ref=str(ref)))
        elif isinstance(result, Repeated):
            self._subscription.repeat(result.announcement)

    async def _is_in_pace(self) -> bool:
        """Whether there is room for one more frame, in this process and in all of them together."""
        pace = self._pace
        if not pace.take():
            return False
        if not self._site.conf.is_on_postgresql or pace.spend():
            return True
        try:
            for_s = await in_thread(
                quotas.take_frames, self._user_id, share=pace.share, limit=pace.most, window_s=BURST_S
            )
        except DatabaseError as fault:
            # What the frame wishes for says so itself, where it needs the database.
            logger.warning("How many frames others take could not be looked up: %s", fault)
            return True
        if for_s:
            pace.grant(for_s)
        return pace.spend()

    async def _is_one_too_many(self) -> bool:
        """Whether this socket, which is counted already, is more than its user or address may have in all processes."""
        if not self._site.conf.is_on_postgresql:
            return False
        # First say how many are here, then look at the others: of two that come at once, one at least sees both.
        await self._tell_count()
        conf, process_id, silent_for_s = (
            self._site.conf,
            self._site.process_id,
            self._site.conf.agent_heartbeat_timeout_s,
        )
        limits = (conf.agent_sockets_max_per_user, conf.agent_sockets_max_per_address)
        for (key, here), limit in zip(self._counts().items(), limits, strict=True):
            if here + await in_thread(sockets.elsewhere, process_id, key, silent_for_s=silent_for_s) > limit:
                return True
        return False

    def _counts(self) -> dict[str, int]:
        bus = self._site.bus
        return {
            f"user:{self._user_id}": bus.sockets_of(self._user_id),
            f"address:{self._address}": bus.sockets_from(self._address),
        }

    async def _tell_count(self) -> None:
        """Let other processes know, where there may be any."""
        if not self._site.conf.is_on_postgresql:
            return
        try:
            await in_thread(sockets.tell, self._site.process_id, self._counts())
        except DatabaseError as fault:
            # It is told again with the next socket that comes or goes.
            logger.warning("How many sockets there are could not be told: %s", fault)

    async def _attachments(self, frame: frames.UserMessage) -> tuple[Artifact, ...]:
        """The files that go with a message. Raises FrameError."""
        if not frame.attachments:
            return ()
        found = await in_thread(files.of_conversation, self._conversation_id, frame.attachments)
        if found is None:
            words = "One of the files is not there, or was not sent to this conversation."
            raise frames.FrameError("not_found", words, str(frame.id or ""))
        return found

    async def _check_arguments(self, frame: frames.Approve) -> None:
        """Edited arguments must fit the tool as the model's had to. Raises FrameError."""
        call = await in_thread(reads.call, self._conversation_id, frames.call_id_of(frame))
        tool = None if call is None else all_tools().get(call.tool)
        if tool is not None:
            try:
                tool.parse(msgspec.json.encode(frame.arguments).decode())
            except ArgumentsError as fault:
                raise frames.FrameError("invalid_arguments", str(fault), frame.call_id) from None

    async def _refusal(self) -> int | None:
        """The close code for a socket that may not come in; None when it may."""
        if not self._is_same_origin():
            return WRONG_ORIGIN
        user = self.scope["user"]
        if not user.is_authenticated:
            return NOT_LOGGED_IN
        self._user_id = user.id
        self._site = await wiring.running()
        bus, conf = self._site.bus, self._site.conf
        self._address = addresses.of_scope(self.scope)
        if (
            bus.sockets_of(user.id) >= conf.agent_sockets_max_per_user
            or bus.sockets_from(self._address) >= conf.agent_sockets_max_per_address
        ):
            return TOO_MANY
        asked = self.scope["url_route"]["kwargs"].get("conversation_id")
        if asked is None:
            newest = await in_thread(reads.newest, user_id=user.id)
            self._conversation_id = newest or await self._site.engine.start(user_id=user.id)
            return None
        self._conversation_id = ConversationId(asked)
        is_owner = await in_thread(reads.is_owner, self._conversation_id, user_id=user.id)
        return None if is_owner else NOT_FOUND

    def _is_same_origin(self) -> bool:
        headers = dict(self.scope["headers"])
        host = headers.get(b"host", b"").decode("latin-1")
        origin = headers.get(b"origin", b"").decode("latin-1")
        allowed = settings.ALLOWED_HOSTS or [".localhost", "127.0.0.1", "[::1]"]
        if not validate_host(split_domain_port(host)[0], allowed):
            return False
        if origin in settings.CSRF_TRUSTED_ORIGINS:
            return True
        # Behind TLS, a page that came without it may be anybody's.
        schemes = {"https"} if settings.AGENTSITE.agent_behind_tls else {"http", "https"}
        try:
            parts = urlsplit(origin)
        except ValueError:
            return False
        return parts.scheme in schemes and parts.netloc == host

    async def _write(self, subscription: Subscription, after: int | None) -> None:
        """Send what comes, until the socket ends or its reader is too slow."""
        try:
            for frame in await self._reader.begin(after):
                await self._send(frame)
            while True:
                if subscription.must_check_session:
                    subscription.must_check_session = False
                    if not await self._is_logged_in():
                        await self.close(NOT_LOGGED_IN)
                        return
                code = _closing(subscription)
                if code is not None:
                    await self.close(code)
                    return
                if subscription.sync_after is not None:
                    known, subscription.sync_after = subscription.sync_after, None
                    for frame in await self._reader.sync(known):
                        await self._send(frame)
                for frame in await self._reader.take():
                    await self._send(frame)
                await subscription.wait(not_before_s=self._loop.time() + self._out.pause_s)
        except asyncio.CancelledError:
            if not self._is_too_slow:
                raise
            await self.close(TOO_SLOW)
        except OSError:
            # The client went at this very moment, as some servers say it; `disconnect` is called next.
            return
        except ConversationMissingError:
            await self.close(NOT_FOUND)
        except Error as fault:
            logger.warning("A socket ends, because the database does not answer: %s", faults.in_a_line(fault))
            await self.close(INTERNAL_ERROR)
        except Exception:
            logger.exception("A socket's writer failed")
            await self.close(INTERNAL_ERROR)

    async def _is_logged_in(self) -> bool:
        return await in_thread(accounts.is_logged_in, self._session_key, self._user_id)

    async def _send(self, frame: str) -> None:
        """One frame. Channels' own way there is longer, and a frame has no timer of its own."""
        self._sending_since_s = self._loop.time()
        await self.base_send({"type": "websocket.send", "text": frame})
        self._sending_since_s = None

    def _look_at_clock(self) -> None:
        """Whether the reader took what it was sent in time; one timer for all frames."""
        limit_s = self._site.conf.agent_slow_reader_timeout_s
        since_s = self._sending_since_s
        left_s = limit_s if since_s is None else since_s + limit_s - self._loop.time()
        if left_s > 0:
            self._clock = self._loop.call_later(left_s, self._look_at_clock)
        elif self._writer is not None:
            self._is_too_slow = True
            self._writer.cancel()


class JsonConversationConsumer(ConversationConsumer):
    """The same for programs, on addresses that name no format."""

    default_format = "json"


def _closing(subscription: Subscription) -> int | None:
    if subscription.is_going_away:
        return SERVICE_RESTART
    return TOO_SLOW if subscription.is_overrun else None


class NowhereConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Any other address."""

    channel_layer_alias = ""

    async def connect(self) -> None:
        """There is nothing here."""
        await self.accept()
        await self.close(NOT_FOUND)
