"""The tables. Only `chat.store` writes them; the admin reads them.

The log (`Event`) is the truth; the other rows of a conversation follow from it, and `check_replay` proves it.
"""

from chat.models.agents import Agent, AgentVersion
from chat.models.conversations import Artifact, Conversation, Event, Message, QueuedMessage, Run, ToolCall
from chat.models.oversight import AccessTrace, Erasure, Review
from chat.models.site import AgentUsageDay, Process, SocketCount, Tally, UsageDay

__all__ = [
    "AccessTrace",
    "Agent",
    "AgentUsageDay",
    "AgentVersion",
    "Artifact",
    "Conversation",
    "Erasure",
    "Event",
    "Message",
    "Process",
    "QueuedMessage",
    "Review",
    "Run",
    "SocketCount",
    "Tally",
    "ToolCall",
    "UsageDay",
]
