"""Files that go with a message, over a socket: whose they may be, what the model is told, what becomes of them while
the message waits. A refusal is told in words and changes nothing.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from chat.llm.scripted import ScriptedServer, start_in_thread
from chat.llm.scripted_steps import Gate, Say, Wait
from chat.web.frames import ATTACHMENTS_MAX
from tests.server import Person, ServerProcess, Wire

CSV = b"month,amount\n1,7\n"


@pytest.fixture(scope="module")
def model() -> Iterator[ScriptedServer]:
    with start_in_thread(lambda request: ()) as running:
        yield running


@pytest.fixture(scope="module")
def server(model: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    running = ServerProcess(tmp_path_factory.mktemp("server"), upstream=model.base_url)
    try:
        running.start()
        yield running
    finally:
        running.close()


class Talk:
    """Somebody's conversation."""

    def __init__(self, server: ServerProcess) -> None:
        self.person = Person(server.base).sign_up(f"visitor-{uuid.uuid4().hex[:12]}")
        self.conversation = self.person.new_conversation()

    def upload(self, name: str = "sales.csv", *, conversation: str = "") -> str:
        """The id of a new file."""
        status, text = self.person.upload(conversation or self.conversation, name, CSV)
        assert status == 201, text
        file_id: str = json.loads(text)["id"]
        return file_id

    def socket(self) -> Any:
        return self.person.socket(f"/ws/c/{self.conversation}/?format=json")

    def export(self) -> dict[str, Any]:
        """The conversation as it is stored."""
        exported: dict[str, Any] = json.loads(self.person.get(f"/c/{self.conversation}/export.json")[1])
        return exported

    def files(self) -> list[list[str]]:
        """Names of the files of each message of the user."""
        asked = [message for message in self.export()["messages"] if message["role"] == "user"]
        return [[file["name"] for file in message["attachments"]] for message in asked]


@pytest.fixture
def talk(server: ServerProcess, model: ScriptedServer) -> Talk:
    for exchange in model.exchanges:
        exchange.wait_until_ended(timeout_s=10)
    model.exchanges.clear()
    model.script = lambda request: (Say(text="ok"),)
    return Talk(server)


async def answered(wire: Wire, content: str, **fields: Any) -> None:
    message_id = await wire.say(content, **fields)
    await wire.until_known(message_id)
    await wire.until_event("llm_response_completed")


async def test_the_model_is_told_the_files_names_and_they_are_kept_with_the_message(
    talk: Talk, model: ScriptedServer
) -> None:
    one, two = talk.upload(), talk.upload("売上.csv")
    async with talk.socket() as wire:
        await answered(wire, "What is in these?", attachments=[two, one])
        [asked] = [message for message in wire.messages.values() if message["role"] == "user"]
        assert [file["url"] for file in asked["attachments"]] == [f"/artifacts/{two}/", f"/artifacts/{one}/"]
        await answered(wire, "And now?")
    first, second = model.exchanges
    assert first.request.last_user_text == (
        "What is in these?\n\n[Files that came with this message, in the current folder of the tools: "
        "売上.csv (17 bytes, text/csv), sales.csv (17 bytes, text/csv)]"
    )
    assert ("user", first.request.last_user_text) in second.request.messages
    assert second.request.last_user_text == "And now?"
    assert talk.files() == [["売上.csv", "sales.csv"], []]
    assert (
        "What is in these?\n\nFiles: 売上.csv, sales.csv\n" in talk.person.get(f"/c/{talk.conversation}/export.md")[1]
    )


async def test_a_file_that_is_named_twice_goes_once(talk: Talk) -> None:
    file = talk.upload()
    async with talk.socket() as wire:
        await answered(wire, "a", attachments=[file, file])
    assert talk.files() == [["sales.csv"]]


async def test_as_many_files_go_as_a_message_may_have(talk: Talk) -> None:
    files = [talk.upload() for _ in range(ATTACHMENTS_MAX)]
    async with talk.socket() as wire:
        await answered(wire, "a", attachments=files)
    assert [len(names) for names in talk.files()] == [ATTACHMENTS_MAX]


async def test_a_repeat_with_its_files_is_acknowledged_and_stored_once(talk: Talk) -> None:
    message_id, file = str(uuid.uuid4()), talk.upload()
    async with talk.socket() as wire:
        for _ in range(2):
            await wire.say("a", id=message_id, attachments=[file])
            await wire.until_known(message_id)
        if not any(frame.get("event_type") == "llm_response_completed" for frame in wire.frames):
            await wire.until_event("llm_response_completed")
    assert talk.files() == [["sales.csv"]]


async def test_files_that_are_not_this_conversations_are_refused(talk: Talk, server: ServerProcess) -> None:
    mine, of_another = talk.upload(), talk.upload(conversation=talk.person.new_conversation())
    taken_back = talk.upload()
    assert _delete(talk, taken_back) == 204
    async with talk.socket() as wire:
        for foreign in (of_another, Talk(server).upload(), taken_back, str(uuid.uuid4())):
            message_id = await wire.say("a", attachments=[mine, foreign])
            error = await wire.until_error()
            assert (error["code"], error["message"], error["ref"]) == (
                "not_found",
                "One of the files is not there, or was not sent to this conversation.",
                message_id,
            )
        for many in ([mine] * (ATTACHMENTS_MAX + 1), "x", ["x"], None):
            await wire.say("a", attachments=many)
            assert (await wire.until_error())["code"] == "invalid_frame"
        await wire.say("", attachments=[mine])
        assert (await wire.until_error())["code"] == "invalid_frame"
    exported = talk.export()
    assert (exported["messages"], exported["queue"], exported["seq"]) == ([], [], 1)


async def test_a_message_that_waits_keeps_its_files_whatever_is_done_to_its_text(
    talk: Talk, model: ScriptedServer
) -> None:
    gate = Gate()
    model.script = lambda request: (Wait(gate=gate), Say(text="ok"))
    edited, let_be = talk.upload("edited.csv"), talk.upload("let-be.csv")
    async with talk.socket() as wire:
        await wire.say("first")
        await wire.until_event("llm_response_started")
        waiting = [
            await wire.say("a", attachments=[edited]),
            await wire.say("b", attachments=[let_be]),
        ]
        await wire.until_known(waiting[1])
        await wire.send(type="queue_hold", id=waiting[0], held=True)
        await wire.send(type="queue_edit", id=waiting[0], content="A")
        await wire.send(type="queue_hold", id=waiting[1], held=True)
        await wire.send(type="queue_hold", id=waiting[1], held=False)
        await wire.send(type="queue_move", id=waiting[1], position=0)
        await wire.until(lambda frame: [item["content"] for item in frame.get("queue", ())] == ["b", "A"])
        page = talk.person.get(f"/c/{talk.conversation}/")[1]
        for file, name in ((edited, "edited.csv"), (let_be, "let-be.csv")):
            assert f"/artifacts/{file}/" in page.partition('id="queue"')[2]
            assert _delete(talk, file) == 409, f"{name} was taken from a message that waits"
        gate.open()
        for _ in range(3):
            await wire.until_event("llm_response_completed")
    assert talk.files() == [[], ["let-be.csv"], ["edited.csv"]]
    asked = [exchange.request.last_user_text for exchange in model.exchanges]
    assert "let-be.csv (17 bytes" in asked[1]
    assert asked[2].startswith("A\n\n[Files that came with this message")


def _delete(talk: Talk, file: str) -> int:
    return talk.person.delete(f"/artifacts/{file}/")[0]
