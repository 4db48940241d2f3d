"""JSON frames about tool calls: the shapes of the contract, and output that joins by its offsets."""

from __future__ import annotations

import hashlib
from typing import Any
from uuid import UUID

import msgspec
import pytest

from chat.core.announcement import Announcement
from chat.core.calls import Artifact, Choice, Policy, ToolCall
from chat.core.ids import ArtifactId
from chat.live import LiveOutput, LiveText
from chat.rooms import Published, Room
from chat.web.out_json import JsonOut
from tests.core.talk import Talk, ended, proposal
from tests.web.viewing import view_of

A_FILE = Artifact(artifact_id=ArtifactId(UUID(int=1)), name="plot.png", mime="image/png", size=7)
AUTO = proposal("do", policy=Policy.AUTO)


def asked(arguments: str = '{"n":1}', *, problem: str = "") -> Talk:
    talk = Talk()
    talk.send("a")
    talk.make_calls(proposal(arguments=arguments, problem=problem))
    return talk


def updated(talk: Talk, calls: tuple[ToolCall, ...] | None = None) -> dict[str, Any]:
    """The frame that tells of the last event."""
    announcement = Announcement(
        user_id=1,
        seq=3,
        event_type="x",
        state=talk.state,
        messages=talk.messages,
        calls=talk.calls if calls is None else calls,
    )
    frame: dict[str, Any] = msgspec.json.decode(JsonOut().update(Published(announcement=announcement)))
    return frame


def whole(talk: Talk) -> dict[str, Any]:
    """The first frame of a connection."""
    frame: dict[str, Any] = msgspec.json.decode(JsonOut().whole(view_of(talk), None))
    return frame


def test_text_that_was_here_before_the_word_that_it_begins_is_told_again_behind_it() -> None:
    talk = Talk()
    talk.send("a")
    out = JsonOut()
    message_id = talk.answer.message_id
    live = LiveText(room=Room(), message_id=message_id, run_id=talk.run.run_id, generation_no=1, opened_seq=2)
    live.append("So far")
    read = msgspec.json.decode(out.whole(view_of(talk), live))
    assert read["messages"][-1]["content"] == "So far"
    begun = Announcement(user_id=1, seq=3, event_type="llm_response_started", state=talk.state, messages=talk.messages)
    told = msgspec.json.decode(out.update(Published(announcement=begun)))
    assert told["messages"][-1]["content"] == ""
    live.append(" and more")
    delta = msgspec.json.decode(out.text(live))
    assert (delta["offset"], delta["text"]) == (0, "So far and more")
    assert out.text(live) == ""


def test_a_call_that_waits_has_all_that_a_decision_needs() -> None:
    talk = asked('{"code":"print(1)\\n","n":2}')
    frame = updated(talk)
    [call] = frame["tool_calls"]
    digest = hashlib.sha256(b'act\n{"code":"print(1)\\n","n":2}').hexdigest()
    assert call == {
        "call_id": str(talk.call().call_id),
        "message_id": str(talk.answer.message_id),
        "tool": "act",
        "arguments": {"code": "print(1)\n", "n": 2},
        "digest": digest,
        "state": "proposed",
        "artifacts": [],
    }
    assert (frame["phase"], frame["is_streaming"], frame["run_id"]) == (
        "awaiting_approval",
        False,
        str(talk.run.run_id),
    )


def test_the_phase_follows_the_calls() -> None:
    talk = asked()
    talk.approve()
    assert (updated(talk)["phase"], updated(talk)["tool_calls"][0]["state"]) == ("running_tools", "approved")
    talk.claim()
    assert updated(talk)["tool_calls"][0]["state"] == "running"
    talk.end_call()
    frame = updated(talk)
    assert (frame["phase"], frame["is_streaming"]) == ("generating", True)


@pytest.mark.parametrize("state", ["succeeded", "failed", "stopped"])
def test_a_call_that_has_ended_has_its_result_and_its_files(state: str) -> None:
    talk = asked()
    talk.approve()
    talk.claim()
    talk.take(ended(talk.call(), state, "a chart", artifacts=(A_FILE,)))
    for frame in (updated(talk), whole(talk)):
        [call] = frame["tool_calls"]
        assert (call["state"], call["result"]) == (state, "a chart")
        [file] = call["artifacts"]
        assert (
            file.items()
            >= {
                "id": str(A_FILE.artifact_id),
                "url": f"/artifacts/{A_FILE.artifact_id}/",
                "mime": "image/png",
                "name": "plot.png",
            }.items()
        )


def test_a_rejected_call_has_a_result_and_edited_arguments_are_those_that_ran() -> None:
    talk = asked()
    talk.reject(reason="No.")
    [call] = updated(talk)["tool_calls"]
    assert (call["state"], "No." in call["result"]) == ("rejected", True)
    talk = asked()
    before = updated(talk)["tool_calls"][0]["digest"]
    talk.approve(arguments='{"n":2}')
    [call] = updated(talk)["tool_calls"]
    assert call["arguments"] == {"n": 2}
    assert call["digest"] != before


def test_an_unknown_outcome_has_a_result_only_once_a_person_went_on_without_it() -> None:
    talk = Talk()
    talk.send("a")
    talk.make_calls(AUTO)
    talk.claim()
    talk.lose_call()
    [call] = updated(talk)["tool_calls"]
    assert call["state"] == "unknown"
    assert "result" not in call
    talk.resolve(Choice.CONTINUE)
    [call] = updated(talk)["tool_calls"]
    assert "not known" in call["result"]


@pytest.mark.parametrize("written", ["{", "not JSON", "[1]"])
def test_arguments_that_are_no_object_are_shown_as_the_model_wrote_them(written: str) -> None:
    [call] = updated(asked(written, problem="No."))["tool_calls"]
    assert call["arguments"] in (written, [1])


def test_a_call_that_one_event_changed_twice_is_told_once_as_it_is_now() -> None:
    talk = asked()
    before = talk.call()
    talk.approve()
    [call] = updated(talk, (before, talk.call()))["tool_calls"]
    assert call["state"] == "approved"


def test_the_whole_has_every_call_of_its_messages() -> None:
    talk = Talk()
    talk.send("a")
    talk.make_calls(AUTO, proposal(), AUTO)
    assert [call["state"] for call in whole(talk)["tool_calls"]] == ["approved", "proposed", "approved"]


# What tools print


def live(talk: Talk) -> LiveOutput:
    return LiveOutput(room=Room(), call_id=talk.call().call_id, execution_no=1, limit_characters=100)


def frames(out: JsonOut, output: LiveOutput) -> list[dict[str, Any]]:
    return [msgspec.json.decode(frame) for frame in out.output(output)]


def test_output_comes_in_frames_of_the_contract_and_none_comes_twice() -> None:
    talk = asked()
    output, out = live(talk), JsonOut()
    assert frames(out, output) == []
    output.append("stdout", "é1")
    output.append("stderr", "e")
    output.append("stdout", "2")
    name = str(talk.call().call_id)
    assert frames(out, output) == [
        {"type": "tool_output_delta", "call_id": name, "stream": "stdout", "offset": 0, "text": "é1"},
        {"type": "tool_output_delta", "call_id": name, "stream": "stderr", "offset": 0, "text": "e"},
        {"type": "tool_output_delta", "call_id": name, "stream": "stdout", "offset": 2, "text": "2"},
    ]
    assert frames(out, output) == []
    output.append("stdout", "3")
    assert [frame["text"] for frame in frames(out, output)] == ["3"]


def test_each_socket_has_its_own_way_through_the_output() -> None:
    output, early, late = live(asked()), JsonOut(), JsonOut()
    output.append("stdout", "ab")
    frames(early, output)
    output.append("stdout", "c")
    assert [frame["text"] for frame in frames(early, output)] == ["c"]
    assert [frame["text"] for frame in frames(late, output)] == ["ab", "c"]
