from __future__ import annotations

from collections.abc import Iterator

import pytest

from chat.llm.scripted import ScriptedServer, start_in_thread


@pytest.fixture(scope="module")
def upstream() -> Iterator[ScriptedServer]:
    """The model server. Its script is set by each test."""
    with start_in_thread(lambda request: ()) as server:
        yield server
