"""Files that people send along: kept with the conversation, and laid where its tools find them."""

from __future__ import annotations

import mimetypes
from uuid import UUID

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.core.files.uploadedfile import UploadedFile
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_POST

from chat import wiring
from chat.core.ids import ConversationId
from chat.store import files, reads
from chat.tools.sandbox.folder import NoSuchFileError
from chat.web.out_json import artifact_json


@login_required
@require_POST
def upload(request: HttpRequest, conversation_id: UUID) -> HttpResponse:
    """Take one file, in the form's field `file`. 201 with the file as JSON, or 400 or 413 with words."""
    conversation = ConversationId(conversation_id)
    if not reads.is_owner(conversation, user_id=int(request.user.pk or 0)):
        raise Http404
    file = request.FILES.get("file")
    if not isinstance(file, UploadedFile) or not file.name:
        return _refused(400, "Send one file, in a form's field named file.")
    if not file.size:
        return _refused(400, f"{file.name} is empty.")
    limit_mib = settings.AGENTSITE.agent_upload_max_mib
    if file.size > limit_mib << 20:
        return _refused(413, f"{file.name} is larger than {limit_mib} MiB, the most that this site takes.")
    folder = wiring.work_folder(conversation)
    folder.create(None)
    try:
        folder.add(file.name, file.chunks())
    except NoSuchFileError:
        return _refused(400, f"A file can't be named {file.name!r} here. Rename it and try again.")
    file.seek(0)
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    kept = files.keep(conversation, name=file.name, mime=kind, content=file)
    return JsonResponse(artifact_json(kept), status=201)


def _refused(status: int, words: str) -> HttpResponse:
    return HttpResponse(f"{words}\n", status=status, content_type="text/plain; charset=utf-8")
