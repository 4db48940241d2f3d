"""The app as Django knows it."""

from django.apps import AppConfig

from chat.tools import registry


class ChatConfig(AppConfig):
    """Conversations with an agent."""

    name = "chat"
    verbose_name = "Conversations"

    def ready(self) -> None:
        """Find the tools of every installed app."""
        registry.find_all()
