"""What the agent can do: the port to tools, the tools that come with the site, one file each, and the sandbox.

Knows how a tool is written and run; knows nothing of conversations, models, pages or who approves a call.
"""

from chat.tools import current_time, execute_python, run_shell

__all__ = ["current_time", "execute_python", "run_shell"]
