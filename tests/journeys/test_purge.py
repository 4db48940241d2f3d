"""A conversation that was deleted can be taken back for a while; then it is gone, with its files, for good."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from chat.llm.scripted import ScriptedServer
from tests.journeys.place import Place
from tests.journeys.serving import serving
from tests.processes import wait_until
from tests.server import ROOT, Person, ServerProcess

WORK_ROOT = ROOT / "var" / "work"
SOON = {"AGENT_DELETED_KEPT_DAYS": "0.000000001", "AGENT_SANDBOX_IDLE_TIMEOUT_S": "0.001"}


@pytest.fixture
def deleted(upstream: ScriptedServer, tmp_path: Path) -> Iterator[Place]:
    """A conversation with a message and a file, deleted on a site that keeps such ones for days; a running site."""
    with serving(ServerProcess(tmp_path, upstream=upstream.base_url)) as server:
        person = Person(server.base).log_in()
        place = Place(server=server, upstream=upstream, person=person, conversation=person.new_conversation())
        try:
            assert person.upload(place.conversation, "a.txt", b"a file")[0] == 201
            assert (WORK_ROOT / place.conversation / "a.txt").exists()
            person.post(f"{place.path}delete/")
            yield place
        finally:
            shutil.rmtree(WORK_ROOT / place.conversation, ignore_errors=True)


def test_the_command_removes_what_was_deleted_long_enough_ago_and_nothing_else(deleted: Place) -> None:
    server, person = deleted.server, deleted.person
    other = person.new_conversation()
    assert server.manage("purge").stdout == "0 conversations removed\n"
    person.post(f"{deleted.path}restore/")
    assert person.get(deleted.path)[0] == 200
    server.environ |= SOON
    assert server.manage("purge").stdout == "0 conversations removed\n"
    person.post(f"{deleted.path}delete/")
    assert server.manage("purge").stdout == "1 conversations removed\n"
    assert not (WORK_ROOT / deleted.conversation).exists()
    assert person.post(f"{deleted.path}restore/")[0] == 404
    assert person.get(f"/c/{other}/")[0] == 200
    assert server.manage("check_replay").stdout.endswith(" 0 differences\n")
    assert server.manage("purge").stdout == "0 conversations removed\n"


def test_a_running_site_does_the_same_by_itself(deleted: Place) -> None:
    server = deleted.server
    assert server.stop() == 0
    server.environ |= SOON
    server.start()
    wait_until(lambda: not (WORK_ROOT / deleted.conversation).exists(), within_s=30, what="the folder to be removed")
    person = Person(server.base).log_in()
    wait_until(lambda: person.post(f"{deleted.path}restore/")[0] == 404, within_s=30, what="the rows to be removed")
