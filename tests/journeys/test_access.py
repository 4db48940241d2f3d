"""Who may come in, and what everybody else is told: that there is nothing."""

from __future__ import annotations

import asyncio
import re
import uuid
from pathlib import Path

import pytest
from websockets.exceptions import InvalidStatus

from chat.llm.scripted_steps import Gate, Say, Wait
from tests.journeys.place import Place
from tests.journeys.serving import serving
from tests.server import Person, ServerProcess

NOT_LOGGED_IN, WRONG_ORIGIN, NOT_FOUND, TOO_MANY = 4401, 4403, 4404, 4429
MAKE_ARTIFACT = """
import sys
from uuid import UUID
from django.core.files.base import ContentFile
from chat.store import files
content = ContentFile(b"<script>alert(1)</script>")
made = files.keep(UUID("{conversation}"), name="a.html", mime="text/html", content=content)
print("artifact", made.artifact_id)
"""
REMOVE_ARTIFACT = """
from chat.models import Artifact
Artifact.objects.get(id="{artifact}").file.delete()
"""


@pytest.fixture(scope="module")
def somebody_else(server: ServerProcess, person: Person) -> Person:
    """Another user, with nothing of their own."""
    return Person(server.base).sign_up("somebody-else")


async def close_code(person: Person, path: str, **options: str | None) -> int | None:
    """The code with which a socket is closed, that nothing was said on."""
    async with person.socket(path, **options) as wire:
        code = await wire.closed()
        assert wire.frames == []
        return code


async def test_a_conversation_of_another_user_is_not_there(place: Place, somebody_else: Person) -> None:
    place.answers((Say(text="secret"),))
    async with place.socket() as wire:
        asked = await wire.say("Hello?")
        await wire.until_event("llm_response_completed")
    nowhere = f"/c/{uuid.uuid4()}/"
    for rest in ("", "export.json", "export.md", "older/?before=9", f"m/{asked}.md"):
        assert place.person.get(place.path + rest)[0] == 200
        status, text = somebody_else.get(place.path + rest)
        assert status == 404
        assert (status, text.replace(place.conversation, "")) == (
            404,
            somebody_else.get(nowhere + rest)[1].replace(nowhere[3:-1], ""),
        )
    for verb in ("rename", "delete", "restore"):
        assert somebody_else.post(f"{place.path}{verb}/", title="mine")[0] == 404
    assert await close_code(somebody_else, f"/ws{place.path}") == NOT_FOUND
    assert await close_code(somebody_else, f"/ws{place.path}?format=json") == NOT_FOUND
    assert await close_code(somebody_else, f"/ws{nowhere}") == NOT_FOUND
    assert place.conversation in place.person.get("/search/?q=secret")[1]
    assert place.conversation not in somebody_else.get("/search/?q=secret")[1]
    assert place.export()["title"] == "Hello?"


async def test_the_newest_conversation_of_a_socket_is_always_ones_own(place: Place, somebody_else: Person) -> None:
    async with somebody_else.socket("/ws/") as wire:
        first = await wire.receive()
        assert first["messages"] == []
        await wire.say("mine")
        await wire.until_event("llm_response_completed")
    async with somebody_else.socket("/ws") as wire:
        assert (await wire.receive())["messages"][0]["content"] == "mine"
    assert place.export()["messages"] == []


async def test_an_artifact_is_there_for_its_owner_and_staff_alone(
    place: Place, server: ServerProcess, somebody_else: Person
) -> None:
    owned = somebody_else.new_conversation()
    made = server.manage("shell", "-v", "0", "-c", MAKE_ARTIFACT.format(conversation=owned))
    artifact = made.stdout.split("artifact ")[1].strip()
    try:
        path = f"/artifacts/{artifact}/"
        third = Person(server.base).sign_up("a-third")
        assert somebody_else.get(path) == (200, "<script>alert(1)</script>")
        assert place.person.get(path)[0] == 200
        assert third.get(path)[0] == 404
        assert third.get(f"/artifacts/{uuid.uuid4()}/")[0] == 404
        assert "/accounts/login/" in _place_of(Person(server.base), path)
    finally:
        server.manage("shell", "-v", "0", "-c", REMOVE_ARTIFACT.format(artifact=artifact))


def _place_of(person: Person, path: str) -> str:
    person.get(path)
    return person.place


async def test_who_is_not_logged_in_is_led_to_the_log_in_page_and_gets_no_socket(place: Place) -> None:
    nobody = Person(place.server.base)
    for path in ("/", place.path, f"{place.path}export.json", "/search/?q=a"):
        assert "/accounts/login/?next=" in _place_of(nobody, path)
    for path in ("/ws", "/ws/", f"/ws{place.path}", f"/ws{place.path}?format=json"):
        assert await close_code(nobody, path) == NOT_LOGGED_IN


@pytest.mark.parametrize(
    "origin",
    [
        None,
        "null",
        "http://evil.example",
        "http://127.0.0.1",
        "http://127.0.0.1:1",
        "http://localhost:{port}",
        "http://evil.example:{port}",
        "http://127.0.0.1.evil.example:{port}",
        "http://evil.example/{host}",
        "http://{host}@evil.example",
        "ftp://{host}",
    ],
)
async def test_a_socket_from_a_foreign_origin_is_refused(place: Place, origin: str | None) -> None:
    foreign = origin and origin.format(host=place.server.base.removeprefix("http://"), port=place.server.port)
    assert await close_code(place.person, f"/ws{place.path}", origin=foreign) == WRONG_ORIGIN
    assert await close_code(Person(place.server.base), "/ws/", origin=foreign) == WRONG_ORIGIN


@pytest.mark.parametrize("origin", ["{host}", "https://{host}.evil.example", "nonsense"])
async def test_an_origin_that_is_none_gets_no_socket_at_all(place: Place, origin: str) -> None:
    host = place.server.base.removeprefix("http://")
    with pytest.raises(InvalidStatus, match="400"):
        await close_code(place.person, f"/ws{place.path}", origin=origin.format(host=host))


@pytest.mark.parametrize("path", ["/ws", "/ws/"])
async def test_the_short_addresses_speak_json_on_the_newest_conversation(place: Place, path: str) -> None:
    place.answers((Say(text="Yes."),))
    async with place.person.socket(path) as wire:
        first = await wire.receive()
        assert (first["type"], first["full"], first["messages"]) == ("state_update", True, [])
        await wire.say("Hello?")
        await wire.until_event("llm_response_completed")
    assert [text for _, _, text in place.transcript()] == ["Hello?", "Yes."]


@pytest.mark.parametrize("path", ["/", "/ws/x", "/ws/c/", "/ws/c/1/", "/nowhere", "/c/{id}/"])
async def test_an_unknown_socket_address_is_closed_as_not_found(place: Place, path: str) -> None:
    assert await close_code(place.person, path.format(id=place.conversation)) == NOT_FOUND


async def test_a_deleted_conversation_is_gone_until_it_is_restored(place: Place) -> None:
    place.answers((Say(text="I talk"), Wait(gate=Gate())))
    async with place.socket() as wire:
        await wire.say("Hello?")
        await wire.until_text()
        place.person.post(f"{place.path}delete/")
        await wire.until_idle()
        await wire.say("Are you there?")
        error = await wire.until_error()
        assert error["code"] == "gone"
    assert place.person.get(place.path)[0] == 404
    assert place.person.get(f"{place.path}export.json")[0] == 404
    assert await close_code(place.person, f"/ws{place.path}") == NOT_FOUND
    place.person.post(f"{place.path}restore/")
    assert [state for _, state, _ in place.transcript()] == ["complete", "interrupted"]


async def test_logging_out_closes_the_sockets_of_that_session_and_no_others(
    place: Place, server: ServerProcess
) -> None:
    elsewhere = Person(server.base).log_in()
    async with (
        place.socket() as stays,
        place.socket(elsewhere) as one,
        elsewhere.socket(f"/ws{place.path}?format=json") as two,
    ):
        elsewhere.post("/accounts/logout/")
        assert await one.closed() == NOT_LOGGED_IN
        assert await two.closed() == NOT_LOGGED_IN
        await stays.send(type="sync", after=0)
        assert (await stays.receive())["full"] is True
    assert await close_code(elsewhere, f"/ws{place.path}") == NOT_LOGGED_IN


def test_where_sign_up_is_closed_its_page_is_not_there(tmp_path: Path) -> None:
    with serving(ServerProcess(tmp_path, AGENT_SIGNUP_OPEN="false")) as server:
        somebody = Person(server.base)
        assert "/accounts/signup/" not in somebody.get("/accounts/login/")[1]
        assert somebody.get("/accounts/signup/")[0] == 404
        assert somebody.post("/accounts/signup/", username="x", password1="y", password2="y")[0] == 404


async def test_sockets_that_come_in_while_their_session_ends_do_not_outlive_it(
    place: Place, server: ServerProcess
) -> None:
    async def come_in(person: Person, after_s: float) -> int | None:
        await asyncio.sleep(after_s)
        async with person.socket(f"/ws{place.path}?format=json") as wire:
            return await wire.closed()

    for _ in range(3):
        leaving = Person(server.base).log_in()
        codes = await asyncio.gather(
            *(come_in(leaving, number * 0.002) for number in range(20)),
            asyncio.to_thread(leaving.post, "/accounts/logout/"),
        )
        assert set(codes[:-1]) == {NOT_LOGGED_IN}


async def test_more_sockets_than_a_user_may_have_are_closed_and_those_that_are_open_stay(tmp_path: Path) -> None:
    with serving(ServerProcess(tmp_path, AGENT_SOCKETS_MAX_PER_USER="2")) as server:
        person = Person(server.base).log_in()
        async with person.socket("/ws/") as one, person.socket("/ws/") as two:
            for wire in (one, two):
                await wire.receive()
            assert await close_code(person, "/ws/") == TOO_MANY
            for wire in (one, two):
                await wire.send(type="sync", after=0)
                assert (await wire.receive())["full"] is True
        async with person.socket("/ws/") as again:
            assert (await again.receive())["full"] is True


async def test_who_sends_faster_than_the_site_takes_is_told_and_cut_off_on_every_socket(tmp_path: Path) -> None:
    with serving(ServerProcess(tmp_path, AGENT_FRAMES_MAX_PER_SECOND="5")) as server:
        person, bystander = Person(server.base).log_in(), Person(server.base).sign_up("bystander")
        async with person.socket("/ws/") as one, person.socket("/ws/") as two, bystander.socket("/ws/") as other:
            for wire in (one, two, other):
                await wire.receive()
            # As many as may come at once, half on each; and as many again, which pass only by the second.
            for _ in range(100):
                for wire in (one, two):
                    await wire.connection.send("{}")
            assert await one.closed() == await two.closed() == TOO_MANY
            for wire in (one, two):
                assert wire.frames[-1]["code"] == "too_many_frames"
                assert "Wait a moment" in wire.frames[-1]["message"]
            answered = sum(frame.get("code") != "too_many_frames" for frame in (*one.frames, *two.frames)) - 2
            assert 100 <= answered < 200
            async with person.socket("/ws/") as again:
                await again.receive()
                for _ in range(100):
                    await again.connection.send("{}")
                assert await again.closed() == TOO_MANY
            await other.send(type="sync", after=0)
            assert (await other.receive())["full"] is True


async def test_a_socket_dies_with_the_password_that_it_came_with(tmp_path: Path) -> None:
    with serving(ServerProcess(tmp_path)) as server:
        staff, bystander = Person(server.base).log_in(), Person(server.base).sign_up("bystander")
        person = Person(server.base).sign_up("ann")
        async with person.socket("/ws/") as wire, bystander.socket("/ws/") as steady:
            await wire.receive()
            await steady.receive()
            found = re.search(r"/admin/auth/user/(\d+)/change/\">ann<", staff.get("/admin/auth/user/")[1])
            assert found
            fields = {"password1": "another-one-4711", "password2": "another-one-4711", "usable_password": "true"}
            status, _ = await asyncio.to_thread(staff.post, f"/admin/auth/user/{found[1]}/password/", **fields)
            assert status == 200
            assert await wire.closed() == NOT_LOGGED_IN
            await steady.send(type="sync", after=0)
            assert (await steady.receive())["full"] is True


async def test_a_tab_that_was_open_while_the_secret_key_was_changed_stays_logged_in(tmp_path: Path) -> None:
    former = "a" * 50
    with serving(ServerProcess(tmp_path, SECRET_KEY=former)) as server:
        person = Person(server.base).sign_up("ann")
        server.stop()
        server.environ |= {"SECRET_KEY": "b" * 50, "SECRET_KEY_FALLBACKS": former}
        server.start()
        # It comes back by itself, before any page is loaded.
        async with person.socket("/ws/") as wire:
            assert (await wire.receive())["full"] is True
        assert person.get("/")[0] == 200
        assert "/accounts/login/" not in person.place
