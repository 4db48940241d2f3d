"""A tab that stays open whatever happens: it comes back when its socket ends, and asks again when it sees a gap.

Knows nothing but the contract: a full update replaces all that it has, later ones say what changed, and text joins on
by its offset.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.server import Frame, Person, Wire

# As the page does it: soon at first, then more and more seldom, and not all at the same moment.
FIRST_DELAY_S, LAST_DELAY_S = 0.2, 3.0
# A process that is held accepts a connection and says nothing.
COMES_IN_WITHIN_S = 5.0
# Nothing shows that the last frame before a silence was lost: a client that hears nothing asks.
ASKS_AFTER_S = 2.0
NO_ANSWER_WITHIN_S = 6.0
OUT_OF_REACH = (OSError, ConnectionClosed, InvalidHandshake, TimeoutError, EOFError)


class Tab:
    """One reader of a conversation. `async with`: open until the end of the block."""

    def __init__(self, person: Person, conversation: str, *, chance: random.Random | None = None) -> None:
        self.person = person
        self.conversation = conversation
        self.seq = 0
        self.phase = ""
        self.held = False
        self.messages: dict[str, Frame] = {}
        self.queue: list[Frame] = []
        self.calls: dict[str, Frame] = {}
        self.errors: list[Frame] = []
        # Every message id that the server ever named: it was accepted.
        self.accepted: set[str] = set()
        self.connected_count = self.gap_count = 0
        # When a piece of an answer came (`time.monotonic()`).
        self.heard_at_s: list[float] = []
        self.close_codes: list[int | None] = []
        self.longest_away_s = 0.0
        self._chance = chance or random.Random()
        self._wire: Wire | None = None
        self._changed = asyncio.Condition()
        self._is_asking = False
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Tab:
        self._reading = asyncio.create_task(self._stay(), name=f"tab on {self.conversation}")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._reading is not None
        failed = self._reading.exception() if self._reading.done() and not self._reading.cancelled() else None
        self._reading.cancel()
        await asyncio.wait({self._reading})
        if failed is not None:
            raise failed

    @property
    def is_online(self) -> bool:
        """Whether its socket is open and has had its first frame."""
        return self._wire is not None and self.seq > 0

    async def send(self, **frame: Any) -> bool:
        """One frame out. False when that can't be now; true does not say that it arrived."""
        if self._wire is None:
            return False
        with suppress(*OUT_OF_REACH):
            await self._wire.send(**frame)
            return True
        return False

    async def say(self, content: str, *, within_s: float = 120, **fields: Any) -> str:
        """Send a message, with the same id again and again until the server has accepted it; its id."""
        message_id = str(fields.pop("id", None) or uuid.uuid4())
        deadline_s = time.monotonic() + within_s
        while message_id not in self.accepted:
            refused = next((error for error in self.errors if error.get("ref") == message_id), None)
            assert refused is None, f"{content!r} was refused: {refused}"
            assert time.monotonic() < deadline_s, f"{content!r} was not accepted within {within_s} s"
            is_sent = await self.send(type="user_message", id=message_id, content=content, **fields)
            # What was on its way when the socket ended may have arrived or not: the same id says it once.
            await self.until_soon(lambda: message_id in self.accepted, within_s=ASKS_AFTER_S if is_sent else 0.2)
        return message_id

    async def until_soon(self, is_so: Callable[[], bool], *, within_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(within_s), self._changed:
                await self._changed.wait_for(is_so)

    async def until_idle(self, *, within_s: float = 120) -> None:
        """Until nothing runs and nothing waits."""
        await self.until(
            lambda tab: tab.is_online and tab.phase == "idle" and not tab.queue,
            within_s=within_s,
            what="all to be done",
        )

    async def until(self, is_so: Callable[[Tab], bool], *, within_s: float = 90, what: str = "") -> None:
        """Until what it shows is so."""
        try:
            async with asyncio.timeout(within_s), self._changed:
                await self._changed.wait_for(lambda: self._has_failed or is_so(self))
        except TimeoutError:
            raise AssertionError(f"waited {within_s} s in vain for {what or is_so}; {self.picture()}") from None
        assert not self._has_failed, f"the tab failed: {self._reading and self._reading.exception()!r}"

    @property
    def texts(self) -> dict[str, str]:
        """The text of each answer, by its message."""
        return {key: row["content"] for key, row in self.messages.items() if row["role"] == "assistant"}

    def picture(self) -> dict[str, Any]:
        """What it shows."""
        return {
            "seq": self.seq,
            "phase": self.phase,
            "held": self.held,
            "messages": list(self.messages.values()),
            "queue": self.queue,
            "calls": self.calls,
        }

    @property
    def _has_failed(self) -> bool:
        return self._reading is not None and self._reading.done()

    async def _stay(self) -> None:
        delay_s, away_since_s = FIRST_DELAY_S, time.monotonic()
        try:
            while True:
                with suppress(*OUT_OF_REACH):
                    async with self.person.socket(
                        f"/ws/c/{self.conversation}/?format=json",
                        open_timeout=COMES_IN_WITHIN_S,
                        ping_interval=NO_ANSWER_WITHIN_S / 2,
                        ping_timeout=NO_ANSWER_WITHIN_S,
                        close_timeout=1,
                    ) as wire:
                        try:
                            await self._take(await wire.receive(within_s=COMES_IN_WITHIN_S))
                            self._wire = wire
                            self.connected_count += 1
                            if self.connected_count > 1:
                                self.longest_away_s = max(self.longest_away_s, time.monotonic() - away_since_s)
                            delay_s = FIRST_DELAY_S
                            await self._read(wire)
                        finally:
                            self._is_asking = False
                            if self._wire is wire:
                                self._wire, away_since_s = None, time.monotonic()
                            self.close_codes.append(wire.connection.close_code)
                await asyncio.sleep(delay_s * self._chance.uniform(0.5, 1.5))
                delay_s = min(2 * delay_s, LAST_DELAY_S)
        finally:
            with suppress(RuntimeError):
                async with self._changed:
                    self._changed.notify_all()

    async def _read(self, wire: Wire) -> None:
        while True:
            try:
                frame = await wire.receive(within_s=ASKS_AFTER_S)
            except TimeoutError:
                self._is_asking = False
                await self._ask(wire)
                continue
            if not await self._take(frame):
                self.gap_count += 1
                await self._ask(wire)
            wire.frames.clear()

    async def _ask(self, wire: Wire) -> None:
        if not self._is_asking:
            self._is_asking = True
            await wire.send(type="sync", after=self.seq)

    async def _take(self, frame: Frame) -> bool:
        """False when something is missing before this frame."""
        async with self._changed:
            is_whole = self._apply(frame)
            self._changed.notify_all()
        return is_whole

    def _apply(self, frame: Frame) -> bool:
        match frame["type"]:
            case "llm_response_delta":
                self.heard_at_s.append(time.monotonic())
                message = self.messages.get(frame["message_id"])
                if message is None or frame["offset"] > len(message["content"]):
                    return False
                message["content"] = message["content"][: frame["offset"]] + frame["text"]
            case "error" if frame["code"] != "not_saved":
                self.errors.append(frame)
            case "state_update":
                return self._update(frame)
        return True

    def _update(self, frame: Frame) -> bool:
        if frame["full"]:
            self._is_asking = False
            self.messages, self.calls = {}, {}
        elif frame["seq"] <= self.seq:
            # A repeat of what is known: it says that a message was accepted before.
            self._note(frame)
            return True
        elif frame["seq"] > self.seq + 1:
            return False
        self.seq, self.phase, self.held = frame["seq"], frame["phase"], frame["held"]
        self.messages |= {message["id"]: dict(message) for message in frame["messages"]}
        self.calls |= {call["call_id"]: call for call in frame["tool_calls"]}
        self.queue = frame["queue"]
        self._note(frame)
        return True

    def _note(self, frame: Frame) -> None:
        self.accepted.update(row["id"] for row in (*frame["messages"], *frame["queue"]))


async def fresh_picture(person: Person, conversation: str) -> dict[str, Any]:
    """What somebody sees who comes now."""
    tab = Tab(person, conversation)
    async with tab:
        await tab.until(lambda shown: shown.is_online, what="a fresh tab to be shown something")
        return json.loads(json.dumps(tab.picture()))  # type: ignore[no-any-return]
