"""What staff say of conversations, and what they looked at. Rows here are added and never changed.

Knows the tables of reviews and traces. Must not know who may do what, or requests.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import timedelta
from enum import StrEnum

from django.contrib.auth import get_user_model
from django.db import transaction

from chat import models
from chat.store.rows import when

COALESCED_WITHIN = timedelta(minutes=1)


class ReviewState(StrEnum):
    """What a review says."""

    REVIEWED = "reviewed"
    FLAGGED = "flagged"


class Access(StrEnum):
    """What a member of staff can do that leaves a trace."""

    CONVERSATION = "conversation"
    CALL = "tool call"
    EVENT = "event"
    PAST = "time travel"
    FILE = "file"
    REVIEW = "review"
    EXPORT = "export"


def review(
    conversation_ids: Sequence[uuid.UUID], *, state: ReviewState, note: str, user_id: int, at_ms: int
) -> tuple[uuid.UUID, ...]:
    """Say this of these conversations; those that were found."""
    with transaction.atomic():
        rows = models.Conversation.objects.select_for_update().filter(id__in=conversation_ids)
        found = list(rows.order_by("id").values_list("id", "seq"))
        models.Review.objects.bulk_create(
            models.Review(
                conversation_id=conversation_id, state=state.value, note=note, seq=seq, by_id=user_id, at=when(at_ms)
            )
            for conversation_id, seq in found
        )
        for conversation_id, seq in found:
            models.Conversation.objects.filter(id=conversation_id).update(review_state=state.value, reviewed_seq=seq)
    return tuple(conversation_id for conversation_id, _ in found)


def note_access(
    conversation_ids: Sequence[uuid.UUID],
    *,
    what: Access,
    user_id: int,
    address: str | None,
    at_ms: int,
    subject: str = "",
    seq: int | None = None,
) -> None:
    """Leave a trace for each of these conversations that is somebody else's. The same within a minute is one."""
    at = when(at_ms)
    others = models.Conversation.objects.filter(id__in=conversation_ids).exclude(user_id=user_id)
    wanted = list(others.values_list("id", flat=True))
    same = models.AccessTrace.objects.filter(
        staff_id=user_id, at__gt=at - COALESCED_WITHIN, at__lte=at, what=what.value, subject=subject, seq=seq
    )
    known = set(same.filter(conversation_id__in=wanted).values_list("conversation_id", flat=True)) if wanted else set()
    if not set(wanted) - known:
        return
    name = get_user_model().objects.values_list("username", flat=True).get(pk=user_id)
    models.AccessTrace.objects.bulk_create(
        models.AccessTrace(
            staff_id=user_id,
            staff_name=name,
            what=what.value,
            conversation_id=conversation_id,
            subject=subject,
            seq=seq,
            address=address,
            at=at,
        )
        for conversation_id in wanted
        if conversation_id not in known
    )
