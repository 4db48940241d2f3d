"""Agents in the admin: each change is a version, and none of them can be changed or removed."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chat import models
from chat.admin import filters
from chat.admin.agents import INSTRUCTIONS_MAX_CHARS, AgentForm
from chat.store import agents
from tests.admin.staff import client_of
from tests.store.kept import Kept, make_user

LIST = "/admin/chat/agent/"
NOBODY = "00000000-0000-4000-8000-000000000000"
VERSIONS = {"versions-TOTAL_FORMS": "0", "versions-INITIAL_FORMS": "0"}


def form(**fields: Any) -> dict[str, Any]:
    """What a browser sends; `is_enabled` is ticked unless it is said otherwise."""
    given = {"name": "Analyst", "is_enabled": "on", "model": "", "instructions": "", **VERSIONS, **fields}
    return {name: value for name, value in given.items() if value is not None}


def made(client: Client, **fields: Any) -> models.Agent:
    response = client.post(f"{LIST}add/", form(**fields))
    assert response.status_code == 302, response.context["adminform"].errors
    return models.Agent.objects.get(name=fields.get("name", "Analyst"))


def test_an_agent_is_made_with_its_first_version(chief: Client) -> None:
    agent = made(
        chief,
        model="big",
        instructions="Be brief.",
        tool_execute_python="never",
        tool_rounds_max="3",
        tokens_max_per_day="1000",
    )
    version = agent.versions.get()
    assert (version.number, version.model, version.instructions) == (1, "big", "Be brief.")
    assert (version.policies, version.tool_rounds_max) == ({"execute_python": "never"}, 3)
    assert version.tokens_max_per_day == 1_000
    assert version.made_by is not None
    assert version.made_by.get_username() == "carl"


def test_a_change_makes_the_next_version_and_leaves_the_one_before(chief: Client) -> None:
    agent = made(chief, instructions="Be brief.")
    page = chief.get(f"{LIST}{agent.pk}/change/")
    assert page.context["adminform"].form.initial["instructions"] == "Be brief."
    chief.post(f"{LIST}{agent.pk}/change/", form(instructions="Be long."))
    assert list(agent.versions.values_list("number", "instructions")) == [(2, "Be long."), (1, "Be brief.")]
    shown = chief.get(f"{LIST}{agent.pk}/change/").content.decode()
    assert "Be brief." in shown
    assert "Be long." in shown


def test_what_concerns_only_who_may_use_it_is_no_version(chief: Client) -> None:
    agent = made(chief, instructions="Be brief.")
    chief.post(f"{LIST}{agent.pk}/change/", form(instructions="Be brief.", is_enabled=None, description="Off for now"))
    agent.refresh_from_db()
    assert (agent.is_enabled, agent.versions.count()) == (False, 1)


def test_what_a_browser_sends_back_unchanged_is_no_version(chief: Client) -> None:
    agent = made(chief, instructions="Be brief.\r\nBe kind.", tool_execute_python="staff", tool_rounds_max="3")
    assert agent.versions.get().instructions == "Be brief.\nBe kind."
    sent_back = form(instructions="Be brief.\r\nBe kind.", tool_execute_python="staff", tool_rounds_max="3")
    chief.post(f"{LIST}{agent.pk}/change/", sent_back)
    assert agent.versions.count() == 1


def test_a_form_that_was_opened_before_somebody_else_saved_is_refused_in_words(chief: Client) -> None:
    agent = made(chief, instructions="Be brief.")
    page = chief.get(f"{LIST}{agent.pk}/change/").content.decode()
    assert '<input type="hidden" name="after" value="1"' in page
    chief.post(f"{LIST}{agent.pk}/change/", form(instructions="Be long.", after="1"))
    late = chief.post(f"{LIST}{agent.pk}/change/", form(instructions="Be kind.", after="1", description="Mine"))
    assert late.status_code == 200
    assert "Version 2 was saved while you changed version 1" in late.content.decode()
    agent.refresh_from_db()
    assert (agent.description, agent.versions.count()) == ("", 2)


def test_who_is_overtaken_while_the_form_is_checked_is_told_in_words(
    chief: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = made(chief, instructions="Be brief.")
    made_of = AgentForm.made_of

    def overtaken(form: AgentForm) -> dict[str, Any]:
        agents.save(models.Agent.objects.get(), {"instructions": "Be long."}, by_id=make_user("ann"))
        return made_of(form)

    monkeypatch.setattr(AgentForm, "made_of", overtaken)
    page = chief.post(f"{LIST}{agent.pk}/change/", form(instructions="Be kind.", after="1"), follow=True)
    assert page.redirect_chain == [(f"{LIST}{agent.pk}/change/", 302)]
    assert "nothing of yours was kept" in page.content.decode()


def test_the_policy_of_a_tool_that_is_not_installed_now_is_kept(chief: Client) -> None:
    agent = made(chief)
    agents.save(agent, {"policies": {"away": "never"}}, by_id=make_user("ann"))
    chief.post(f"{LIST}{agent.pk}/change/", form(tool_execute_python="staff"))
    newest = agent.versions.first()
    assert newest is not None
    assert newest.policies == {"away": "never", "execute_python": "staff"}


HUGE = "9" * 30
WRONG = (
    *({"tool_rounds_max": text} for text in ("0", HUGE)),
    *({"answer_timeout_s": text} for text in ("-1", HUGE)),
    *({"tokens_max_per_day": text} for text in ("0", "many", HUGE)),
    *({"tool_execute_python": "perhaps"}, {"instructions": "x" * (INSTRUCTIONS_MAX_CHARS + 1)}),
)


def test_a_wrong_value_is_refused_in_words_and_changes_nothing(chief: Client) -> None:
    agent = made(chief)
    for fields in WRONG:
        response = chief.post(f"{LIST}{agent.pk}/change/", form(**{"instructions": "Other", **fields}))
        assert response.status_code == 200
        assert response.context["adminform"].errors
    assert agent.versions.count() == 1
    assert chief.post(f"{LIST}add/", form()).context["adminform"].errors["name"]


@pytest.mark.parametrize("who", ["reviewer", "approver"])
def test_only_the_admin_group_sees_and_makes_agents(request: pytest.FixtureRequest, chief: Client, who: str) -> None:
    agent = made(chief)
    client: Client = request.getfixturevalue(who)
    assert client.get(LIST).status_code == 403
    assert client.post(f"{LIST}{agent.pk}/change/", form(name="Mine")).status_code == 403
    assert client.post(f"{LIST}add/", form(name="Mine")).status_code == 403
    assert models.Agent.objects.get().name == "Analyst"


def test_who_may_only_look_reads_in_the_versions_what_an_agent_is_made_of(chief: Client) -> None:
    agent = made(chief, instructions="Be brief.", tool_execute_python="never")
    looks = User.objects.create_user("ada", is_staff=True)
    looks.user_permissions.add(Permission.objects.get(codename="view_agent"))
    page = client_of(looks).get(f"{LIST}{agent.pk}/change/")
    shown = page.content.decode()
    assert "Be brief." in shown
    assert "execute_python" in shown
    assert [field for _, words in page.context["adminform"].fieldsets for field in words["fields"]] == [
        *AgentForm.Meta.fields
    ]


def test_an_agent_that_nobody_has_talked_with_can_be_removed(chief: Client) -> None:
    agent = made(chief)
    chief.post(f"{LIST}{agent.pk}/change/", form(instructions="Be long."))
    assert "Are you sure" in chief.get(f"{LIST}{agent.pk}/delete/").content.decode()
    assert chief.post(f"{LIST}{agent.pk}/delete/", {"post": "yes"}).status_code == 302
    assert not models.Agent.objects.exists()
    assert not models.AgentVersion.objects.exists()


def test_an_agent_with_conversations_stays_and_the_page_says_what_to_do(chief: Client, reviewer: Client) -> None:
    agent = made(chief)
    Kept(make_user("ann"))
    for how in (chief.get, chief.post):
        page = how(f"{LIST}{agent.pk}/delete/", {"post": "yes"}, follow=True)
        assert page.redirect_chain == [(f"{LIST}{agent.pk}/change/", 302)]
        assert "Switch it off instead" in page.content.decode()
    at_once = {"action": "delete_selected", "_selected_action": [str(agent.pk)], "post": "yes"}
    chief.post(LIST, at_once)
    assert reviewer.post(f"{LIST}{agent.pk}/delete/", {"post": "yes"}).status_code == 403
    assert models.Agent.objects.get().versions.count() == 1


def test_nobody_touches_a_version(boss: Client) -> None:
    agent = made(boss)
    version = agent.versions.get()
    forged = {"versions-TOTAL_FORMS": "1", "versions-INITIAL_FORMS": "1", "versions-0-id": str(version.pk)}
    forged |= {"versions-0-agent": str(agent.pk), "versions-0-instructions": "Forged"}
    boss.post(f"{LIST}{agent.pk}/change/", form(**forged, **{"versions-0-DELETE": "on"}))
    assert agent.versions.get().instructions == ""


def test_conversations_are_found_by_their_agent_and_say_its_version(chief: Client) -> None:
    by_id = make_user("ann")
    alone = Kept(by_id)
    agent = models.Agent(name="Analyst")
    agents.save(agent, {}, by_id=by_id)
    with_agent = Kept(by_id)
    for query, kept in ((str(agent.pk), with_agent), ("site", alone)):
        found = chief.get(f"/admin/chat/conversation/?agent={query}").context["cl"].result_list
        assert [row.pk for row in found] == [kept.conversation_id]
    agent.name = "Somebody else"
    agents.save(agent, {"model": "other"}, by_id=by_id)
    page = chief.get(f"/admin/chat/conversation/{with_agent.conversation_id}/change/").content.decode()
    assert "Analyst, version 1" in page


def test_a_filter_for_no_agent_that_there_is_finds_nothing(chief: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    agent = models.Agent(name="Analyst")
    agents.save(agent, {}, by_id=make_user("ann"))
    kept = Kept(make_user("bob"))
    monkeypatch.setattr(filters, "AGENTS_MAX", 0)
    for query, found in ((str(agent.pk), [kept.conversation_id]), (NOBODY, []), ("nonsense", [])):
        page = chief.get(f"/admin/chat/conversation/?agent={query}")
        assert [row.pk for row in page.context["cl"].result_list] == found
    listed = chief.get(LIST).content.decode()
    assert f"/admin/chat/conversation/?agent={agent.pk}" in listed


def test_list_and_page_ask_as_often_for_many_versions_as_for_one(chief: Client) -> None:
    first = made(chief, name="Agent 0")
    counts: list[list[int]] = []
    for number in range(1, 4):
        counts.append([])
        for path in (LIST, f"{LIST}{first.pk}/change/"):
            with CaptureQueriesContext(connection) as queries:
                assert chief.get(path).status_code == 200
            counts[-1].append(len(queries))
        made(chief, name=f"Agent {number}")
        by_id = make_user(f"Somebody {number}")
        agents.save(first, {"instructions": f"Be {number}."}, by_id=by_id)
    assert counts == [[6, 9]] * 3
