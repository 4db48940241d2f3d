"""Executes Python in the conversation's kernel."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from chat.tools import workshop
from chat.tools.registry import ToolContext, ToolFailedError, ToolResult, tool
from chat.tools.sandbox.values import SandboxError

TIMEOUT_S = 300.0
# The sandbox ends the code in time and says so itself; the site's own limit is for when that fails.
GRACE_S = 15.0

Code = Annotated[str, Meta(description="Python source; the value of its last expression is shown")]


@tool(policy="ask", timeout_s=TIMEOUT_S + GRACE_S)
async def execute_python(context: ToolContext, code: Code) -> ToolResult:
    """Execute Python in a Jupyter kernel that keeps its variables during this conversation.

    numpy, pandas and matplotlib are installed; there is no network. The current folder holds the user's files and keeps
    yours. What is printed, the value of the last expression, plots and new files are shown to the user.
    """
    heard = workshop.Listener(context)
    try:
        outcome = await workshop.sandbox().execute(
            str(context.conversation_id), code, on_output=heard, timeout_s=TIMEOUT_S
        )
    except SandboxError as fault:
        raise ToolFailedError(str(fault)) from fault
    return await workshop.result_of(context, outcome, heard)
