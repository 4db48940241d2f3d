"""Somebody who has a conversation with files, as Django's own client is one, and where those files are.

Knows addresses and rows. Must not know what is refused.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any
from urllib.parse import quote

from django.contrib.auth.models import User
from django.http import HttpResponseBase
from django.test import Client

from chat import wiring
from chat.core.ids import ConversationId
from chat.tools.sandbox.folder import WorkFolder
from tests.store.kept import Kept

CSV = b"month,amount\n1,7\n"


class Owner:
    """Somebody logged in, with a conversation and its files."""

    def __init__(self, name: str = "ann", **rights: bool) -> None:
        self.user = User.objects.create(username=name, **rights)
        self.client = Client()
        self.client.force_login(self.user)
        self.kept = Kept(self.user.pk)

    @property
    def conversation_id(self) -> ConversationId:
        return self.kept.conversation_id

    @property
    def folder(self) -> WorkFolder:
        return wiring.work_folder(self.conversation_id)

    def send(self, name: str = "sales.csv", content: bytes = CSV) -> Any:
        """Upload a file; the response. Written by hand: Django's own client would tidy up the name."""
        head = f"Content-Disposition: form-data; name=\"file\"; filename*=UTF-8''{quote(name, safe='')}"
        body = b"--limit\r\n%b\r\n\r\n%b\r\n--limit--\r\n" % (head.encode(), content)
        path = f"/c/{self.conversation_id}/files/"
        return self.client.post(path, body, content_type="multipart/form-data; boundary=limit")

    def taken(self, name: str = "sales.csv", content: bytes = CSV) -> dict[str, Any]:
        """Upload a file that is taken; what the server says of it."""
        response = self.send(name, content)
        assert response.status_code == 201, response.content.decode()
        file: dict[str, Any] = response.json()
        return file

    def names(self) -> list[str]:
        """What lies in the work folder."""
        return sorted(path.name for path in self.folder.path.iterdir()) if self.folder.path.exists() else []


def on_disk(places: Path) -> list[str]:
    """Every file that was left anywhere."""
    return sorted(str(path.relative_to(places)) for path in places.rglob("*") if path.is_file())


def content_of(response: HttpResponseBase) -> bytes:
    """What a response streams."""

    async def joined() -> bytes:
        return b"".join([piece async for piece in response])  # type: ignore[attr-defined]

    return asyncio.run(joined())
