"""Asks the model for one answer.

Knows back-off, text in flight and what an answer took. Must not know sockets, or who owns its task.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace

from django.db import InterfaceError, OperationalError

from chat.clock import now_ms
from chat.conf import Conf
from chat.core import prompt
from chat.core.agents import Profile, policy_for
from chat.core.calls import Policy, Proposal
from chat.core.effects import StartGeneration
from chat.core.events import (
    GenerationCompleted,
    GenerationDelayed,
    GenerationFailed,
    GenerationInterrupted,
    GenerationLost,
    GenerationStarted,
    TerminalEvent,
)
from chat.core.ids import ConversationId
from chat.core.messages import Failure, Telemetry
from chat.llm.port import CallBegun, Ended, Model, ModelError, ModelFault, Notice, Reasoning, Text, ToolSpec
from chat.llm.port import ToolCall as CalledTool
from chat.llm.speakable import speakable
from chat.performers.port import Outside, Sink
from chat.tools.registry import ArgumentsError, Tool

logger = logging.getLogger(__name__)

# Longer than any tool's name; a model may write anything there.
TOOL_NAME_LIMIT_CHARACTERS = 200
# Enough for a model to see what it did wrong.
PROBLEM_LIMIT_CHARACTERS = 1_000

CRASHED = Failure(
    fault=ModelFault.UNKNOWN.value,
    words="Something went wrong on this server while it answered. Press Retry; the log says more.",
)
UNKEPT = Failure(
    fault=ModelFault.UNKNOWN.value,
    words="The answer could not be stored, and is lost. Press Retry; the log says more.",
)


class Generation:
    """One order to the model, from the request to its end."""

    def __init__(
        self,
        conversation_id: ConversationId,
        order: StartGeneration,
        *,
        outside: Outside,
        model: Model,
        tools: Mapping[str, Tool],
        conf: Conf,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._conversation_id = conversation_id
        self._order = order
        self._outside = outside
        self._model = model
        self._tools = tools
        self._profile = Profile(policies={})
        self._proposals: list[Proposal] = []
        self._notices: list[str] = []
        self._conf = conf
        self._sleep = sleep
        self._sink: Sink | None = None
        self._saving: asyncio.Task[bool] | None = None
        self._is_gone = False
        self._asked_at_s = 0.0
        self._first_token_ms: int | None = None
        self._thinking_since_ms: int | None = None
        self._thinking_ms: int | None = None
        self._end = Ended(finish_reason="", usage=None, model="")

    async def perform(self) -> TerminalEvent:
        """Ask, again after back-off where that may help, and return how it ended."""
        try:
            return await self._perform()
        except (OperationalError, InterfaceError) as fault:
            # Nobody knows whether the last word was kept. The run is no worse off than with a process that died.
            logger.warning("Run %s lost the database and is asked again: %s", self._order.run_id, fault)
            return self._lost()

    async def _perform(self) -> TerminalEvent:
        attempt = 1
        while True:
            begun = await self._begin(attempt)
            if begun is None:
                return self.interrupted()
            try:
                return await self._ask(*begun)
            except ModelError as error:
                delay_s = self._delay_s(error, attempt)
                if delay_s is None:
                    return self._failed(Failure(fault=error.fault.value, words=error.words))
                await self._announce_delay(error, attempt, delay_s)
                await self._sleep(delay_s)
                attempt += 1

    async def _begin(self, attempt: int) -> tuple[Sink, int] | None:
        """Say that the model is asked now. The place for its text, and the event's number; None when it was refused."""
        started = GenerationStarted(
            run_id=self._order.run_id,
            generation_no=self._order.generation_no,
            attempt=attempt,
            at_ms=now_ms(),
        )
        happened = await self._outside.report(self._conversation_id, started)
        if happened is None:
            return None
        if self._sink is None:
            self._sink = self._outside.open_text(self._conversation_id, self._order, happened.seq)
        if happened.state.agent is not None:
            self._profile = await self._outside.profile(happened.state.agent)
        return self._sink, happened.seq

    async def _ask(self, sink: Sink, started_seq: int) -> TerminalEvent:
        # Nothing of what was said is held while the answer streams: of a long conversation it is a lot.
        asked = self._model.ask(
            await self._prompt(started_seq),
            tools=self._specs(),
            model=self._profile.model,
            whole_s=self._profile.answer_timeout_s,
        )
        self._asked_at_s = time.monotonic()
        try:
            async with asked as chunks:
                saved_at_s, calling = self._asked_at_s, ""
                async for batch in chunks:
                    text = "".join([chunk.text for chunk in batch if isinstance(chunk, Text)])
                    reasoning = "".join([chunk.text for chunk in batch if isinstance(chunk, Reasoning)])
                    for chunk in batch:
                        if isinstance(chunk, Text):
                            calling = ""
                        elif isinstance(chunk, CallBegun):
                            calling = chunk.name[:TOOL_NAME_LIMIT_CHARACTERS]
                        elif isinstance(chunk, CalledTool):
                            calling = ""
                            self._proposals.append(self._proposal(chunk))
                        elif isinstance(chunk, Notice):
                            self._notices.append(chunk.words)
                        elif isinstance(chunk, Ended):
                            self._end = chunk
                    sink.write_call(calling)
                    if not text and not reasoning:
                        continue
                    self._note_times(has_text=bool(text), has_reasoning=bool(reasoning))
                    sink.append(text, reasoning)
                    now_s = time.monotonic()
                    if now_s - saved_at_s >= self._conf.agent_checkpoint_interval_s:
                        saved_at_s = now_s
                        if not self._checkpoint(sink):
                            return self.interrupted()
        finally:
            # What is written next has all of the text, and what is saved later is saved for nobody.
            if self._saving is not None:
                self._saving.cancel()
        return GenerationCompleted(
            run_id=self._order.run_id,
            generation_no=self._order.generation_no,
            text=sink.since(0),
            reasoning=sink.reasoning_since(0),
            telemetry=self._telemetry(),
            at_ms=now_ms(),
            calls=tuple(self._proposals),
        )

    async def _prompt(self, started_seq: int) -> Sequence[prompt.PromptMessage]:
        transcript = await self._outside.transcript(self._conversation_id, as_of=started_seq)
        return prompt.build(
            transcript.messages,
            transcript.calls,
            instructions=self._profile.instructions or self._conf.agent_instructions,
            answer_id=self._order.message_id,
        )

    def _specs(self) -> tuple[ToolSpec, ...]:
        """The tools that the model is told of; none once it has called often enough in this run."""
        if self._order.generation_no > (self._profile.tool_rounds_max or self._conf.agent_tool_rounds_max):
            return ()
        return tuple(
            ToolSpec(name=tool.name, description=tool.description, parameters=tool.parameters)
            for tool in self._tools.values()
            if self._policy(tool) is not Policy.NEVER
        )

    def _policy(self, tool: Tool) -> Policy:
        of_site = dict(self._conf.agent_tool_policies).get(tool.name)
        return policy_for(tool.policy, of_site=of_site, of_agent=self._profile.policies.get(tool.name))

    def _proposal(self, chunk: CalledTool) -> Proposal:
        tool = self._tools.get(chunk.name)
        policy, problem = Policy.NEVER, ""
        if tool is None:
            problem = f"There is no tool named {chunk.name!r}. There are: {', '.join(self._tools) or 'none'}."
        else:
            policy = self._policy(tool)
            try:
                tool.parse(chunk.arguments)
            except ArgumentsError as fault:
                # It quotes what the model wrote, which can be long, and whose escapes can say what can't be stored.
                problem = speakable(str(fault))[:PROBLEM_LIMIT_CHARACTERS]
        return Proposal(
            provider_id=chunk.call_id,
            tool=chunk.name[:TOOL_NAME_LIMIT_CHARACTERS],
            arguments=chunk.arguments or "{}",
            policy=policy,
            problem=problem,
        )

    def _checkpoint(self, sink: Sink) -> bool:
        """Begin to save the text so far beside the stream. False when the last save found the order gone."""
        if self._is_gone:
            return False
        if self._saving is None:
            self._saving = asyncio.create_task(
                self._outside.save_text(self._conversation_id, self._order, sink.since(0), sink.reasoning_since(0)),
                name=f"checkpoint {self._order.run_id}",
            )
            self._saving.add_done_callback(self._saved)
        return True

    def _saved(self, saving: asyncio.Task[bool]) -> None:
        self._saving = None
        # A save that failed is tried again by the next one; only a clear no ends the work.
        self._is_gone = not saving.cancelled() and saving.exception() is None and not saving.result()

    async def _announce_delay(self, error: ModelError, attempt: int, delay_s: float) -> None:
        await self._outside.report(
            self._conversation_id,
            GenerationDelayed(
                run_id=self._order.run_id,
                generation_no=self._order.generation_no,
                attempt=attempt,
                failure=Failure(fault=error.fault.value, words=error.words),
                until_ms=now_ms() + round(delay_s * 1000),
                at_ms=now_ms(),
            ),
        )

    def _delay_s(self, error: ModelError, attempt: int) -> float | None:
        """How long to wait before asking again; None when that would not help or is not wanted."""
        has_text = self._sink is not None and bool(self._sink.length or self._sink.reasoning_length)
        if has_text or not error.is_transient or attempt >= self._conf.agent_attempts_max:
            return None
        if error.retry_after_s is not None:
            return error.retry_after_s if error.retry_after_s <= self._conf.agent_retry_after_max_s else None
        longest_s = min(self._conf.agent_backoff_max_s, self._conf.agent_backoff_first_s * 2.0 ** (attempt - 1))
        # Half fixed and half by chance, so that conversations that failed together do not come back together.
        return longest_s * (0.5 + random.random() / 2)  # noqa: S311 - spreads load, guards nothing

    def interrupted(self) -> TerminalEvent:
        """The answer was cancelled."""
        return GenerationInterrupted(
            run_id=self._order.run_id,
            generation_no=self._order.generation_no,
            text=self._sink.since(0) if self._sink else "",
            reasoning=self._sink.reasoning_since(0) if self._sink else "",
            telemetry=self._telemetry(),
            at_ms=now_ms(),
        )

    def crashed(self) -> TerminalEvent:
        """Something nobody foresaw."""
        return self._failed(CRASHED)

    def unkept(self) -> TerminalEvent:
        """All that came of it is left out."""
        return replace(self._failed(UNKEPT), text="", reasoning="", telemetry=Telemetry())

    async def left(self) -> TerminalEvent | None:
        """The process ends, and another will ask again: a worker says so at once, where others are there to take it.
        One that is alone saves the text for its own next start.
        """
        if self._conf.uses_workers:
            return self._lost()
        if self._sink is not None and (self._sink.length or self._sink.reasoning_length):
            await self._outside.save_text(
                self._conversation_id, self._order, self._sink.since(0), self._sink.reasoning_since(0)
            )
        return None

    def _lost(self) -> TerminalEvent:
        return GenerationLost(
            run_id=self._order.run_id,
            generation_no=self._order.generation_no,
            text=self._sink.since(0) if self._sink else "",
            can_ask_again=True,
            at_ms=now_ms(),
        )

    def _failed(self, failure: Failure) -> GenerationFailed:
        return GenerationFailed(
            run_id=self._order.run_id,
            generation_no=self._order.generation_no,
            text=self._sink.since(0) if self._sink else "",
            reasoning=self._sink.reasoning_since(0) if self._sink else "",
            failure=failure,
            telemetry=self._telemetry(),
            at_ms=now_ms(),
        )

    def _note_times(self, *, has_text: bool, has_reasoning: bool) -> None:
        if self._first_token_ms is None:
            self._first_token_ms = self._elapsed_ms()
        if has_reasoning and self._thinking_since_ms is None:
            self._thinking_since_ms = self._elapsed_ms()
        if has_text and self._thinking_since_ms is not None and self._thinking_ms is None:
            self._thinking_ms = self._elapsed_ms() - self._thinking_since_ms

    def _elapsed_ms(self) -> int:
        return round((time.monotonic() - self._asked_at_s) * 1000)

    def _telemetry(self) -> Telemetry:
        usage = self._end.usage
        thinking_ms = self._thinking_ms
        if thinking_ms is None and self._thinking_since_ms is not None:
            thinking_ms = self._elapsed_ms() - self._thinking_since_ms
        return Telemetry(
            model=self._end.model,
            finish_reason=self._end.finish_reason,
            notice=" ".join(self._notices),
            prompt_tokens=usage.prompt_tokens if usage else None,
            completion_tokens=usage.completion_tokens if usage else None,
            first_token_ms=self._first_token_ms,
            thinking_ms=thinking_ms,
            total_ms=self._elapsed_ms() if self._asked_at_s else None,
        )
