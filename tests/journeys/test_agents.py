"""Agents from end to end: staff make one, a person chooses it, and the model is asked as it says."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import CallTool, Hang, Say
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


async def test_an_agent_calls_tools_no_oftener_than_it_may_and_its_answers_take_no_longer(place: Place) -> None:
    place.answers(
        lambda request: (
            (Say(text="So far"), Hang())
            if request.last_user_text == "Wait"
            else (Say(text="Again."), CallTool(name="current_time"))
            if request.body.get("tools")
            else (Say(text="Enough."),)
        )
    )
    limited = start(place, make(place, "Limited", tool_rounds_max="2", answer_timeout_s="1"))
    async with limited.socket() as wire:
        await wire.say("Go on")
        await wire.until_idle()
        assert [bool(exchange.request.body.get("tools")) for exchange in place.upstream.exchanges] == [
            True,
            True,
            False,
        ]
        await wire.say("Wait")
        await wire.until_event("llm_response_failed")
    assert limited.transcript()[-1] == ("assistant", "failed", "So far")
    assert "within 1 s" in limited.person.get(limited.path)[1]
    # None of the others finds a choice where there should be none.
    make(place, "Limited", is_enabled="")


async def test_the_owner_is_asked_where_an_agent_says_so_and_the_site_says_later_what_is_locked(
    upstream: ScriptedServer, tmp_path: Path
) -> None:
    site = ServerProcess(tmp_path, upstream=upstream.base_url)
    with serving(site):
        upstream.exchanges.clear()
        person = Person(site.base).log_in()
        place = Place(server=site, upstream=upstream, person=person, conversation=person.new_conversation())
        place.answers(
            lambda request: (Say(text="Enough."),) if request.tool_results else (CallTool(name="current_time"),)
        )
        careful = start(place, make(place, "Careful", tool_current_time="ask"))
        async with careful.socket() as wire:
            await wire.say("What time is it?")
            waiting = await wire.until(lambda frame: frame.get("phase") == "awaiting_approval")
            [call] = waiting["tool_calls"]
            await wire.send(type="approve", call_id=call["call_id"], digest=call["digest"])
            await wire.until_idle()
        assert site.stop(signal.SIGTERM) == 0
        site.environ["AGENT_TOOL_POLICIES"] = "current_time=never"
        site.start()
        place.answers((Say(text="I can't tell."),))
        assert "current_time" not in tools(await ask(careful))


async def test_a_person_chooses_where_there_is_a_choice(place: Place) -> None:
    analyst = make(place, "Analyst", description="For figures")
    assert 'name="agent"' not in place.person.get(start(place).path)[1]
    make(place, "Writer")
    page = place.person.get(start(place, analyst).path)[1]
    assert re.search(rf'<option value="{analyst}"[^>]*>Analyst: For figures</option>', page)
    assert re.search(r'<span class="agent"[^>]*>.*Analyst<.*, version \d+</span>', page)


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
