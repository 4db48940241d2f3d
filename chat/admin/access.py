"""The trace that staff leave when they look at, or take, what is somebody else's.

Knows who asks and from where. Must not know pages.
"""

from __future__ import annotations

from uuid import UUID

from django.http import HttpRequest

from chat.admin.listing import person_id
from chat.clock import now_ms
from chat.store import reviews
from chat.store.reviews import Access
from chat.web import addresses


def leave_trace(
    request: HttpRequest, *conversations: UUID, what: Access, subject: object = "", seq: int | None = None
) -> None:
    """Note who looked at what in these conversations."""
    reviews.note_access(
        conversations,
        what=what,
        user_id=person_id(request),
        address=addresses.in_full(request),
        at_ms=now_ms(),
        subject=str(subject),
        seq=seq,
    )
