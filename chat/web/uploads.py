"""Files of conversations over HTTP: taken from people, laid where the tools find them, served, taken back.

Knows forms, limits and headers. Nothing in a file ever runs: browsers get it as a download, and pictures as pictures.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import mimetypes
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.files.base import File
from django.core.files.uploadedfile import UploadedFile
from django.db import Error
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, JsonResponse, StreamingHttpResponse
from django.utils.http import content_disposition_header
from django.views.decorators.http import require_http_methods, require_POST

from chat import wiring
from chat.clock import now_ms
from chat.core.calls import Artifact
from chat.core.ids import ConversationId
from chat.errors import StorageFullError
from chat.store import faults, files, reads, reviews
from chat.store.reviews import Access
from chat.tools.sandbox.folder import FolderFullError
from chat.tools.sandbox.names import presentable
from chat.web import addresses
from chat.web.frames import ATTACHMENTS_MAX
from chat.web.out_json import artifact_json

logger = logging.getLogger(__name__)

# Shown in the browser itself; every other kind of file is only downloaded.
INLINE_TYPES = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})
PIECE_BYTES = 1 << 16
_NO_ROOM_ON_DISK = (errno.ENOSPC, errno.EDQUOT)


def what_is_taken() -> dict[str, Any]:
    """What the page says of files: `max_bytes` of one, `max_files` of a message, `types` that their names end in."""
    conf = settings.AGENTSITE
    return {
        "max_bytes": conf.agent_upload_max_mib << 20,
        "max_files": ATTACHMENTS_MAX,
        "types": ",".join(f".{ending}" for ending in conf.agent_upload_types),
    }


@login_required
@require_POST
def upload(request: HttpRequest, conversation_id: UUID) -> HttpResponse:
    """Take one file, in the form's field `file`. 201 with the file as JSON, under the name that it got.

    Else plain text says why, and nothing has changed: 400 no file, 413 too large or no room in the conversation, 415
    not of a type that is taken, 507 no room on the server.
    """
    conversation = ConversationId(conversation_id)
    if not reads.is_owner(conversation, user_id=int(request.user.pk or 0)):
        raise Http404
    sent = request.FILES.getlist("file")
    if len(sent) != 1 or not isinstance(sent[0], UploadedFile):
        return _refused(400, "Send one file, in a form's field named file.")
    [file] = sent
    name = presentable(file.name or "")
    refused = _refusal(name, file.size or 0)
    if refused is not None:
        return refused
    try:
        return JsonResponse(artifact_json(_keep(conversation, name, file)), status=201)
    except FolderFullError as fault:
        return _refused(
            413,
            f"There is no room for {name} in this conversation: {fault.words}. "
            "Ask the AI to remove files there, or begin a new conversation.",
        )
    except StorageFullError as fault:
        return _refused(413, f"There is no room for {name}: {fault}.")
    except OSError as fault:
        if fault.errno not in _NO_ROOM_ON_DISK:
            raise
        return _refused(507, f"The server has no room left for {name}. Tell whoever runs it.")
    except Error as fault:
        logger.warning("A file could not be kept: %s", faults.in_a_line(fault))
        return _refused(503, f"{name} could not be saved: the site’s database has no room or does not answer.")


def _refusal(name: str, size_bytes: int) -> HttpResponse | None:
    conf = settings.AGENTSITE
    if not size_bytes:
        return _refused(400, f"{name} is empty.")
    if size_bytes > conf.agent_upload_max_mib << 20:
        return _refused(413, f"{name} is larger than {conf.agent_upload_max_mib} MB, the most that this site takes.")
    types = conf.agent_upload_types
    if types and not name.lower().endswith(tuple(f".{ending}" for ending in types)):
        return _refused(415, f"{name} is not of a type that this site takes: {', '.join(types)}.")
    return None


def _keep(conversation_id: ConversationId, name: str, file: UploadedFile[bytes]) -> Artifact:
    """Lay the file into the work folder and keep it with the conversation: both or neither."""
    folder = wiring.work_folder(conversation_id)
    size = file.size or 0
    given = folder.add(name, file.chunks(), wiring.limits(settings.AGENTSITE))
    try:
        file.seek(0)
        kind = mimetypes.guess_type(given)[0] or "application/octet-stream"
        limit_bytes = settings.AGENTSITE.agent_storage_max_mib_per_user << 20
        return files.keep(conversation_id, name=given, mime=kind, content=file, limit_bytes=limit_bytes)
    except BaseException:
        folder.take_away(given, size)
        raise


def _refused(status: int, words: str) -> HttpResponse:
    return HttpResponse(f"{words}\n", status=status, content_type="text/plain; charset=utf-8")


@login_required
@require_http_methods(["GET", "HEAD", "DELETE"])
def artifact(request: HttpRequest, artifact_id: UUID) -> HttpResponseBase:
    """A file of a conversation, for its owner and for staff.

    DELETE takes it back, for its owner alone and as long as nothing names it: 204, else 409 with words.
    """
    user_id = int(request.user.pk or 0)
    if request.method == "DELETE":
        return _take_back(artifact_id, user_id)
    is_staff = request.user.is_staff
    found = files.artifact(artifact_id, user_id=None if is_staff else user_id)
    if found is None:
        raise Http404
    if is_staff:
        reviews.note_access(
            (found.conversation_id,),
            what=Access.FILE,
            user_id=user_id,
            address=addresses.in_full(request),
            at_ms=now_ms(),
            subject=str(artifact_id),
        )
    is_shown = found.mime in INLINE_TYPES
    try:
        content = found.file.open("rb")
    except FileNotFoundError:
        # It was removed at this moment, or its folder was left behind when the site was moved.
        raise Http404 from None
    response = StreamingHttpResponse(
        _Pieces(content), content_type=found.mime if is_shown else "application/octet-stream"
    )
    response["Content-Length"] = content.size
    response["Content-Disposition"] = content_disposition_header(not is_shown, found.name) or "attachment"
    # Should a browser take it for a page all the same, nothing in it runs or loads.
    response["Content-Security-Policy"] = "default-src 'none'; sandbox"
    # Staff ask anew each time, so that each look at what is another's leaves its trace.
    response["Cache-Control"] = "private, no-store" if is_staff else "private, max-age=31536000, immutable"
    return response


def _take_back(artifact_id: UUID, user_id: int) -> HttpResponse:
    try:
        taken = files.take_back(artifact_id, user_id=user_id)
    except files.FileInUseError:
        return _refused(409, "This file belongs to the conversation by now and stays with it.")
    if taken is None:
        raise Http404
    conversation_id, file = taken
    wiring.work_folder(conversation_id).take_away(file.name, file.size)
    return HttpResponse(status=204)


class _Pieces:
    """A file's content, read as it is taken, so that it never lies in memory as a whole."""

    def __init__(self, file: File[bytes]) -> None:
        self._file = file

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := await asyncio.to_thread(self._file.read, PIECE_BYTES):
            yield piece

    def close(self) -> None:
        """Called by Django when the response has ended."""
        self._file.close()
