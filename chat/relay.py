"""The way between the processes of one site, over the channel layer.

Knows groups, what is said in them and how often. Must not know rows or sockets. The layer may lose what is said, also
without an error: every announcement has its `seq` and every text its offsets, and copies are mended (`chat.copies`).

What is said, each with the process that says it:

    to a user's group           an announcement of a commit; that sessions may have ended
    to a conversation's group   text and output in flight; what somebody lacks of them
    to the performers' group    that a run is to be cancelled
    to this process's channel   an echo, by which it knows that it hears
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
import uuid
from collections.abc import Callable
from typing import Any, cast

import msgspec
from channels.layers import get_channel_layer

from chat import codec
from chat.bus import Bus
from chat.copies import Copies, OutputFlush, TextFlush
from chat.core.announcement import Announcement
from chat.core.ids import ConversationId, RunId
from chat.errors import AgentsiteError
from chat.flushes import OutputStream, Stream, TextStream, output_flush, text_flush
from chat.live import LiveOutput, LiveText

logger = logging.getLogger(__name__)

# Words that wait for the channel layer; more are dropped, as the layer itself may drop them.
WAITING_MAX = 10_000
RETRY_DELAY_S = 1.0
# How long a new reader waits to be sure that it hears; what it misses after that is found in the database.
JOIN_TIMEOUT_S = 1.0
# An echo that takes longer was lost.
ECHO_TIMEOUT_S = 2.5
# A copy that lacks something asks no more often.
ASK_INTERVAL_S = 0.2
# An announcement above it is told without its content; whoever hears it reads the database.
ANNOUNCEMENT_MAX_CHARACTERS = 256_000

_PERFORMERS = "agentsite.performers"


class Relay:
    """The channel layer, as the exchange of this process's bus.

    cancel: ends what this process performs for a run; None when it performs nothing.
    """

    def __init__(
        self,
        bus: Bus,
        *,
        process_id: uuid.UUID,
        flushes_per_second_max: float,
        cancel: Callable[[RunId], None] | None,
    ) -> None:
        self._bus = bus
        self.copies = Copies(bus, self, process_id=process_id)
        self._origin = str(process_id)
        self._pause_s = 1 / flushes_per_second_max
        self._cancel = cancel
        self._layer = get_channel_layer()
        self._channel = ""
        self._wanted: set[str] = set() if cancel is None else {_PERFORMERS}
        self._joined: set[str] = set()
        self._words: asyncio.Queue[tuple[str, dict[str, Any]]] = asyncio.Queue(WAITING_MAX)
        self._streams: dict[Stream, None] = {}
        self._asked: dict[object, float] = {}
        self._has_streams = asyncio.Event()
        self._must_join = asyncio.Event()
        self._has_joined = asyncio.Event()
        self._heard_at_s = time.monotonic()
        self._is_lost = False
        self._tasks: list[asyncio.Task[None]] = []
        self.dropped_count = 0

    async def start(self) -> None:
        """Begin to talk with others, as soon as the layer can be reached."""
        self._must_join.set()
        self._tasks = [
            asyncio.create_task(work(), name=f"relay {name}")
            for name, work in (
                ("membership", self._keep_joined),
                ("words", self._send_words),
                ("streams", self._send_streams),
                ("ears", self._listen),
                ("echo", self._keep_echoing),
            )
        ]

    async def stop(self) -> None:
        """Say what is still to be said, and end."""
        if self.is_heard:
            try:
                async with asyncio.timeout(RETRY_DELAY_S):
                    await self._words.join()
            except TimeoutError:
                logger.warning("The channel layer did not take the last words")
        pending = set(self._tasks)
        while pending:
            # Again, where the layer's client took the word for a time-out of its own.
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=RETRY_DELAY_S)
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @property
    def is_heard(self) -> bool:
        """Whether the layer brought an echo lately, and took all that was said since."""
        return time.monotonic() - self._heard_at_s < ECHO_TIMEOUT_S

    # Groups

    def listen_to_user(self, user_id: int) -> None:
        """See `Exchange`."""
        self._want(_user_group(user_id))

    def leave_user(self, user_id: int) -> None:
        """See `Exchange`."""
        self._want_no_more(_user_group(user_id))

    def listen_to(self, conversation_id: ConversationId) -> None:
        """See `Exchange`."""
        self._want(_conversation_group(conversation_id))

    def leave(self, conversation_id: ConversationId) -> None:
        """See `Exchange`."""
        self._want_no_more(_conversation_group(conversation_id))

    async def joined(self) -> None:
        """See `Exchange`."""
        if self._wanted <= self._joined or not self.is_heard:
            return
        try:
            async with asyncio.timeout(JOIN_TIMEOUT_S):
                while not self._wanted <= self._joined:
                    self._has_joined.clear()
                    await self._has_joined.wait()
        except TimeoutError:
            self._lose("it is slow")

    def _want(self, group: str) -> None:
        self._wanted.add(group)
        self._must_join.set()

    def _want_no_more(self, group: str) -> None:
        self._wanted.discard(group)
        self._must_join.set()

    async def _keep_joined(self) -> None:
        while True:
            await self._must_join.wait()
            self._must_join.clear()
            try:
                if not self._channel:
                    self._channel = await self._layer.new_channel()
                for group in self._wanted - self._joined:
                    await self._layer.group_add(group, self._channel)
                    self._joined.add(group)
                for group in self._joined - self._wanted:
                    self._joined.discard(group)
                    await self._layer.group_discard(group, self._channel)
            except Exception as fault:
                self._lose(fault)
                self._must_join.set()
                await asyncio.sleep(RETRY_DELAY_S)
            else:
                self._has_joined.set()

    # Out

    def announce(self, announcement: Announcement) -> None:
        """See `Exchange`."""
        told = codec.encode_announcement(announcement)
        if len(told) > ANNOUNCEMENT_MAX_CHARACTERS:
            changed = str(announcement.state.conversation_id)
            self._say(_user_group(announcement.user_id), {"changed": changed, "user": announcement.user_id})
        else:
            self._say(_user_group(announcement.user_id), {"announcement": told})

    def check_sessions(self, user_id: int) -> None:
        """See `Exchange`."""
        self._say(_user_group(user_id), {"sessions_of": user_id})

    def cancel_elsewhere(self, run_id: RunId) -> None:
        """Let whoever performs something for this run end it."""
        self._say(_PERFORMERS, {"cancel": str(run_id)})

    def ask_for_text(self, conversation_id: ConversationId, live: LiveText) -> None:
        """See `Source`."""
        if self._may_ask(live.message_id):
            lacks = [str(live.run_id), live.generation_no, live.length, live.reasoning_length]
            self._say(_conversation_group(conversation_id), {"lacks_text": lacks, "of": str(conversation_id)})

    def ask_for_output(self, conversation_id: ConversationId, output: LiveOutput) -> None:
        """See `Source`."""
        if self._may_ask(output.call_id):
            lacks = [str(output.call_id), output.execution_no, len(output.segments)]
            self._say(_conversation_group(conversation_id), {"lacks_output": lacks, "of": str(conversation_id)})

    def _may_ask(self, what: uuid.UUID) -> bool:
        now_s = time.monotonic()
        if now_s - self._asked.get(what, 0.0) < ASK_INTERVAL_S:
            return False
        if len(self._asked) > WAITING_MAX:
            self._asked.clear()
        self._asked[what] = now_s
        return True

    def send_text(self, conversation_id: ConversationId, live: LiveText) -> Stream:
        """See `Exchange`."""
        return TextStream(self, conversation_id, live)

    def send_output(self, conversation_id: ConversationId, output: LiveOutput) -> Stream:
        """See `Exchange`."""
        return OutputStream(self, conversation_id, output)

    def flush_soon(self, stream: Stream) -> None:
        """There is something to send of a stream."""
        self._streams[stream] = None
        self._has_streams.set()

    def flush_now(self, stream: Stream) -> None:
        """The same, in the order of what is said."""
        self._streams.pop(stream, None)
        flush = stream.flush()
        if flush is not None:
            self._say(_conversation_group(stream.conversation_id), flush)

    def _say(self, group: str, words: dict[str, Any]) -> None:
        try:
            self._words.put_nowait((group, words))
        except asyncio.QueueFull:
            self.dropped_count += 1

    async def _send_words(self) -> None:
        while True:
            group, words = await self._words.get()
            await self._send(group, words)
            self._words.task_done()

    async def _send_streams(self) -> None:
        while True:
            await self._has_streams.wait()
            self._has_streams.clear()
            streams, self._streams = self._streams, {}
            for stream in streams:
                flush = stream.flush()
                if flush is not None:
                    await self._send(_conversation_group(stream.conversation_id), flush)
            # A stream that has just been sent waits, and more of it comes together.
            await asyncio.sleep(self._pause_s)

    async def _send(self, group: str, words: dict[str, Any]) -> None:
        try:
            await self._layer.group_send(group, {"type": "relay", "origin": self._origin, **words})
        except Exception as fault:
            self.dropped_count += 1
            self._lose(fault)

    # In

    async def _listen(self) -> None:
        while True:
            if not self._channel:
                await asyncio.sleep(self._pause_s)
                continue
            try:
                words = cast(dict[str, Any], await self._layer.receive(self._channel))
                self._hear(words)
            except (msgspec.MsgspecError, AgentsiteError, KeyError, ValueError) as fault:
                # Another version of the program may say what this one does not know; the database tells the same.
                logger.warning("What another process said was not understood: %s", fault)
            except Exception as fault:
                self._lose(fault)
                await asyncio.sleep(RETRY_DELAY_S)

    def _hear(self, words: dict[str, Any]) -> None:
        if "echo" in words:
            self._hear_echo()
        if words.get("origin") == self._origin:
            return
        match words:
            case {"announcement": str(told)}:
                self._bus.deliver(codec.decode_announcement(told))
            case {"changed": str(changed), "user": int(user_id)}:
                for subscription in self._bus.readers_of(user_id):
                    subscription.is_list_stale = True
                    subscription.is_stale |= str(subscription.conversation_id) == changed
                    subscription.wake()
            case {"sessions_of": int(user_id)}:
                self._bus.check_sessions_here(user_id)
            case {"cancel": str(run_id)} if self._cancel is not None:
                self._cancel(RunId(uuid.UUID(run_id)))
            case {"text": flush, "of": str(of)}:
                self.copies.receive_text(_conversation(of), msgspec.convert(flush, TextFlush))
            case {"output": flush, "of": str(of)}:
                self.copies.receive_output(_conversation(of), msgspec.convert(flush, OutputFlush))
            case {"lacks_text": [str(run_id), int(generation_no), int(offset), int(reasoning_offset)], "of": str(of)}:
                room = self._bus.room(_conversation(of))
                live = room.live if room is not None else None
                if live and not live.is_copy and (str(live.run_id), live.generation_no) == (run_id, generation_no):
                    self._say(_conversation_group(_conversation(of)), text_flush(of, live, offset, reasoning_offset))
            case {"lacks_output": [str(call_id), int(execution_no), int(start)], "of": str(of)}:
                room = self._bus.room(_conversation(of))
                outputs = room.outputs.values() if room is not None else ()
                for output in outputs:
                    if not output.is_copy and (str(output.call_id), output.execution_no) == (call_id, execution_no):
                        self._say(_conversation_group(_conversation(of)), output_flush(of, output, start))

    async def _keep_echoing(self) -> None:
        while True:
            if self._channel:
                try:
                    await self._layer.send(self._channel, {"type": "relay", "origin": self._origin, "echo": True})
                except Exception as fault:
                    self._lose(fault)
            if not self.is_heard and not self._is_lost:
                self._lose("no echo comes")
            await asyncio.sleep(RETRY_DELAY_S)

    def _hear_echo(self) -> None:
        self._heard_at_s = time.monotonic()
        if self._is_lost:
            self._is_lost = False
            logger.warning("The channel layer is heard again")
            self._bus.note_loss()

    def _lose(self, why: object) -> None:
        """Something may not have reached the others, or this process."""
        self._heard_at_s = -math.inf
        if not self._is_lost:
            self._is_lost = True
            logger.warning("The channel layer can't be reached; the database is asked instead: %s", why)


def _conversation(of: str) -> ConversationId:
    return ConversationId(uuid.UUID(of))


def _user_group(user_id: int) -> str:
    return f"agentsite.user.{user_id}"


def _conversation_group(conversation_id: ConversationId) -> str:
    return f"agentsite.conversation.{conversation_id}"
