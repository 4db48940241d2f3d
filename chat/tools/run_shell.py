"""Runs a shell command in the conversation's sandbox."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from chat.tools import workshop
from chat.tools.registry import ToolContext, ToolFailedError, ToolResult, tool
from chat.tools.sandbox.values import SandboxError

Command = Annotated[str, Meta(description="A command line for bash")]


# The sandbox ends it in time, from when its turn has come.
@tool(policy="ask", timeout_s=None)
async def run_shell(context: ToolContext, command: Command) -> ToolResult:
    """Run a command with bash, in the same folder in which execute_python works.

    There is no network. Output and new files are shown to the user.
    """
    heard = workshop.Listener(context)
    conversation = str(context.conversation_id)
    sandbox = await workshop.sandbox()
    try:
        outcome = await sandbox.run_shell(conversation, command, on_output=heard)
    except SandboxError as fault:
        raise ToolFailedError(str(fault)) from fault
    return await workshop.result_of(sandbox.folder(conversation), outcome, heard)
