"""The errors of this project. The docstring of a class is its message when none is given."""

from __future__ import annotations


class AgentsiteError(Exception):
    """Something went wrong in Agentsite."""

    def __init__(self, message: str = "") -> None:
        super().__init__(message or (type(self).__doc__ or "").strip())


class ConfigurationError(AgentsiteError):
    """A setting is wrong."""


class ConversationMissingError(AgentsiteError):
    """There is no such conversation, or it is not this user's."""


class StorageFullError(AgentsiteError):
    """All files of this person together would take more room than the site gives them."""
