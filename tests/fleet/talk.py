"""A person in one conversation of a chaos run, who does what people do and notes what came of it.

Knows what was asked for. Must not know what dies meanwhile.
"""

from __future__ import annotations

import asyncio
import json
import random
import uuid
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack

from chat.llm.scripted_steps import CallTool, Say, ScriptedRequest, Step
from tests.fleet.tab import Tab
from tests.server import Person

FAR_S = 240.0
SOON_S = 8.0
TOKEN_DELAY_S = 0.05
TEXT = "".join(f" word-{number}" for number in range(12))
LONG_TEXT = TEXT * 4
DECISIONS = ("run_again", "continue", "continue")
# What somebody does next, and how often.
DEEDS = {"ask": 4, "ask long": 3, "ask twice": 3, "steer": 2, "stop": 3, "tool": 4, "tool if allowed": 4, "withdraw": 1}


def script(request: ScriptedRequest) -> Sequence[Step]:
    """Echoes what was said last; a message that asks for a tool gets a call first, whose label is the message."""
    text = request.last_user_text
    kind = text.partition(" ")[0]
    if kind in ("note", "note_if_allowed") and not request.tool_results:
        return (CallTool(name=kind, arguments=json.dumps({"label": text, "seconds": 0.3})),)
    return (Say(text=answer(text), delay_s=TOKEN_DELAY_S),)


def answer(text: str) -> str:
    """The words with which the model answers a message."""
    return f"re: {text}{LONG_TEXT if text.startswith('long') else TEXT}"


class Talk:
    """One conversation, in one tab or more. Every message has words of its own."""

    def __init__(self, number: int, people: Sequence[Person], conversation: str, tabs: int, seed: str) -> None:
        self.number = number
        self.conversation = conversation
        self.said: dict[str, str] = {}
        self.withdrawn: set[str] = set()
        self.deeds: Counter[str] = Counter()
        self.decisions: Counter[str] = Counter()
        self.stops = 0
        self._chance = random.Random(seed)
        self.tabs = [
            Tab(person, conversation, chance=random.Random(f"{seed} {index}"))
            for index, person in zip(range(tabs), people, strict=False)
        ]

    async def go_on(self, until: asyncio.Event) -> None:
        """Do something and wait for its end, again and again; whatever was begun is brought to its end."""
        async with AsyncExitStack() as opened:
            for tab in self.tabs:
                await opened.enter_async_context(tab)
            answering = asyncio.create_task(self._answer_questions(), name=f"decisions of {self.number}")
            try:
                await self._visible()
                while not until.is_set():
                    deed = self._chance.choices(tuple(DEEDS), tuple(DEEDS.values()))[0]
                    self.deeds[deed] += 1
                    await self._do(deed)
                    await self._until_done()
                    await asyncio.sleep(self._chance.uniform(0, 1))
                await self._until_done()
            finally:
                answering.cancel()
                await asyncio.wait({answering})
            for tab in self.tabs:
                newest = max(other.seq for other in self.tabs)
                await tab.until(lambda tab, newest=newest: tab.seq >= newest, within_s=FAR_S, what="the newest event")  # type: ignore[misc]

    @property
    def _tab(self) -> Tab:
        """Any that is open."""
        return self._chance.choice([tab for tab in self.tabs if tab.is_online] or self.tabs)

    async def _visible(self) -> None:
        await self.tabs[0].until(lambda tab: tab.is_online, within_s=FAR_S, what="the conversation")

    async def _do(self, deed: str) -> None:
        match deed:
            case "ask":
                await self._say("short")
            case "ask long":
                await self._say("long")
            case "ask twice":
                await self._say("long")
                await self._say("short")
            case "steer":
                await self._say("note")
                await self._say("steering", delivery="steer")
            case "stop":
                await self._say("long")
                await asyncio.sleep(self._chance.uniform(0, 2))
                self.stops += 1
                await self._tab.send(type="stop")
            case "tool":
                await self._say("note")
            case "tool if allowed":
                await self._say("note_if_allowed")
            case "withdraw":
                await self._say("long")
                last = await self._say("short")
                if await self._tab.send(type="queue_remove", id=last):
                    self.withdrawn.add(last)

    async def _say(self, kind: str, **fields: str) -> str:
        content = f"{kind} {self.number}.{len(self.said)}"
        message_id = str(uuid.uuid4())
        self.said[message_id] = content
        tab = self._tab
        await tab.say(content, id=message_id, within_s=FAR_S, **fields)
        return message_id

    async def _until_done(self) -> None:
        """Until nothing runs and nothing waits; what a stop holds is let go on."""
        tab = self.tabs[0]

        def is_done() -> bool:
            # Another tab may have said something of which this one has not heard.
            knows_all = set(self.said) - self.withdrawn <= tab.accepted
            return tab.is_online and knows_all and tab.phase == "idle" and not tab.queue

        deadline = asyncio.get_running_loop().time() + FAR_S
        while not is_done():
            assert asyncio.get_running_loop().time() < deadline, f"talk {self.number} hangs: {tab.picture()}"
            if tab.phase == "idle" and tab.queue and tab.held:
                await tab.send(type="queue_resume")
            await tab.until_soon(is_done, within_s=1)

    async def _answer_questions(self) -> None:
        """Say yes to what waits, and decide on what was lost, as often as it is asked."""
        while True:
            tab = self._tab
            for call in list(tab.calls.values()):
                if tab.phase == "awaiting_approval" and call["state"] == "proposed":
                    await tab.send(type="approve", call_id=call["call_id"], digest=call["digest"])
                elif call["state"] == "unknown" and "result" not in call:
                    choice = self._chance.choice(DECISIONS)
                    self.decisions[choice] += 1
                    await tab.send(type="resolve_unknown", call_id=call["call_id"], choice=choice)
            await asyncio.sleep(0.5)
