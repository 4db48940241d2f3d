"""What a process needs to perform orders: the model, tools and the sandbox in which they execute code.

Knows the concrete classes of these. Must not know who gives orders, or who listens.
"""

from __future__ import annotations

import asyncio
import logging
import math
from pathlib import Path

from django.conf import settings

from chat.conf import Conf
from chat.core.effects import Order, RunTool, StartGeneration
from chat.core.ids import ConversationId
from chat.llm.demo import DEMO_MODEL, demo_script
from chat.llm.port import Model
from chat.llm.scripted import ScriptedServer
from chat.outside import Outside
from chat.performers.call_tool import Execution
from chat.performers.generate import Generation
from chat.tools import workshop
from chat.tools.registry import all_tools
from chat.tools.sandbox.availability import Unavailable
from chat.tools.sandbox.folder import WorkFolder
from chat.tools.sandbox.pool import Sandbox
from chat.tools.sandbox.values import MIB, Limits, SandboxSettings

logger = logging.getLogger(__name__)

WORK_ROOT = Path(settings.BASE_DIR) / "var" / "work"


class Workplace:
    """Where orders are performed in this process. `outside` is the world around them."""

    def __init__(self, conf: Conf, *, outside: Outside) -> None:
        self._conf = conf
        self._outside = outside
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

    async def open(self) -> None:
        """Come up. The sandbox follows in the background."""
        conf = self._conf
        base_url = conf.openai_base_url or None
        if conf.is_demo:
            self._demo = ScriptedServer(demo_script, model=DEMO_MODEL)
            await self._demo.start()
            base_url = self._demo.base_url
        self._model = await asyncio.to_thread(_model, conf, base_url)
        # In the background: finding out how code can be confined here takes a moment, and chats need not wait for it.
        self._sandbox_start = asyncio.create_task(self._open_sandbox(), name="sandbox start")

    async def _open_sandbox(self) -> None:
        workshop.open_for(self._sandbox)
        try:
            availability = await self._sandbox.start()
        except Exception:
            logger.exception("The sandbox could not start; code execution is off")
            return
        if isinstance(availability, Unavailable):
            logger.warning("Code execution is off. %s %s", availability.reason, availability.remedy)

    async def close(self) -> None:
        """Go down, once nothing is performed any more."""
        if self._sandbox_start is not None:
            await asyncio.wait({self._sandbox_start})
            workshop.open_for(None)
            await self._sandbox.close()
        if self._model is not None:
            await self._model.close()
        if self._demo is not None:
            await self._demo.close()

    def performance(self, conversation_id: ConversationId, order: Order) -> Generation | Execution:
        """An order, ready to be performed."""
        match order:
            case StartGeneration():
                assert self._model is not None  # noqa: S101 - nothing is dispatched before the start
                return Generation(
                    conversation_id,
                    order,
                    outside=self._outside,
                    model=self._model,
                    tools=all_tools(),
                    conf=self._conf,
                )
            case RunTool():
                return Execution(conversation_id, order, outside=self._outside, tools=all_tools(), conf=self._conf)

    async def close_kernel(self, conversation_id: ConversationId) -> None:
        """End the kernel of a conversation, when it has one here."""
        await self._sandbox.close_kernel(str(conversation_id))


def _model(conf: Conf, base_url: str | None) -> Model:
    # To import the SDK takes most of a second: a thread does it, while pages are served already.
    from chat.llm.openai_adapter import OpenAIModel  # noqa: PLC0415

    return OpenAIModel(
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
