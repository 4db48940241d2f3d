"""What is taken along of a conversation: all of it, in both forms."""

from __future__ import annotations

import json

import pytest

from chat.core.calls import Policy
from chat.web import exports
from tests.core.talk import Talk, proposal
from tests.web.viewing import view_of

CREATED_AT_MS = 1_700_000_000_123


@pytest.fixture
def talk() -> Talk:
    """An answer with two calls, of which one has ended, and a message that waits."""
    talk = Talk()
    talk.send("a")
    calls = [proposal("do", arguments='{"code":"```"}', policy=Policy.AUTO), proposal("act", arguments="{}")]
    talk.make_calls(*calls)
    talk.claim()
    talk.end_call(result="It did.\nWell.")
    talk.send("b")
    return talk


def test_markdown_has_what_tools_were_asked_and_brought_and_what_waits(talk: Talk) -> None:
    text = exports.as_markdown(view_of(talk, created_at_ms=CREATED_AT_MS))
    assert '\n\n### do (succeeded)\n\n````json\n{"code":"```"}\n````\n\n```\nIt did.\nWell.\n```\n\n' in text
    assert "\n\n### act (proposed)\n\n```json\n{}\n```\n\n" in text
    assert text.endswith("\n\n## User (waiting)\n\nb\n")


def test_every_time_in_json_has_one_form(talk: Talk) -> None:
    exported = json.loads(exports.as_json(view_of(talk, created_at_ms=CREATED_AT_MS)))
    assert exported["created_at"] == "2023-11-14T22:13:20.123000+00:00"
    assert all(message["created_at"].endswith("+00:00") for message in exported["messages"])
