"""One conversation of a person on a server, and the model server behind it.

Knows pages and sockets from outside. Must not know how the server is made.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import Exchange, Script, ScriptedRequest, Step
from tests.server import Person, ServerProcess, Wire

# No test waits for it; it only ends a test that would hang.
FAR_S = 30.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """Where a journey happens. `conversation` is its id."""

    server: ServerProcess
    upstream: ScriptedServer
    person: Person
    conversation: str

    @property
    def path(self) -> str:
        """Of its page."""
        return f"/c/{self.conversation}/"

    def answers(self, script: Mapping[str, tuple[Step, ...]] | Script | tuple[Step, ...]) -> None:
        """What the model answers: always the same, by the text of the question, or as a function says."""
        if isinstance(script, tuple):
            steps = script
            self.upstream.script = lambda request: steps
        elif isinstance(script, Mapping):
            by_question = script
            self.upstream.script = lambda request: by_question[request.last_user_text]
        else:
            self.upstream.script = script

    @asynccontextmanager
    async def socket(self, person: Person | None = None, **options: Any) -> AsyncIterator[Wire]:
        """A JSON socket on the conversation that has had its first frame."""
        someone = person or self.person
        async with someone.socket(f"/ws{self.path}?format=json", **options) as wire:
            first = await wire.receive()
            assert first["type"] == "state_update"
            assert first["full"] is True
            yield wire

    async def exchange(self, number: int) -> Exchange:
        """The model server's record of the question `number` (from 0) of this journey, once it was asked."""
        return await asyncio.to_thread(self.upstream.wait_for_exchange, number, timeout_s=FAR_S)

    @property
    def questions(self) -> list[str]:
        """The last user's text of each prompt, in order."""
        return [exchange.request.last_user_text for exchange in self.upstream.exchanges]

    def prompt(self, number: int = -1) -> ScriptedRequest:
        """What the model was asked."""
        return self.upstream.exchanges[number].request

    def export(self) -> dict[str, Any]:
        """The whole conversation as its owner can download it."""
        status, text = self.person.get(f"{self.path}export.json")
        assert status == 200, text[:500]
        exported: dict[str, Any] = json.loads(text)
        return exported

    def transcript(self) -> list[tuple[str, str, str]]:
        """Role, state and text of each message."""
        return [(row["role"], row["state"], row["content"]) for row in self.export()["messages"]]


def contents(frame: Mapping[str, Any]) -> list[str]:
    """What waits in the queue, in order."""
    return [item["content"] for item in frame["queue"]]
