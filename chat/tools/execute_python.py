"""Executes Python in the conversation's kernel."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from chat.tools import workshop
from chat.tools.registry import ToolContext, ToolFailedError, ToolResult, tool
from chat.tools.sandbox.values import SandboxError

Code = Annotated[str, Meta(description="Python source; the value of its last expression is shown")]


# The sandbox ends it in time, from when its turn has come.
@tool(policy="ask", timeout_s=None)
async def execute_python(context: ToolContext, code: Code) -> ToolResult:
    """Execute Python in a Jupyter kernel that keeps its variables during this conversation.

    numpy, pandas and matplotlib are installed; there is no network. The current folder holds the user's files and keeps
    yours. What is printed, the value of the last expression, plots, tables and new files are shown to the user.
    """
    heard = workshop.Listener(context)
    conversation = str(context.conversation_id)
    sandbox = await workshop.sandbox()
    try:
        outcome = await sandbox.execute(conversation, code, on_output=heard)
    except SandboxError as fault:
        raise ToolFailedError(str(fault)) from fault
    return await workshop.result_of(sandbox.folder(conversation), outcome, heard)
