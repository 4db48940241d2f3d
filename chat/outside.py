"""What performers need of the world around them, from engine, bus and store."""

from __future__ import annotations

import asyncio

from django.core.files.base import ContentFile

from chat.bus import Bus
from chat.conf import Conf
from chat.core.agents import AgentRef, Profile
from chat.core.announcement import Announcement
from chat.core.calls import Artifact
from chat.core.effects import RunTool, StartGeneration
from chat.core.events import Event
from chat.core.ids import ConversationId
from chat.engine import Engine
from chat.live import LiveOutput, LiveText
from chat.store import agents, files, reads, texts
from chat.store.commits import Committed
from chat.store.texts import Checkpoint
from chat.store.threads import in_thread
from chat.store.transcripts import Transcript, Transcripts
from chat.tools.registry import ToolFile

# What streams want to keep within this time is kept in one transaction.
GATHER_S = 0.2


class Texts:
    """Keeps what answers have so far, those of many streams at once: a transaction costs, not the text."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Checkpoint, asyncio.Future[bool]]] = []
        self._saving: asyncio.Task[None] | None = None

    async def save(self, checkpoint: Checkpoint) -> bool:
        """False when its order is not the run's any more. Who asked may be cancelled meanwhile; then it may be left."""
        kept: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((checkpoint, kept))
        if self._saving is None:
            self._saving = asyncio.create_task(self._save(), name="checkpoints")
        return await kept

    async def _save(self) -> None:
        await asyncio.sleep(GATHER_S)
        self._saving = None
        wanted = [(checkpoint, kept) for checkpoint, kept in self._waiting if not kept.done()]
        self._waiting.clear()
        if not wanted:
            return
        try:
            are_current = await in_thread(texts.save, [checkpoint for checkpoint, _ in wanted])
        except Exception as fault:
            for _, kept in wanted:
                if not kept.done():
                    kept.set_exception(fault)
        else:
            for (_, kept), is_current in zip(wanted, are_current, strict=True):
                if not kept.done():
                    kept.set_result(is_current)


class Outside:
    """The world around an order that is performed, as this site has it."""

    def __init__(self, *, engine: Engine, bus: Bus, conf: Conf) -> None:
        self._engine = engine
        self._bus = bus
        self._conf = conf
        self._texts = Texts()
        self._transcripts = Transcripts()

    async def report(self, conversation_id: ConversationId, event: Event) -> Announcement | None:
        result = await self._engine.apply(conversation_id, event)
        return result.announcement if isinstance(result, Committed) else None

    def open_text(self, conversation_id: ConversationId, order: StartGeneration, seq: int) -> LiveText:
        return self._bus.open_text(
            conversation_id,
            message_id=order.message_id,
            run_id=order.run_id,
            generation_no=order.generation_no,
            opened_seq=seq,
        )

    async def transcript(self, conversation_id: ConversationId, *, as_of: int) -> Transcript:
        return await self._transcripts.read(conversation_id, as_of=as_of)

    async def profile(self, agent: AgentRef) -> Profile:
        return await in_thread(agents.profile, agent)

    async def save_text(
        self, conversation_id: ConversationId, order: StartGeneration, text: str, reasoning: str
    ) -> bool:
        checkpoint = Checkpoint(
            conversation_id=conversation_id,
            message_id=order.message_id,
            run_id=order.run_id,
            generation_no=order.generation_no,
            text=text,
            reasoning=reasoning,
        )
        return await self._texts.save(checkpoint)

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
