"""Runs a shell command in the conversation's sandbox."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from chat.tools import workshop
from chat.tools.registry import ToolContext, ToolFailedError, ToolResult, tool
from chat.tools.sandbox.values import SandboxError

TIMEOUT_S = 300.0
# The sandbox ends the command in time and says so itself; the site's own limit is for when that fails.
GRACE_S = 15.0

Command = Annotated[str, Meta(description="A command line for bash")]


@tool(policy="ask", timeout_s=TIMEOUT_S + GRACE_S)
async def run_shell(context: ToolContext, command: Command) -> ToolResult:
    """Run a command with bash, in the same folder in which execute_python works.

    There is no network. Output and new files are shown to the user.
    """
    heard = workshop.Listener(context)
    try:
        outcome = await workshop.sandbox().run_shell(
            str(context.conversation_id), command, on_output=heard, timeout_s=TIMEOUT_S
        )
    except SandboxError as fault:
        raise ToolFailedError(str(fault)) from fault
    return await workshop.result_of(context, outcome, heard)
