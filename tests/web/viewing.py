"""What the database holds of a talk."""

from __future__ import annotations

from chat.store.reads import View
from tests.core.talk import Talk


def view_of(talk: Talk, *, seq: int = 3, created_at_ms: int = 0) -> View:
    """All of it, as it is read."""
    return View(
        user_id=1,
        seq=seq,
        event_type="x",
        state=talk.state,
        messages=tuple(talk.ledger.messages.values()),
        calls=tuple(talk.ledger.calls.values()),
        has_older=False,
        created_at_ms=created_at_ms,
        performer=None,
    )
