"""What people deleted long enough ago goes for good: rows and files."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from django.db import transaction
from django.db.models import OuterRef, QuerySet, Subquery

from chat import models
from chat.codec import STORED_NAMES
from chat.core.events import ConversationDeleted
from chat.core.ids import ConversationId


def due(*, deleted_before: datetime) -> tuple[ConversationId, ...]:
    """Conversations that were deleted before that moment, and of which nothing runs any more."""
    return tuple(map(ConversationId, _due(deleted_before).values_list("id", flat=True)))


def remove(conversation_id: ConversationId, *, deleted_before: datetime, remove_folder: Callable[[], None]) -> bool:
    """Remove it with all that it has, unless somebody took it back meanwhile; whether it was there to be removed.

    The rows go last: when this breaks off, they stay to be found the next time.
    """
    with transaction.atomic():
        # Whoever takes it back waits for this row.
        row = _due(deleted_before).select_for_update(of=("self",)).filter(id=conversation_id).first()
        if row is None:
            return False
        for artifact in row.artifacts.all():
            artifact.file.delete(save=False)
        remove_folder()
        row.delete()
    return True


def _due(deleted_before: datetime) -> QuerySet[models.Conversation]:
    name, _ = STORED_NAMES[ConversationDeleted]
    last = models.Event.objects.filter(conversation=OuterRef("pk"), name=name).order_by("-seq").values("at")[:1]
    rows = models.Conversation.objects.filter(is_deleted=True, phase="idle")
    return rows.annotate(deleted_at=Subquery(last)).filter(deleted_at__lt=deleted_before)
