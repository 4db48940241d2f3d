"""One order to a tool: claimed first, run once, ended in one event that can be stored, whatever the tool does."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest
from django.conf import settings

from chat.core.calls import Artifact
from chat.core.effects import RunTool
from chat.core.events import Event, ToolEnded, ToolStarted
from chat.core.ids import ArtifactId, CallId, ConversationId, RunId
from chat.core.orders import STOPPED_RESULT
from chat.performers.call_tool import LEFT_RESULT, Execution
from chat.tools import registry
from chat.tools.registry import Tool, ToolContext, ToolFailedError, ToolFile, ToolResult, all_tools, tool

CONVERSATION = ConversationId(UUID(int=1))
ORDER = RunTool(
    run_id=RunId(UUID(int=2)), call_id=CallId(UUID(int=3)), execution_no=1, tool="work", arguments='{"n": 2}'
)
FAR_S = 20.0
CONF = dataclasses.replace(
    settings.AGENTSITE,
    agent_checkpoint_interval_s=0.01,
    agent_tool_output_max_characters=50,
    agent_tool_result_max_characters=100,
)
Work = Callable[[ToolContext, int], Awaitable[str | ToolResult]]


class Sink:
    """Where output goes."""

    def __init__(self) -> None:
        self.parts: list[tuple[str, str]] = []
        self.told: list[tuple[float | None, str]] = []

    def progress(self, fraction: float | None, text: str) -> None:
        self.told.append((fraction, text))

    def append(self, stream: str, text: str) -> None:
        self.parts.append((stream, text))

    def text(self) -> str:
        return "".join(text for _, text in self.parts)


class Outside:
    """The world around a call. takes_claims: whether the reducer lets it be claimed; `claim_gate` holds the answer."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.takes_claims = True
        self.claim_gate: asyncio.Event | None = None
        self.claim_fault: Exception | None = None
        self.sink = Sink()
        self.saved: list[str] = []
        self.has_saved = asyncio.Event()
        self.saving_faults: list[Exception] = []
        self.files: list[ToolFile] = []
        self.keeping_fault: Exception | None = None

    async def report(self, conversation_id: ConversationId, event: Event) -> int | None:
        assert conversation_id == CONVERSATION
        self.events.append(event)
        if self.claim_gate is not None:
            await self.claim_gate.wait()
        if self.claim_fault is not None:
            raise self.claim_fault
        return 7 if self.takes_claims else None

    def open_output(self, conversation_id: ConversationId, order: RunTool) -> Sink:
        assert self.events, "nothing is shown before the claim"
        return self.sink

    async def save_output(self, order: RunTool, output: str) -> None:
        if self.saving_faults:
            raise self.saving_faults.pop()
        self.saved.append(output)
        self.has_saved.set()

    async def keep_file(self, conversation_id: ConversationId, file: ToolFile) -> Artifact:
        if self.keeping_fault is not None:
            raise self.keeping_fault
        self.files.append(file)
        return Artifact(
            artifact_id=ArtifactId(UUID(int=len(self.files))), name=file.name, mime=file.mime, size=len(file.data)
        )


@pytest.fixture
def outside() -> Outside:
    return Outside()


@pytest.fixture(autouse=True)
def _own_tools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tools of a test are gone with it."""
    monkeypatch.setattr(registry, "_tools", {})


def made(work: Work, *, timeout_s: float | None = FAR_S) -> dict[str, Tool]:
    """This function as the tool named `work`."""

    async def run(context: ToolContext, n: int) -> str | ToolResult:
        """Work."""
        return await work(context, n)

    run.__name__ = "work"
    tool(timeout_s=timeout_s)(run)
    return dict(all_tools())


def execution(outside: Outside, work: Work, *, order: RunTool = ORDER, timeout_s: float | None = FAR_S) -> Execution:
    return Execution(CONVERSATION, order, outside=outside, tools=made(work, timeout_s=timeout_s), conf=CONF)


async def ended(outside: Outside, work: Work, **options: Any) -> ToolEnded:
    """How it ended."""
    async with asyncio.timeout(FAR_S):
        event = await execution(outside, work, **options).perform()
    assert isinstance(event, ToolEnded)
    assert (event.run_id, event.call_id, event.execution_no) == (ORDER.run_id, ORDER.call_id, ORDER.execution_no)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    return event


async def double(context: ToolContext, n: int) -> str:
    context.output("working\n")
    context.output("hm\n", stream="stderr")
    return str(2 * n)


async def forbidden(context: ToolContext, n: int) -> str:
    raise AssertionError("it ran")


# Claims


async def test_a_call_is_claimed_run_and_ended(outside: Outside) -> None:
    event = await ended(outside, double)
    assert (event.outcome, event.result, event.output, event.is_claimed) == ("succeeded", "4", "working\nhm\n", True)
    assert outside.sink.parts == [("stdout", "working\n"), ("stderr", "hm\n")]
    [claim] = outside.events
    assert isinstance(claim, ToolStarted)
    assert (claim.run_id, claim.call_id, claim.execution_no) == (ORDER.run_id, ORDER.call_id, 1)


async def test_a_call_whose_claim_is_refused_never_runs_and_ends_nobody_elses(outside: Outside) -> None:
    outside.takes_claims = False
    event = await ended(outside, forbidden)
    assert (event.outcome, event.output, event.is_claimed) == ("stopped", "", False)


async def test_nothing_runs_before_the_claim_is_answered(outside: Outside) -> None:
    has_begun = asyncio.Event()

    async def work(context: ToolContext, n: int) -> str:
        has_begun.set()
        return "done"

    outside.claim_gate = asyncio.Event()
    performing = asyncio.create_task(execution(outside, work).perform())
    for _ in range(10):
        await asyncio.sleep(0)
    assert not has_begun.is_set()
    outside.claim_gate.set()
    assert isinstance(await performing, ToolEnded)
    assert has_begun.is_set()


@pytest.mark.parametrize("takes_claims", [True, False])
async def test_one_that_is_cancelled_while_it_claims_knows_whether_the_call_is_its_own(
    outside: Outside, takes_claims: bool
) -> None:
    outside.takes_claims = takes_claims
    outside.claim_gate = asyncio.Event()
    one = execution(outside, forbidden)
    performing = asyncio.create_task(one.perform())
    for _ in range(5):
        await asyncio.sleep(0)
    performing.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not performing.done()
    outside.claim_gate.set()
    await asyncio.wait({performing})
    assert performing.cancelled()
    event = one.interrupted()
    assert isinstance(event, ToolEnded)
    assert (event.outcome, event.is_claimed) == ("stopped", takes_claims)


async def test_one_that_was_cancelled_before_it_began_claimed_nothing(outside: Outside) -> None:
    event = execution(outside, forbidden).interrupted()
    assert isinstance(event, ToolEnded)
    assert not event.is_claimed


async def test_a_claim_that_nobody_answered_may_have_been_taken(outside: Outside) -> None:
    outside.claim_fault = OSError("the database is away")
    one = execution(outside, forbidden)
    with pytest.raises(OSError, match="away"):
        await one.perform()
    event = one.crashed()
    assert isinstance(event, ToolEnded)
    assert (event.outcome, event.is_claimed) == ("failed", True)


# How it ends


async def test_a_tool_that_can_not_do_it_fails_with_its_own_words(outside: Outside) -> None:
    async def work(context: ToolContext, n: int) -> str:
        context.output("I tried.")
        raise ToolFailedError("There is no such city.")

    event = await ended(outside, work)
    assert (event.outcome, event.result, event.output) == ("failed", "There is no such city.", "I tried.")


async def test_a_result_that_says_that_it_failed_is_a_failure_with_its_files(outside: Outside) -> None:
    async def work(context: ToolContext, n: int) -> ToolResult:
        return ToolResult(
            text="Exit code 1", files=(ToolFile(name="log", mime="text/plain", data=b"x"),), has_failed=True
        )

    event = await ended(outside, work)
    assert (event.outcome, event.result, len(event.artifacts)) == ("failed", "Exit code 1", 1)


async def test_a_tool_that_takes_too_long_is_cancelled_and_has_failed(outside: Outside) -> None:
    has_ended = asyncio.Event()

    async def work(context: ToolContext, n: int) -> str:
        try:
            await asyncio.Event().wait()
        finally:
            has_ended.set()
        return ""

    event = await ended(outside, work, timeout_s=0.01)
    assert (event.outcome, event.result) == ("failed", "It took longer than 0.01 s and was stopped.")
    assert has_ended.is_set()


async def test_a_tool_without_a_time_out_sees_to_that_itself(outside: Outside) -> None:
    async def work(context: ToolContext, n: int) -> str:
        raise TimeoutError

    assert (await ended(outside, work, timeout_s=None)).result == "The tool crashed: TimeoutError."


async def test_a_time_out_inside_of_the_tool_is_not_taken_for_its_own(
    outside: Outside, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(context: ToolContext, n: int) -> str:
        raise TimeoutError("a server did not answer")

    event = await ended(outside, work)
    assert (event.outcome, event.result) == ("failed", "The tool crashed: TimeoutError.")
    assert "a server did not answer" in caplog.text


async def test_a_tool_that_crashes_fails_without_its_secrets_and_is_logged(
    outside: Outside, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(context: ToolContext, n: int) -> str:
        context.output("so far")
        raise ZeroDivisionError("the password is 1234")

    event = await ended(outside, work)
    assert (event.outcome, event.result, event.output) == ("failed", "The tool crashed: ZeroDivisionError.", "so far")
    assert "The tool work crashed" in caplog.text
    assert "1234" in caplog.text


async def test_a_tool_that_returns_something_else_has_crashed(
    outside: Outside, caplog: pytest.LogCaptureFixture
) -> None:
    async def work(context: ToolContext, n: int) -> Any:
        return None

    assert (await ended(outside, work)).outcome == "failed"
    assert "crashed" in caplog.text


@pytest.mark.parametrize("arguments", ["{", "{}", '{"n": "two"}', '{"n": 2, "m": 3}', "[" * 100_000])
async def test_arguments_that_do_not_fit_never_reach_the_tool(outside: Outside, arguments: str) -> None:
    event = await ended(outside, forbidden, order=dataclasses.replace(ORDER, arguments=arguments))
    assert event.outcome == "failed"
    assert event.result.startswith("The arguments do not fit work: ")


async def test_a_tool_that_is_not_there_any_more_has_failed(outside: Outside) -> None:
    event = await ended(outside, forbidden, order=dataclasses.replace(ORDER, tool="gone"))
    assert (event.outcome, event.result) == ("failed", "There is no tool named gone any more.")


async def test_a_tool_that_is_cancelled_ends_cleanly_first_and_keeps_what_it_printed(outside: Outside) -> None:
    has_begun, may_end = asyncio.Event(), asyncio.Event()

    async def work(context: ToolContext, n: int) -> str:
        context.output("begun")
        has_begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await may_end.wait()
        return ""

    one = execution(outside, work)
    performing = asyncio.create_task(one.perform())
    await has_begun.wait()
    performing.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    assert not performing.done()
    may_end.set()
    await asyncio.wait({performing})
    assert performing.cancelled()
    event = one.interrupted()
    assert isinstance(event, ToolEnded)
    assert (event.outcome, event.result, event.output, event.is_claimed) == ("stopped", STOPPED_RESULT, "begun", True)
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_one_that_ends_with_its_process_says_that_nobody_wanted_it(outside: Outside) -> None:
    event = await execution(outside, double).left()
    assert isinstance(event, ToolEnded)
    assert (event.outcome, event.result) == ("stopped", LEFT_RESULT)


# Output in flight


async def test_output_is_saved_now_and_then_and_only_when_there_is_more(outside: Outside) -> None:
    may_end = asyncio.Event()

    async def work(context: ToolContext, n: int) -> str:
        context.output("first")
        await may_end.wait()
        return ""

    performing = asyncio.create_task(execution(outside, work).perform())
    async with asyncio.timeout(FAR_S):
        await outside.has_saved.wait()
    await asyncio.sleep(CONF.agent_checkpoint_interval_s * 5)
    assert outside.saved == ["first"]
    may_end.set()
    await performing


async def test_output_that_could_not_be_saved_is_saved_later(
    outside: Outside, caplog: pytest.LogCaptureFixture
) -> None:
    outside.saving_faults = [OSError("the database is away")]

    async def work(context: ToolContext, n: int) -> str:
        context.output("first")
        await outside.has_saved.wait()
        return "done"

    assert (await ended(outside, work)).result == "done"
    assert outside.saved == ["first"]
    assert "could not be saved" in caplog.text


async def test_a_tool_knows_whose_call_it_serves(outside: Outside) -> None:
    seen: list[object] = []

    async def work(context: ToolContext, n: int) -> str:
        seen.extend([context.conversation_id, context.call_id, n])
        return "done"

    await ended(outside, work)
    assert seen == [CONVERSATION, ORDER.call_id, 2]


async def test_output_before_the_claim_or_after_the_end_goes_nowhere_bad(outside: Outside) -> None:
    one = execution(outside, double)
    one.output("too early")
    assert outside.sink.parts == []
    await one.perform()
