"""Runs one tool call.

Knows claims, time-outs, output in flight and how long results are cut. Must not know sandboxes, sockets, or who owns
its task.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain, repeat
from typing import Protocol

from django.db import InterfaceError, OperationalError

from chat.clock import now_ms
from chat.conf import Conf
from chat.core.calls import Artifact, CallState
from chat.core.effects import RunTool
from chat.core.events import Event, TerminalEvent, ToolEnded, ToolStarted
from chat.core.ids import CallId, ConversationId
from chat.core.orders import STOPPED_RESULT
from chat.errors import StorageFullError
from chat.tables import INLINE, Extent, harmless, shown
from chat.tools.registry import ArgumentsError, Tool, ToolFailedError, ToolFile, ToolResult

logger = logging.getLogger(__name__)

LEFT_RESULT = "The server was shut down while this ran, which stopped it."
UNKEPT_RESULT = "It ran, but what it printed and returned could not be stored."
NOT_RUN_RESULT = "The database broke off before this began. It was not run."
# HTML of one call's tables that is shown right in its card, and so kept in the log; beyond it they are files alone.
HTML_MAX_CHARACTERS = 100_000
# A line.
PROGRESS_MAX_CHARACTERS = 200
# Between tries to claim a call from a database that is away; the last again and again.
CLAIM_RETRY_DELAYS_S = (0.1, 0.3, 1.0, 3.0)


class OutputSink(Protocol):
    """Where output goes while the tool runs."""

    def append(self, stream: str, text: str) -> None:
        """Add text."""
        ...

    def progress(self, fraction: float | None, text: str) -> None:
        """Say how far it is, in place of what was said before."""
        ...

    def text(self) -> str:
        """All of it so far, within its bound."""
        ...


class Outside(Protocol):
    """What a tool call needs of the world around it."""

    async def report(self, conversation_id: ConversationId, event: Event) -> object:
        """Let an event happen. None when it was refused."""
        ...

    def open_output(self, conversation_id: ConversationId, order: RunTool) -> OutputSink:
        """The place for the output."""
        ...

    async def save_output(self, order: RunTool, output: str) -> None:
        """Keep the output so far."""
        ...

    async def keep_file(self, conversation_id: ConversationId, file: ToolFile) -> Artifact:
        """Keep a file."""
        ...


class Execution:
    """One order to a tool, from the claim to its end."""

    def __init__(
        self,
        conversation_id: ConversationId,
        order: RunTool,
        *,
        outside: Outside,
        tools: Mapping[str, Tool],
        conf: Conf,
    ) -> None:
        self._conversation_id = conversation_id
        self._order = order
        self._outside = outside
        self._tool = tools.get(order.tool)
        self._conf = conf
        self._sink: OutputSink | None = None
        self._is_claimed = False

    @property
    def conversation_id(self) -> ConversationId:
        """Whose call it is."""
        return self._conversation_id

    @property
    def call_id(self) -> CallId:
        """Which call it is."""
        return self._order.call_id

    def output(self, text: str, *, stream: str = "stdout") -> None:
        """Show this to everybody who looks on, at once."""
        if self._sink is not None and text:
            self._sink.append("stderr" if stream == "stderr" else "stdout", storable(text))

    def progress(self, fraction: float | None, words: str = "") -> None:
        """Show how far it is to everybody who looks on."""
        if self._sink is None:
            return
        known = None if fraction is None or math.isnan(fraction) else min(max(fraction, 0.0), 1.0)
        line = " ".join(words[: 2 * PROGRESS_MAX_CHARACTERS].split())[:PROGRESS_MAX_CHARACTERS]
        self._sink.progress(known, storable(line))

    async def perform(self) -> TerminalEvent:
        """Claim the call, run it, and return how it ended."""
        ended = await self._claim()
        if ended is not None:
            return ended
        self._sink = self._outside.open_output(self._conversation_id, self._order)
        saver = asyncio.create_task(self._save_now_and_then(self._sink), name=f"output {self._order.call_id}")
        try:
            return await self._run()
        finally:
            saver.cancel()
            await asyncio.wait({saver})

    async def _claim(self) -> TerminalEvent | None:
        """None when the call may run now; else how it ended without."""
        order = self._order
        claim = ToolStarted(run_id=order.run_id, call_id=order.call_id, execution_no=order.execution_no, at_ms=now_ms())
        delays_s = chain(CLAIM_RETRY_DELAYS_S, repeat(CLAIM_RETRY_DELAYS_S[-1]))
        is_unsure = False
        while True:
            claiming = asyncio.ensure_future(self._outside.report(self._conversation_id, claim))
            try:
                await asyncio.shield(claiming)
            except (OperationalError, InterfaceError) as fault:
                # Nothing has run yet, so it can wait for a database that is away.
                logger.warning("Call %s could not be claimed; it is tried again: %s", order.call_id, fault)
                is_unsure = True
            else:
                break
            finally:
                # Whoever is cancelled meanwhile must know whether the call is theirs to end. Waiting for what is done
                # would be one more moment to be cancelled in.
                if not claiming.done():
                    await asyncio.wait({claiming})
                self._is_claimed = claiming.exception() is not None or claiming.result() is not None
            await asyncio.sleep(next(delays_s))
        if self._is_claimed:
            return None
        if is_unsure:
            # The claim before may have been kept and its answer lost: nobody else would end the call then.
            self._is_claimed = True
            return self._ended(CallState.STOPPED, NOT_RUN_RESULT)
        return self.interrupted()

    async def _run(self) -> TerminalEvent:
        if self._tool is None:
            return self._ended(CallState.FAILED, f"There is no tool named {self._order.tool} any more.")
        deadline = asyncio.timeout(self._tool.timeout_s)
        try:
            arguments = self._tool.parse(self._order.arguments)
            async with deadline:
                result = await self._tool.function(self, **arguments)
            if isinstance(result, str):
                result = ToolResult(text=result)
            artifacts, notes = await self._keep(result.files)
        except (ToolFailedError, ArgumentsError) as fault:
            return self._ended(CallState.FAILED, str(fault))
        except Exception as fault:
            if self._tool.timeout_s is not None and deadline.expired():
                return self._ended(CallState.FAILED, f"It took longer than {self._tool.timeout_s:g} s and was stopped.")
            logger.exception("The tool %s crashed in conversation %s", self._tool.name, self._conversation_id)
            return self._ended(CallState.FAILED, f"The tool crashed: {type(fault).__name__}.")
        outcome = CallState.FAILED if result.has_failed else CallState.SUCCEEDED
        return self._ended(outcome, "\n".join((result.text, *notes)), artifacts)

    async def _keep(self, files: Iterable[ToolFile]) -> tuple[tuple[Artifact, ...], list[str]]:
        """The files that were kept, and what is to be said of others."""
        kept, notes = [], []
        room = HTML_MAX_CHARACTERS
        for file in files:
            html = ""
            if file.html and room > 0:
                extent = replace(INLINE, characters_max=min(INLINE.characters_max, room))
                html = await asyncio.to_thread(_table, file.html, extent)
                room -= len(html)
            storable_file = replace(file, name=storable(file.name), mime=storable(file.mime))
            try:
                artifact = await self._outside.keep_file(self._conversation_id, storable_file)
            except StorageFullError as fault:
                notes.append(f"The file {storable_file.name} was not kept for the user: {fault}.")
            else:
                kept.append(replace(artifact, html=html))
        return tuple(kept), notes

    async def _save_now_and_then(self, sink: OutputSink) -> None:
        saved = ""
        while True:
            await asyncio.sleep(self._conf.agent_checkpoint_interval_s)
            output = sink.text()
            if output == saved:
                continue
            try:
                await self._outside.save_output(self._order, output)
            except Exception:
                logger.exception("What a tool printed could not be saved; it is tried again")
            else:
                saved = output

    def interrupted(self) -> TerminalEvent:
        """The call was cancelled, and nothing of it runs any more."""
        return self._ended(CallState.STOPPED, STOPPED_RESULT)

    def crashed(self) -> TerminalEvent:
        """Something nobody foresaw, after which it is not known what the tool has done."""
        return self._ended(CallState.FAILED, "Something went wrong on this server while it ran.")

    def unkept(self) -> TerminalEvent:
        """All that came of it is left out."""
        return replace(self._ended(CallState.FAILED, UNKEPT_RESULT), output="")

    async def left(self) -> TerminalEvent | None:
        """The process ends and took the tool with it: it was stopped."""
        return self._ended(CallState.STOPPED, LEFT_RESULT)

    def _ended(self, outcome: CallState, result: str, artifacts: tuple[Artifact, ...] = ()) -> ToolEnded:
        return ToolEnded(
            run_id=self._order.run_id,
            call_id=self._order.call_id,
            execution_no=self._order.execution_no,
            outcome=outcome.value,
            output=self._sink.text() if self._sink else "",
            result=cut(result, self._conf.agent_tool_result_max_characters),
            artifacts=artifacts,
            at_ms=now_ms(),
            is_claimed=self._is_claimed,
        )


def _table(markup: str, extent: Extent) -> str:
    html = harmless(markup, extent)
    # What it takes to show it is done here, in a thread, and is at hand when the card is drawn.
    shown(html)
    return html


def storable(text: str) -> str:
    """The text without NUL and halves of character pairs, which can be neither stored nor sent."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def cut(text: str, limit_characters: int) -> str:
    """The text, or its beginning and end with a note of how much is left out; without what can't be stored."""
    text = storable(text)
    if len(text) <= limit_characters:
        return text
    half = limit_characters // 2
    note = f"\n[… {len(text) - 2 * half:,} of {len(text):,} characters left out …]\n"
    return text[:half] + note + text[len(text) - half :]
