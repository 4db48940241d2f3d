from __future__ import annotations

from pathlib import Path

import pytest
from pytest_django import Settings

from chat import workplace
from tests.web.owner import Owner


@pytest.fixture
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: Settings) -> Path:
    """Where files go in these tests."""
    monkeypatch.setattr(workplace, "WORK_ROOT", tmp_path / "work")
    settings.MEDIA_ROOT = tmp_path / "kept"
    return tmp_path


@pytest.fixture
def owner(places: Path, db: None) -> Owner:
    """Somebody with an empty conversation."""
    return Owner()
