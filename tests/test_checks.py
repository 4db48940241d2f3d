"""When code can't be executed here, whoever starts the site is told so before the first failure; staff, by the page."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.core.checks import run_checks
from django.test import Client

from chat.management.commands import serve
from chat.tools import workshop
from chat.tools.sandbox import availability
from chat.tools.sandbox.availability import Available, Unavailable
from chat.tools.sandbox.command import Build, Confinement
from tests.store.kept import Kept, make_user

OFF = Unavailable(reason="bubblewrap is not installed.", remedy="Install <bubblewrap>.")
ON = Available(
    build=Build(confinement=Confinement.BUBBLEWRAP, bwrap=None, venv=Path("/nowhere"), python_home=None),
)


@pytest.mark.parametrize(
    ("found", "warnings"),
    [
        (OFF, [("Code execution is off. bubblewrap is not installed.", "Install <bubblewrap>.", "chat.W001")]),
        (ON, []),
    ],
)
def test_the_start_of_the_server_warns_when_code_can_not_be_executed_and_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, found: Available | Unavailable, warnings: list[tuple[str, str, str]]
) -> None:
    async def find_out(venv: Path) -> Available | Unavailable:
        return found

    monkeypatch.setattr(availability, "find_out", find_out)
    assert serve.Command.requires_system_checks == "__all__"
    messages = run_checks(tags=["sandbox"])
    assert [(message.msg, message.hint, message.id) for message in messages] == warnings


@pytest.mark.django_db
@pytest.mark.parametrize(("is_staff", "why", "is_told"), [(True, "W", True), (False, "W", False), (True, "", False)])
def test_staff_see_on_the_page_that_code_execution_is_off_and_why(
    monkeypatch: pytest.MonkeyPatch, is_staff: bool, why: str, is_told: bool
) -> None:
    monkeypatch.setattr(workshop, "why_off", lambda: f"{why}{OFF.remedy}" if why else "")
    kept = Kept(make_user())
    get_user_model().objects.filter(id=kept.user_id).update(is_staff=is_staff)
    client = Client()
    client.force_login(get_user_model().objects.get(id=kept.user_id))
    page = client.get(f"/c/{kept.conversation_id}/").content.decode()
    assert 'id="conversation"' in page
    assert ("Code execution is off" in page) == is_told
    assert ("WInstall &lt;bubblewrap&gt;." in page) == is_told
