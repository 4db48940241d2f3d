"""Staff review in Django's admin: who said, decided and ran what, and what the user saw.

Knows models, and shows them read-only. What staff wish goes through the engine or the store, as everybody's wishes do:
nothing here writes a row, and nothing of the log can be changed. Must not know sockets.
"""

from django.apps import apps

from chat.admin import agents, calls, conversations, events, processes, traces

__all__ = ["agents", "calls", "conversations", "events", "processes", "traces"]

if apps.is_installed("procrastinate.contrib.django"):
    from chat.admin import jobs

    __all__ += ["jobs"]
