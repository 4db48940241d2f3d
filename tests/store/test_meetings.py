"""What writes at the same moment waits for nobody for ever. That takes a database with several writers."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from django.core.files.base import ContentFile
from django.db import connection
from pytest_django import Settings

from chat.store import files
from tests.store.kept import Kept, make_user, sent

pytestmark = pytest.mark.django_db(transaction=True)

TIMES = 40


def all_at_once(*works: Callable[[int], object]) -> None:
    """Do each of these again and again, each in a thread of its own."""

    def go_on(work: Callable[[int], object]) -> None:
        with closing(connection):
            for number in range(TIMES):
                work(number)

    with ThreadPoolExecutor() as pool:
        for working in [pool.submit(go_on, work) for work in works]:
            working.result()


def test_files_come_into_a_conversation_while_its_user_speaks(settings: Settings, tmp_path: Path) -> None:
    settings.MEDIA_ROOT = tmp_path
    kept = Kept(make_user())
    kept.send("a")

    def keep(_: int) -> None:
        content = ContentFile(b"x")
        files.keep(kept.conversation_id, name="a", mime="text/plain", content=content, limit_bytes=1 << 20)

    all_at_once(lambda number: kept.commit(sent(f"message {number}"), actor_id=kept.user_id), keep, keep)
