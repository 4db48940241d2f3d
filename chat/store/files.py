"""Files of conversations."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

from django.core.files.base import File

from chat import models
from chat.core.calls import Artifact
from chat.core.ids import ArtifactId, ConversationId


def of_conversation(conversation_id: ConversationId, artifact_ids: Sequence[uuid.UUID]) -> tuple[Artifact, ...] | None:
    """The files of a conversation that these ids name, in their order; None when one of them is not its file."""
    rows = models.Artifact.objects.in_bulk(list(artifact_ids))
    if any(key not in rows or rows[key].conversation_id != conversation_id for key in artifact_ids):
        return None
    return tuple(_value(rows[key]) for key in artifact_ids)


def _value(row: models.Artifact) -> Artifact:
    return Artifact(artifact_id=ArtifactId(row.id), name=row.name, mime=row.mime, size=row.size)


def keep(conversation_id: ConversationId, *, name: str, mime: str, content: File[bytes]) -> Artifact:
    """Keep a file of a conversation. `name` is shown to people and names no place on the disk."""
    row = models.Artifact(
        conversation_id=conversation_id,
        name=name[:255],
        mime=mime[:100],
        size=content.size,
        created_at=datetime.now(UTC),
    )
    row.file.save(str(row.id), content, save=False)
    row.save(force_insert=True)
    return _value(row)


def artifact(artifact_id: uuid.UUID, *, user_id: int | None) -> models.Artifact | None:
    """The file, when this user may have it; `user_id` None: whoever's."""
    rows = models.Artifact.objects.filter(id=artifact_id)
    if user_id is not None:
        rows = rows.filter(conversation__user_id=user_id, conversation__is_deleted=False)
    return rows.first()
