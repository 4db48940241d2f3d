"""What whoever starts the site should know before somebody stumbles over it.

Nothing here is registered by itself: `serve` does that. Where nothing is served, as where code is only checked, a
missing sandbox is no fault.
"""

from __future__ import annotations

from typing import Any

from asgiref.sync import async_to_sync
from django.core import checks

from chat.tools.sandbox import availability, install
from chat.tools.sandbox.availability import Unavailable


def code_can_be_executed(**kwargs: Any) -> list[checks.CheckMessage]:
    """A warning when this machine can't hold foreign code, by a trial of a tenth of a second."""
    found = async_to_sync(availability.find_out)(install.PLACE)
    if not isinstance(found, Unavailable):
        return []
    return [checks.Warning(f"Code execution is off. {found.reason}", hint=found.remedy, id="chat.W001")]
