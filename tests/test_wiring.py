"""Settings reach what they are about."""

from __future__ import annotations

import dataclasses

import pytest
from django.conf import settings

from chat.core.prompt import PromptMessage
from chat.llm.port import Ended
from chat.tools.sandbox.values import MIB
from chat.wiring import Site


async def test_limits_of_the_sandbox_are_those_of_the_settings() -> None:
    conf = dataclasses.replace(
        settings.AGENTSITE,
        agent_sandbox_memory_max_mib=7,
        agent_sandbox_folder_max_mib=8,
        agent_sandbox_processes_max=9,
        agent_sandbox_cpu_max_s=9.5,
        agent_sandbox_output_max_characters=11,
        agent_sandbox_warm_kernels=0,
        agent_sandbox_kernels_max=12,
        agent_sandbox_idle_timeout_s=13,
        agent_sandbox_execution_timeout_s=14,
        agent_sandbox_interrupt_grace_s=15,
        agent_sandbox_start_timeout_s=16,
    )
    workplace = Site(conf)._workplace
    assert workplace is not None
    sandbox = workplace._sandbox._settings
    limits = sandbox.limits
    assert (limits.memory_max_bytes, limits.folder_max_bytes) == (7 * MIB, 8 * MIB)
    # Linux counts whole seconds of CPU time.
    assert (limits.tasks_max, limits.cpu_max_s, limits.output_max_chars) == (9, 10, 11)
    assert (sandbox.warm_kernels, sandbox.kernels_max, sandbox.idle_timeout_s) == (0, 12, 13)
    assert (sandbox.execution_timeout_s, sandbox.interrupt_grace_s, sandbox.start_timeout_s) == (14, 15, 16)


@pytest.mark.parametrize("asked_for", ["", "big-model"])
async def test_the_demo_answers_by_its_own_name_whichever_model_was_asked_for(asked_for: str) -> None:
    conf = dataclasses.replace(settings.AGENTSITE, openai_api_key="", openai_base_url="", agent_sandbox_warm_kernels=0)
    workplace = Site(conf)._workplace
    assert workplace is not None
    await workplace.open()
    try:
        assert workplace._model is not None
        prompt = (PromptMessage(role="user", content="short"),)
        async with workplace._model.ask(prompt, model=asked_for) as answer:
            chunks = [chunk async for batch in answer for chunk in batch]
    finally:
        await workplace.close()
    assert [chunk.model for chunk in chunks if isinstance(chunk, Ended)] == ["scripted-demo"]
