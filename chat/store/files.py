"""Files of conversations: which there are, who may have them, and which can still be taken back."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

from django.contrib.auth import get_user_model
from django.core.files.base import File
from django.db import transaction
from django.db.models import Sum

from chat import models
from chat.core.calls import Artifact
from chat.core.ids import ArtifactId, ConversationId
from chat.errors import AgentsiteError, StorageFullError


class FileInUseError(AgentsiteError):
    """The file belongs to a message or to a tool call, and stays with it."""


def of_conversation(conversation_id: ConversationId, artifact_ids: Sequence[uuid.UUID]) -> tuple[Artifact, ...] | None:
    """The files that a person sent to a conversation, by these ids, each once, in their order; None when one of the
    ids is none of those: another conversation's, or one that a tool made, which does not lie in the work folder.
    """
    wanted = tuple(dict.fromkeys(artifact_ids))
    rows = models.Artifact.objects.filter(conversation_id=conversation_id).in_bulk(wanted)
    if len(rows) < len(wanted) or not _made_by_tools(conversation_id).isdisjoint(map(str, wanted)):
        return None
    return tuple(_value(rows[key]) for key in wanted)


def are_kept(files: Sequence[Artifact]) -> bool:
    """Whether all of these are still there."""
    return models.Artifact.objects.filter(id__in=[file.artifact_id for file in files]).count() == len(files)


def _made_by_tools(conversation_id: ConversationId) -> set[str]:
    calls = models.ToolCall.objects.filter(conversation_id=conversation_id).exclude(artifacts=[])
    return {file["artifact_id"] for made in calls.values_list("artifacts", flat=True) for file in made}


def _sent_along(conversation_id: ConversationId) -> set[str]:
    """Also with a message that waits, or was withdrawn: the log names it."""
    return {
        file["artifact_id"]
        for table in (models.Message, models.QueuedMessage)
        for sent in table.objects.filter(conversation_id=conversation_id)
        .exclude(attachments=[])
        .values_list("attachments", flat=True)
        for file in sent
    }


def _value(row: models.Artifact) -> Artifact:
    return Artifact(artifact_id=ArtifactId(row.id), name=row.name, mime=row.mime, size=row.size)


def keep(
    conversation_id: ConversationId, *, name: str, mime: str, content: File[bytes], limit_bytes: int | None = None
) -> Artifact:
    """Keep a file of a conversation. `name` is shown to people and names no place on the disk.

    limit_bytes: what all files of the conversation's user may take together. Raises StorageFullError.
    """
    row = models.Artifact(
        conversation_id=conversation_id,
        name=name[:255],
        mime=mime[:100],
        size=content.size,
        created_at=datetime.now(UTC),
    )
    row.file.save(str(row.id), content, save=False)
    try:
        with transaction.atomic():
            if limit_bytes is not None:
                _check_room(conversation_id, content.size, limit_bytes)
            row.save(force_insert=True)
    except BaseException:
        row.file.delete(save=False)
        raise
    return _value(row)


def _check_room(conversation_id: ConversationId, size: int, limit_bytes: int) -> None:
    # Two files that come at once must not both find the room of one. The user alone is locked, and so that others may
    # name them: a step that has the conversation, which this names in turn, names its user.
    owner = get_user_model().objects.select_for_update(of=("self",), no_key=True).get(conversations=conversation_id)
    rows = models.Artifact.objects.filter(conversation__user=owner, conversation__is_deleted=False)
    taken = rows.aggregate(bytes=Sum("size"))["bytes"] or 0
    if taken + size > limit_bytes:
        raise StorageFullError(
            f"your files take {taken >> 20:,} of {limit_bytes >> 20:,} MB. Delete conversations that you don't need"
        )


def artifact(artifact_id: uuid.UUID, *, user_id: int | None) -> models.Artifact | None:
    """The file, when this user may have it; `user_id` None: whoever's."""
    rows = models.Artifact.objects.filter(id=artifact_id)
    if user_id is not None:
        rows = rows.filter(conversation__user_id=user_id, conversation__is_deleted=False)
    return rows.first()


def take_back(artifact_id: uuid.UUID, *, user_id: int) -> tuple[ConversationId, Artifact] | None:
    """Remove a file that its owner has not sent yet; None when this user has no such file. Raises FileInUseError."""
    with transaction.atomic():
        row = artifact(artifact_id, user_id=user_id)
        if row is None:
            return None
        conversation_id = ConversationId(row.conversation_id)
        # Whatever happens to a conversation has its row first: a message either is seen here or finds no file.
        models.Conversation.objects.select_for_update().get(id=conversation_id)
        if str(row.id) in _sent_along(conversation_id) | _made_by_tools(conversation_id):
            raise FileInUseError
        value = _value(row)
        row.delete()
    row.file.delete(save=False)
    return conversation_id, value
