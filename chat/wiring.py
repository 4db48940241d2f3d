"""Builds engine, runner, bus and model, and starts and stops them: the one place that knows every concrete class.

A `Site` belongs to one process and one event loop. Servers start it as they come up (see `agentsite.asgi`);
a socket without a server, as in tests, starts it by coming.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import math
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import anyio
import anyio.lowlevel
from django.conf import settings
from django.core.files.base import ContentFile

from chat.bus import Bus, Subscriber
from chat.clock import now_ms
from chat.conf import Conf
from chat.core.calls import Artifact, ToolCall
from chat.core.effects import Order, RunTool, StartGeneration
from chat.core.events import Event, GenerationLost, ToolLost
from chat.core.ids import ConversationId, MessageId
from chat.core.messages import Message
from chat.engine import Engine
from chat.live import LiveOutput, LiveText
from chat.liveness import Liveness
from chat.llm.demo import demo_script
from chat.llm.openai_adapter import OpenAIModel
from chat.llm.port import Model
from chat.llm.scripted import ScriptedServer
from chat.performers.call_tool import Execution
from chat.performers.generate import Generation
from chat.runner import Performance, Runner
from chat.store import files, processes, purge, reads
from chat.store.commits import Committed
from chat.store.processes import Lost, LostCall, LostGeneration
from chat.store.quotas import Quota
from chat.store.threads import in_thread
from chat.tools import workshop
from chat.tools.registry import ToolFile, all_tools
from chat.tools.sandbox.availability import Unavailable
from chat.tools.sandbox.folder import WorkFolder
from chat.tools.sandbox.pool import Sandbox
from chat.tools.sandbox.values import MIB, Limits, SandboxSettings

logger = logging.getLogger(__name__)

# How often is looked for what was deleted long enough ago.
PURGE_INTERVAL_S = 3600

WORK_ROOT = Path(settings.BASE_DIR) / "var" / "work"


class Site:
    """Everything that runs in this process."""

    def __init__(self, conf: Conf) -> None:
        self.conf = conf
        self.process_id = uuid.uuid4()
        self.bus = Bus(
            process_id=self.process_id,
            backlog_max=conf.agent_socket_backlog_max_frames,
            subscribers=subscribers,
        )
        self.runner = Runner(make=self._performance, report=self._report)
        self.engine = Engine(
            owner=self.process_id,
            announce=self.bus.announce,
            dispatch=self.runner.dispatch,
            quota=Quota(
                messages_per_hour=conf.agent_messages_max_per_hour,
                runs_at_once=conf.agent_runs_max_per_user,
                tokens_per_day=conf.agent_tokens_max_per_day,
            ),
        )
        self._liveness = Liveness(Path(settings.BASE_DIR) / "var" / "processes")
        self._outside = _Outside(self)
        self._demo: ScriptedServer | None = None
        self._model: Model | None = None
        self._sandbox = Sandbox(
            SandboxSettings(
                work_root=WORK_ROOT,
                venv=Path(settings.BASE_DIR) / ".venv-sandbox",
                limits=limits(conf),
                warm_kernels=conf.agent_sandbox_warm_kernels,
                kernels_max=conf.agent_sandbox_kernels_max,
                idle_timeout_s=conf.agent_sandbox_idle_timeout_s,
                interrupt_grace_s=conf.agent_sandbox_interrupt_grace_s,
                start_timeout_s=conf.agent_sandbox_start_timeout_s,
                execution_timeout_s=conf.agent_sandbox_execution_timeout_s,
            )
        )
        self._sandbox_start: asyncio.Task[None] | None = None
        self._heart: asyncio.Task[None] | None = None
        self._purging: asyncio.Task[None] | None = None
        self._starting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Come up, and take over what dead processes left. Without effect when it has."""
        if self._starting is None or (self._starting.done() and self._starting.exception()):
            self._starting = asyncio.create_task(self._start(), name="site start")
        await asyncio.shield(self._starting)

    async def _start(self) -> None:
        # First what may not be there yet, so that nothing stands half built when the start is tried again.
        await in_thread(processes.beat, self.process_id)
        self._liveness.hold(self.process_id)
        conf = self.conf
        base_url = conf.openai_base_url or None
        if conf.is_demo:
            self._demo = ScriptedServer(demo_script)
            await self._demo.start()
            base_url = self._demo.base_url
        self._model = OpenAIModel(
            api_key=conf.openai_api_key,
            base_url=base_url,
            model=conf.openai_model,
            connect_s=conf.agent_connect_timeout_s,
            first_token_s=conf.agent_first_token_timeout_s,
            between_tokens_s=conf.agent_token_gap_timeout_s,
            whole_s=conf.agent_answer_timeout_s,
            connections_max=conf.agent_upstream_connections_max,
            dialect=conf.agent_tool_dialect,
        )
        # In the background: finding out how code can be confined here takes a moment, and chats need not wait for it.
        self._sandbox_start = asyncio.create_task(self._open_sandbox(), name="sandbox start")
        await self.bus.start()
        await self._beat()
        self._liveness.forget_dead()
        self._heart = asyncio.create_task(self._keep_beating(), name="heartbeat")
        self._purging = asyncio.create_task(self._keep_purging(), name="purge")
        # The model's HTTP client imports the rest of itself when it first waits: now, not under the first answer.
        await anyio.lowlevel.checkpoint()
        # A full collection stops a loaded server for 100 ms and more; what lives from the start needs none.
        gc.collect()
        gc.freeze()

    async def _open_sandbox(self) -> None:
        workshop.open_for(self._sandbox)
        try:
            availability = await self._sandbox.start()
        except Exception:
            logger.exception("The sandbox could not start; code execution is off")
            return
        if isinstance(availability, Unavailable):
            logger.warning("Code execution is off. %s %s", availability.reason, availability.remedy)

    async def stop(self) -> None:
        """Go down: readers are told to come back elsewhere, and runs are left for whoever takes over."""
        if self._starting is not None:
            await asyncio.wait({self._starting})
        await self.bus.stop()
        for task in (self._heart, self._purging):
            if task is not None:
                task.cancel()
                await asyncio.wait({task})
        await self.runner.drain()
        await self.engine.settle()
        if self._sandbox_start is not None:
            await asyncio.wait({self._sandbox_start})
            workshop.open_for(None)
            await self._sandbox.close()
        await in_thread(processes.say_goodbye, self.process_id)
        self._liveness.release()
        if self._model is not None:
            await self._model.close()
        if self._demo is not None:
            await self._demo.close()

    def _performance(self, conversation_id: ConversationId, order: Order) -> Performance:
        match order:
            case StartGeneration():
                assert self._model is not None  # noqa: S101 - nothing is dispatched before the start
                return Generation(
                    conversation_id,
                    order,
                    outside=self._outside,
                    model=self._model,
                    tools=all_tools(),
                    conf=self.conf,
                )
            case RunTool():
                return Execution(conversation_id, order, outside=self._outside, tools=all_tools(), conf=self.conf)

    async def _report(self, conversation_id: ConversationId, event: Event) -> object:
        return await self.engine.apply(conversation_id, event)

    async def _keep_beating(self) -> None:
        while True:
            await asyncio.sleep(self.conf.agent_heartbeat_interval_s)
            try:
                await self._beat()
            except Exception:
                logger.exception("The heartbeat failed; it goes on")

    async def _beat(self) -> None:
        await in_thread(processes.beat, self.process_id)
        silent, alive = await in_thread(
            processes.orders_of_others, self.process_id, silent_for_s=self.conf.agent_heartbeat_timeout_s
        )
        for lost in [*silent, *(order for order in alive if self._liveness.is_dead(order.owner))]:
            await self._take_over(lost)
        for run_id in await in_thread(processes.stopping_runs, self.process_id):
            self.runner.cancel(run_id)

    async def purge(self) -> int:
        """Remove for good the conversations that were deleted long enough ago; how many they were."""
        # A kernel of another process has ended by then.
        kept = max(
            timedelta(days=self.conf.agent_deleted_kept_days), timedelta(seconds=self.conf.agent_sandbox_idle_timeout_s)
        )
        before = datetime.now(UTC) - kept
        count = 0
        for conversation_id in await in_thread(purge.due, deleted_before=before):
            await self._sandbox.close_kernel(str(conversation_id))
            remove_folder = work_folder(conversation_id).remove
            count += await in_thread(purge.remove, conversation_id, deleted_before=before, remove_folder=remove_folder)
        return count

    async def _keep_purging(self) -> None:
        while True:
            try:
                await self.purge()
            except Exception:
                logger.exception("What was deleted could not be removed; it is tried again")
            await asyncio.sleep(PURGE_INTERVAL_S)

    async def _take_over(self, lost: Lost) -> None:
        logger.warning("An order of run %s lost its process; it is taken over", lost.run_id)
        event: Event
        match lost:
            case LostGeneration():
                event = GenerationLost(
                    run_id=lost.run_id,
                    generation_no=lost.generation_no,
                    text=lost.text,
                    can_ask_again=lost.loss_count < self.conf.agent_run_takeovers_max,
                    at_ms=now_ms(),
                )
            case LostCall():
                tool = all_tools().get(lost.tool)
                event = ToolLost(
                    run_id=lost.run_id,
                    call_id=lost.call_id,
                    execution_no=lost.execution_no,
                    can_run_again=tool is not None and tool.is_idempotent,
                    output=lost.output,
                    at_ms=now_ms(),
                )
        await self.engine.apply(lost.conversation_id, event)


class _Outside:
    """The world around a generation, as this site has it."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def report(self, conversation_id: ConversationId, event: Event) -> int | None:
        result = await self._site.engine.apply(conversation_id, event)
        return result.announcement.seq if isinstance(result, Committed) else None

    def open_text(self, conversation_id: ConversationId, order: StartGeneration, seq: int) -> LiveText:
        return self._site.bus.open_text(
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
        return self._site.bus.open_output(
            conversation_id,
            call_id=order.call_id,
            execution_no=order.execution_no,
            limit_characters=self._site.conf.agent_tool_output_max_characters,
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
            limit_bytes=self._site.conf.agent_storage_max_mib_per_user << 20,
        )


# Called with every announcement of this process; other apps add theirs in `AppConfig.ready`.
subscribers: list[Subscriber] = []


def limits(conf: Conf) -> Limits:
    """What the tools of one conversation may use, and what may lie in its work folder."""
    return Limits(
        memory_max_bytes=conf.agent_sandbox_memory_max_mib * MIB,
        folder_max_bytes=conf.agent_sandbox_folder_max_mib * MIB,
        tasks_max=conf.agent_sandbox_processes_max,
        cpu_max_s=math.ceil(conf.agent_sandbox_cpu_max_s),
        output_max_chars=conf.agent_sandbox_output_max_characters,
    )


def work_folder(conversation_id: ConversationId) -> WorkFolder:
    """Where the tools of a conversation find and leave files."""
    return WorkFolder(WORK_ROOT / str(conversation_id))


_sites: dict[asyncio.AbstractEventLoop, Site] = {}


def site() -> Site:
    """The site of this event loop, which may not have started: enough for wishes that start no run."""
    loop = asyncio.get_running_loop()
    for other in [known for known in _sites if known.is_closed()]:
        del _sites[other]
    if loop not in _sites:
        _sites[loop] = Site(settings.AGENTSITE)
    return _sites[loop]


async def running() -> Site:
    """The same, started."""
    known = site()
    await known.start()
    return known


async def stop() -> None:
    """Stop the site of this event loop, when there is one."""
    known = _sites.pop(asyncio.get_running_loop(), None)
    if known is not None:
        await known.stop()
