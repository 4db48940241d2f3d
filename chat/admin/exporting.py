"""Exports for staff: the very files that the owner can take along.

Knows the forms and how they become answers. Must not know who may have them.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Sequence
from uuid import UUID

from django.http import HttpResponse

from chat.core.ids import ConversationId
from chat.store import reads
from chat.store.reads import View
from chat.web import exports

# By the ending of the file's name: its media type, and how it is written.
FORMS: dict[str, tuple[str, Callable[[View], str]]] = {
    "json": ("application/json", exports.as_json),
    "md": ("text/markdown; charset=utf-8", exports.as_markdown),
}


def one(conversation_id: UUID, ending: str) -> HttpResponse:
    """One conversation in one form. Raises ConversationMissingError."""
    kind, write = FORMS[ending]
    response = HttpResponse(write(_whole(conversation_id)), content_type=kind)
    return _named(response, f"conversation-{conversation_id}.{ending}")


def archive(conversation_ids: Sequence[UUID]) -> HttpResponse:
    """Several in every form, as a ZIP file. Raises ConversationMissingError."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as files:
        for conversation_id in conversation_ids:
            view = _whole(conversation_id)
            for ending, (_, write) in FORMS.items():
                files.writestr(f"{conversation_id}.{ending}", write(view))
    return _named(HttpResponse(packed.getvalue(), content_type="application/zip"), "conversations.zip")


def _whole(conversation_id: UUID) -> View:
    return reads.view(ConversationId(conversation_id), limit=None)


def _named(response: HttpResponse, name: str) -> HttpResponse:
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    return response
