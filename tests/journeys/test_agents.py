"""Agents from end to end: staff make one, a person chooses it, and the model is asked as it says."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import Say
from tests.journeys.place import Place
from tests.journeys.serving import serving
from tests.server import Person, ServerProcess


@pytest.fixture(scope="module")
def server(upstream: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    running = ServerProcess(
        tmp_path_factory.mktemp("agents"),
        upstream=upstream.base_url,
        AGENT_INSTRUCTIONS="You are the site.",
        AGENT_TOOL_POLICIES="run_shell=never",
    )
    with serving(running):
        yield running


def make(place: Place, name: str, **fields: str) -> str:
    """Make or change an agent in the admin; its id."""
    form = {"name": name, "is_enabled": "on", "model": "", "instructions": "", **fields}
    form |= {"versions-TOTAL_FORMS": "0", "versions-INITIAL_FORMS": "0"}
    _, listed = place.person.get("/admin/chat/agent/")
    known = re.search(rf'/admin/chat/agent/([0-9a-f-]{{36}})/change/">{name}<', listed)
    path = f"/admin/chat/agent/{known[1]}/change/" if known else "/admin/chat/agent/add/"
    status, text = place.person.post(path, **form)
    assert status == 200
    assert "errornote" not in text
    if known:
        return known[1]
    _, listed = place.person.get("/admin/chat/agent/")
    found = re.search(rf'/admin/chat/agent/([0-9a-f-]{{36}})/change/">{name}<', listed)
    assert found, listed
    return found[1]


def start(place: Place, agent: str = "") -> Place:
    """A conversation with this agent, as the form of the page starts it."""
    place.person.post("/c/new/", **({"agent": agent} if agent else {}))
    found = re.search(r"/c/([0-9a-f-]{36})/$", place.person.place)
    assert found, place.person.place
    return Place(server=place.server, upstream=place.upstream, person=place.person, conversation=found[1])


async def ask(place: Place) -> dict[str, object]:
    """The body of the request that the model server got."""
    async with place.socket() as wire:
        await wire.say("Hello?")
        await wire.until_event("llm_response_completed")
    return dict(place.prompt().body)


def tools(body: dict[str, object]) -> set[str]:
    found = body.get("tools", [])
    assert isinstance(found, list)
    return {tool["function"]["name"] for tool in found}


async def test_the_model_is_asked_as_the_agent_of_the_conversation_says(place: Place) -> None:
    place.answers((Say(text="An answer."),))
    of_the_site = await ask(start(place))
    analyst = make(place, "Analyst", model="big-model", instructions="Be brief.", tool_current_time="never")
    first = start(place, analyst)
    body = await ask(first)
    assert body["model"] == "big-model"
    assert "Be brief." in place.prompt().messages[0][1]
    # No agent gets what the site forbids.
    assert (tools(of_the_site), tools(body)) == ({"execute_python", "current_time"}, {"execute_python"})

    make(place, "Analyst", model="bigger-model", tool_run_shell="auto")
    again = await ask(first)
    assert (again["model"], tools(again)) == ("big-model", {"execute_python"})
    fresh = start(place, analyst)
    changed = await ask(fresh)
    assert (changed["model"], tools(changed)) == ("bigger-model", {"execute_python", "current_time"})
    assert "You are the site." in place.prompt().messages[0][1]
    markdown = first.person.get(f"{first.path}export.md")[1]
    assert "\n\nWith Analyst, version 1\n\n" in markdown
    assert [conversation.export()["agent"] for conversation in (first, fresh)] == [
        {"name": "Analyst", "version": 1},
        {"name": "Analyst", "version": 2},
    ]
    assert place.server.manage("check_replay").returncode == 0


async def test_a_person_chooses_where_there_is_a_choice(place: Place) -> None:
    analyst = make(place, "Analyst", description="For figures")
    assert 'name="agent"' not in place.person.get(start(place).path)[1]
    make(place, "Writer")
    page = place.person.get(start(place, analyst).path)[1]
    assert re.search(rf'<option value="{analyst}"[^>]*>Analyst</option>', page)
    assert re.search(r'<span class="agent"[^>]*>.*Analyst<.*, version</span> <span class="version">\d+<', page)


@pytest.mark.parametrize("agent", ["nonsense", "00000000-0000-4000-8000-000000000000"])
def test_an_agent_that_is_not_there_is_refused_and_starts_nothing(place: Place, agent: str) -> None:
    before = place.person.get("/search/?q=")[1]
    status, words = place.person.post("/c/new/", agent=agent)
    assert status == 400
    assert "Choose one from the list" in words
    assert '<a class="button primary" href="/">' in words
    assert place.person.get("/search/?q=")[1] == before


async def test_an_agent_that_was_switched_off_is_read_and_asked_no_more(place: Place) -> None:
    place.answers((Say(text="An answer."),))
    gone = make(place, "Gone")
    there = start(place, gone)
    await ask(there)
    make(place, "Gone", is_enabled="")
    assert "An answer." in place.person.get(there.path)[1]
    async with there.socket() as wire:
        message_id = await wire.say("And now?")
        error = await wire.until_error()
        assert (error["code"], error["ref"]) == ("agent_off", message_id)
    status, _ = Person(place.server.base).sign_up("somebody").post("/c/new/", agent=gone)
    assert status == 400
