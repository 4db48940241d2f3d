"""What time it is."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Meta

from chat.tools.registry import ToolContext, ToolFailedError, tool

Zone = Annotated[str, Meta(description="Name of a time zone, such as Europe/Berlin", max_length=100)]


@tool(policy="auto", is_idempotent=True, timeout_s=5)
async def current_time(context: ToolContext, time_zone: Zone = "UTC") -> str:
    """Tell the current date and time in a time zone."""
    try:
        zone = ZoneInfo(time_zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ToolFailedError(f"There is no time zone named {time_zone!r}. Try a name such as Europe/Berlin.") from None
    return datetime.now(zone).strftime("%A, %d %B %Y, %H:%M:%S %Z")
