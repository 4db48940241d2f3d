"""What performers need of the world around them, from engine, bus and store."""

from __future__ import annotations

from django.core.files.base import ContentFile

from chat.bus import Bus
from chat.conf import Conf
from chat.core.agents import Profile
from chat.core.calls import Artifact, ToolCall
from chat.core.effects import RunTool, StartGeneration
from chat.core.events import Event
from chat.core.ids import ConversationId, MessageId
from chat.core.messages import Message
from chat.engine import Engine
from chat.live import LiveOutput, LiveText
from chat.store import agents, files, reads
from chat.store.commits import Committed
from chat.store.threads import in_thread
from chat.tools.registry import ToolFile


class Outside:
    """The world around an order that is performed, as this site has it."""

    def __init__(self, *, engine: Engine, bus: Bus, conf: Conf) -> None:
        self._engine = engine
        self._bus = bus
        self._conf = conf

    async def report(self, conversation_id: ConversationId, event: Event) -> int | None:
        result = await self._engine.apply(conversation_id, event)
        return result.announcement.seq if isinstance(result, Committed) else None

    def open_text(self, conversation_id: ConversationId, order: StartGeneration, seq: int) -> LiveText:
        return self._bus.open_text(
            conversation_id,
            message_id=order.message_id,
            run_id=order.run_id,
            generation_no=order.generation_no,
            opened_seq=seq,
        )

    async def transcript(
        self, conversation_id: ConversationId
    ) -> tuple[tuple[Message, ...], dict[MessageId, list[ToolCall]]]:
        return await in_thread(reads.transcript, conversation_id)

    async def profile(self, conversation_id: ConversationId) -> Profile | None:
        return await in_thread(agents.profile, conversation_id)

    async def save_text(
        self, conversation_id: ConversationId, order: StartGeneration, text: str, reasoning: str
    ) -> bool:
        return await in_thread(
            reads.save_text,
            conversation_id,
            order.message_id,
            run_id=order.run_id,
            generation_no=order.generation_no,
            text=text,
            reasoning=reasoning,
        )

    def open_output(self, conversation_id: ConversationId, order: RunTool) -> LiveOutput:
        return self._bus.open_output(
            conversation_id,
            call_id=order.call_id,
            execution_no=order.execution_no,
            limit_characters=self._conf.agent_tool_output_max_characters,
        )

    async def save_output(self, order: RunTool, output: str) -> None:
        await in_thread(reads.save_output, order.call_id, execution_no=order.execution_no, output=output)

    async def keep_file(self, conversation_id: ConversationId, file: ToolFile) -> Artifact:
        return await in_thread(
            files.keep,
            conversation_id,
            name=file.name,
            mime=file.mime,
            content=ContentFile(file.data),
            limit_bytes=self._conf.agent_storage_max_mib_per_user << 20,
        )
