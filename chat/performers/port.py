"""What a generation needs of the world around it. Must not know who gives it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from chat.core.agents import AgentRef, Profile
from chat.core.announcement import Announcement
from chat.core.calls import ToolCall
from chat.core.effects import StartGeneration
from chat.core.events import Event
from chat.core.ids import ConversationId, MessageId
from chat.core.messages import Message


class Transcript(Protocol):
    """What was said."""

    @property
    def messages(self) -> Sequence[Message]:
        """All messages, in order."""
        ...

    @property
    def calls(self) -> Mapping[MessageId, Sequence[ToolCall]]:
        """The calls of each answer, in order."""
        ...


class Sink(Protocol):
    """Where text goes while it streams."""

    length: int
    reasoning_length: int

    def append(self, text: str, reasoning: str = "") -> None:
        """Add text."""
        ...

    def write_call(self, tool: str) -> None:
        """Say that the model writes a call of this tool, or with an empty name that it does no more."""
        ...

    def since(self, offset: int) -> str:
        """The text from an offset."""
        ...

    def reasoning_since(self, offset: int) -> str:
        """The thinking from an offset."""
        ...


class Outside(Protocol):
    """What a generation needs of the world around it."""

    async def report(self, conversation_id: ConversationId, event: Event) -> Announcement | None:
        """Let an event happen. None when it was refused."""
        ...

    def open_text(self, conversation_id: ConversationId, order: StartGeneration, seq: int) -> Sink:
        """The place for the text."""
        ...

    async def transcript(self, conversation_id: ConversationId, *, as_of: int) -> Transcript:
        """All that was said; as_of: an event that is known to be committed."""
        ...

    async def profile(self, agent: AgentRef) -> Profile:
        """What an agent is made of."""
        ...

    async def save_text(
        self, conversation_id: ConversationId, order: StartGeneration, text: str, reasoning: str
    ) -> bool:
        """Keep the text so far. False when the order is not the run's any more."""
        ...
