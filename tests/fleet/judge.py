"""Whether a site kept its promises through a chaos run: by what people asked for, what they see and what ran."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.fleet.ground import Ground
from tests.fleet.tab import fresh_picture
from tests.fleet.talk import Talk, answer
from tests.patient import tools as patient
from tests.server import Person

TRANSCRIPT = """
SELECT message_id::text, role, state, content, run_id::text FROM chat_message
WHERE conversation_id = %s ORDER BY position
"""
GRANTED_AGAIN = """
SELECT payload FROM chat_event WHERE name = 'tool_unknown_resolved'
"""
NOT_AT_REST = """
SELECT id::text, phase FROM chat_conversation WHERE phase NOT IN ('idle', 'awaiting_approval')
"""
Row = tuple[str, str, str, str, str | None]


async def judge(site: Ground, talks: Sequence[Talk], people: Sequence[Person], folder: Path) -> str:
    """Fails at the first promise that was not kept; the figures otherwise."""
    assert site.rows(NOT_AT_REST) == []
    kinds: Counter[str] = Counter()
    for talk in talks:
        for person in people:
            fresh = await fresh_picture(person, talk.conversation)
            for tab in talk.tabs:
                shown = _since(tab.picture(), fresh)
                wrong = {key: (shown[key], fresh[key]) for key in shown if shown[key] != fresh[key]}
                assert not wrong, f"talk {talk.number}: what a tab shows, and what a fresh one does: {wrong}"
            _page_shows(person, talk.conversation, fresh)
        rows = [tuple(row) for row in site.rows(TRANSCRIPT, talk.conversation)]
        kinds += _answered_once(talk, rows)
    executions = _no_call_twice(site, talks, folder)
    replayed = site.check_replay()
    asked, completed = site.questions().total(), site.completions().total()
    deeds = sum((talk.deeds for talk in talks), Counter[str]())
    decisions = sum((talk.decisions for talk in talks), Counter[str]())
    tabs = [tab for talk in talks for tab in talk.tabs]
    said = sum(len(talk.said) for talk in talks)
    reconnects = sum(tab.connected_count for tab in tabs) - len(tabs)
    away_s = max(tab.longest_away_s for tab in tabs)
    lines = (
        f"{len(talks)} conversations, {len(tabs)} tabs, {said} messages ({dict(deeds)}): {dict(kinds)}",
        f"{asked} questions to the model, {completed} answered to the end",
        f"{executions} executions of tools; lost outcomes, as decided: {dict(decisions)}",
        f"{reconnects} reconnects, {sum(tab.gap_count for tab in tabs)} gaps, longest away {away_s:.1f} s; {replayed}",
    )
    return "\n".join(f"  {line}" for line in lines)


def _since(shown: dict[str, Any], fresh: dict[str, Any]) -> dict[str, Any]:
    """Of what a tab shows, what a newcomer is shown as well: who stayed still has what was said before that."""
    messages = shown["messages"][-len(fresh["messages"]) :]
    calls = {key: call for key, call in shown["calls"].items() if key in fresh["calls"]}
    return shown | {"messages": messages, "calls": calls}


def _page_shows(person: Person, conversation: str, picture: dict[str, Any]) -> None:
    """The page that is drawn without any socket has the same messages and calls in the same states."""
    status, page = person.get(f"/c/{conversation}/")
    assert status == 200
    articles = re.findall(r'<article[^>]*data-message-id="([^"]+)"[^>]*data-state="([^"]+)"', page)
    shown = [(row["id"], row["state"]) for row in picture["messages"]]
    assert [each for each in articles if each in set(shown)] == shown
    exported = json.loads(person.get(f"/c/{conversation}/export.json")[1])
    assert exported["messages"][-len(shown) :] == picture["messages"]
    calls = {call["call_id"]: call["state"] for call in exported["tool_calls"]}
    assert calls.items() >= {key: call["state"] for key, call in picture["calls"].items()}.items()


def _answered_once(talk: Talk, rows: Sequence[Any]) -> Counter[str]:
    """Each accepted message is in the transcript once, unless it was withdrawn, and has one answer."""
    kinds: Counter[str] = Counter()
    users = [row[0] for row in rows if row[1] == "user"]
    assert len(set(users)) == len(users)
    assert set(users) <= set(talk.said), f"talk {talk.number} has messages that nobody sent"
    missing = set(talk.said) - set(users)
    assert missing <= talk.withdrawn, f"talk {talk.number} lost {[talk.said[key] for key in missing]}"
    kinds["withdrawn"] = len(missing)
    replies = Counter(row[3] for row in rows if row[1] == "assistant" and row[2] == "complete")
    for number, (message_id, role, _, content, _) in enumerate(rows):
        if role != "user":
            continue
        assert content == talk.said[message_id]
        count = replies[answer(content)]
        assert count <= 1, f"{content!r} was answered {count} times"
        later = rows[number + 1 :]
        run_id = next((row[4] for row in later if row[1] == "assistant"), None)
        assert run_id is not None, f"{content!r} was never answered"
        of_run = [index for index, row in enumerate(later) if row[4] == run_id]
        if count:
            kinds["answered"] += 1
        elif later[of_run[-1]][2] == "interrupted":
            kinds["stopped"] += 1
        else:
            # Another message joined its run before the last words.
            joined = [row for row in later[: of_run[-1]] if row[1] == "user"]
            assert joined, f"{content!r} has no answer: {later}"
            kinds["steered"] += 1
    assert kinds["stopped"] <= 2 * talk.stops, f"talk {talk.number} was stopped {kinds['stopped']} times"
    assert "failed" not in {row[2] for row in rows}
    return kinds


def _no_call_twice(site: Ground, talks: Sequence[Talk], folder: Path) -> int:
    """No call ran more often than somebody let it; the number of executions."""
    again: Counter[str] = Counter()
    for (payload,) in site.rows(GRANTED_AGAIN):
        event = payload if isinstance(payload, dict) else json.loads(payload)
        again[event["call_id"]] += event["choice"] == "run_again"
    ran = patient.executions(folder)
    counted = Counter(each.call_id for each in ran)
    for call_id, count in counted.items():
        assert count <= 1 + again[call_id], f"call {call_id} ran {count} times, and {again[call_id]} times by request"
    for talk in talks:
        for call_id, call in talk.tabs[0].calls.items():
            assert call["state"] in {"succeeded", "unknown", "stopped"}, call
            assert call["state"] != "succeeded" or counted[call_id], f"{call} did not run"
    return len(ran)
