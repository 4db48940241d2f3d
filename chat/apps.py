"""The app as Django knows it."""

import sys

from django.apps import AppConfig
from django.conf import settings

from chat.tools import registry


class ChatConfig(AppConfig):
    """Conversations with an agent."""

    name = "chat"
    verbose_name = "Conversations"

    def ready(self) -> None:
        """Find the tools of every installed app, and stop where the settings name one that none has."""
        registry.find_all()
        tools = registry.all_tools()
        for name, _ in settings.AGENTSITE.agent_tool_policies:
            if name not in tools:
                fault = f"there is no tool {name!r}, only {', '.join(sorted(tools))}"
                example = "AGENT_TOOL_POLICIES=execute_python=ask"
                sys.exit(f"Wrong setting: AGENT_TOOL_POLICIES: {fault}; a valid example: {example}")
