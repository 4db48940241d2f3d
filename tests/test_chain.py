"""One changed character anywhere in a chain is found, and named as far as it can be known."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from copy import copy
from dataclasses import fields, replace
from typing import Any

import pytest

from chat import codec
from chat.chain import FIRST, Chain, Link, link_hash, new_salt, payload_hash
from tests.store.golden import LOGS, events_of

NAMES = [name for name, _ in codec.STORED_NAMES.values()]
ACTOR = 7
PLACE = "6f9619ff-8b86-4d01-b42d-00cf4fc964ff"


def chained(payloads: list[tuple[str, int, str, int]], place: str = PLACE) -> list[Link]:
    """A chain of (name, version, payload, time in ms); every second event is somebody's wish."""
    links: list[Link] = []
    for seq, (name, version, payload, at_ms) in enumerate(payloads, start=1):
        salt = hashlib.sha256(f"{place} {seq}".encode()).hexdigest()[:32]
        link = Link(
            conversation_id=place,
            seq=seq,
            name=name,
            version=version,
            payload=payload,
            actor_id=ACTOR if seq % 2 else None,
            at_ms=at_ms,
            salt=salt,
            payload_hash=payload_hash(salt, payload),
            hash="",
        )
        links.append(replace(link, hash=link_hash(links[-1].hash if links else FIRST, link)))
    return links


GOLDEN = [chained([(*codec.encode_event(event), event.at_ms) for event in events_of(log)]) for log in LOGS]
SMALL = chained([("queue_cleared", 1, f'{{"at_ms":{n}}}', n) for n in range(1, 8)])


def faults(links: list[Link], head: str | None = None) -> list[str]:
    chain = Chain(names=NAMES, actors=[ACTOR])
    wrong = [fault for link in links for fault in chain.follow(link)]
    wrong += chain.finish(links[-1].hash if head is None else head)
    return wrong if (chain.seq, chain.head) == (links[-1].seq, head or links[-1].hash) else [*wrong, "another end"]


def test_a_hash_is_what_the_module_says_it_is() -> None:
    link = SMALL[0]
    text = bytes.fromhex(link.salt) + link.payload.encode()
    assert link.payload_hash == hashlib.sha256(text).hexdigest()
    array = ["agentsite event 1", "0" * 64, PLACE, 1, "queue_cleared", 1, link.payload_hash, 7, 1]
    assert link.hash == hashlib.sha256(json.dumps(array, separators=(",", ":")).encode()).hexdigest()
    assert SMALL[0].hash == "1524157c46cab3b74b523f2b4867d4085416c29ea009dbe1166d17e43e00addb"


@pytest.mark.parametrize("links", GOLDEN, ids=[log.stem for log in LOGS])
def test_a_chain_as_it_was_made_has_no_fault(links: list[Link]) -> None:
    assert faults(links) == []


def changes_of(link: Link) -> Iterator[tuple[str, Link]]:
    """Every field, with each of its characters changed in turn, or with other numbers."""
    for field in fields(link):
        for value in others(getattr(link, field.name)):
            change: dict[str, Any] = {field.name: value}
            yield field.name, replace(link, **change)
    yield "at_ms", replace(link, at_ms=link.at_ms + 0.001)
    yield "actor_id", replace(link, actor_id=None if link.actor_id else ACTOR)


def others(held: Any) -> Iterator[Any]:
    if isinstance(held, str):
        for at, sign in enumerate(held):
            yield held[:at] + ("0" if sign != "0" else "1") + held[at + 1 :]
        yield from (held + "0", held[:-1], held.upper() if held.upper() != held else "")
    elif isinstance(held, bool):
        yield not held
    else:
        yield from (0, 1, 10_000) if held is None else (held - 1, held + 1, 10_000)


@pytest.mark.parametrize("links", GOLDEN, ids=[log.stem for log in LOGS])
def test_each_character_of_each_field_of_each_event_counts(links: list[Link]) -> None:
    before = Chain(names=NAMES, actors=[ACTOR])
    for at, link in enumerate(links):
        for field, changed in changes_of(link):
            chain = copy(before)
            # The next event shows what this one does not.
            found = [fault for each in (changed, *links[at + 1 : at + 2]) for fault in chain.follow(each)]
            found += chain.finish(link.hash if at == len(links) - 1 else links[at + 1].hash)
            assert found, (link.seq, field, changed)
            assert f"{link.seq}" in found[0], (found, field)
        assert before.follow(link) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"payload": '{"at_ms":9}'}, "event 4: its payload or salt was changed"),
        ({"salt": "f" * 32}, "event 4: its payload or salt was changed"),
        ({"salt": "F" * 32}, "event 4: its salt was changed"),
        ({"salt": ""}, "event 4: its salt was changed"),
        ({"payload_hash": "0" * 64}, "event 4: its payload_hash was changed"),
        ({"hash": "0" * 64}, "event 4: its hash was changed"),
        ({"name": "queue_resumed"}, "event 4: its name was changed, which was queue_cleared"),
        ({"version": 2}, "event 4: its version was changed, which was 1"),
        ({"actor_id": 7}, "event 4: its actor was changed, which was nobody"),
        ({"at_ms": 5}, "event 4: its time was changed, which was 4"),
        ({"at_ms": 4.001}, "event 4: its time was changed, which was 4"),
        ({"conversation_id": "another"}, "event 4 does not follow from event 3"),
        ({"name": "queue_resumed", "version": 2}, "event 4 does not follow from event 3"),
        ({"is_erased": True}, "event 4: it has a salt although it was erased"),
    ],
)
def test_the_field_that_was_changed_is_named(change: dict[str, Any], words: str) -> None:
    found = faults([*SMALL[:3], replace(SMALL[3], **change), *SMALL[4:]])
    assert len(found) == 1
    assert found[0].startswith(words)


def test_the_newest_event_is_known_by_the_head() -> None:
    changed = [*SMALL[:6], replace(SMALL[6], hash="0" * 64)]
    assert faults(changed, SMALL[6].hash)[0] == "event 7: its hash was changed"
    assert faults([*SMALL[:6], replace(SMALL[6], actor_id=None)]) == ["event 7: its actor was changed, which was 7"]


@pytest.mark.parametrize(
    ("links", "words"),
    [
        (SMALL[1:], ["event 1 is missing"]),
        ([*SMALL[:2], *SMALL[3:]], ["event 3 is missing"]),
        ([*SMALL[:2], *SMALL[5:]], ["events 3 to 5 are missing"]),
        ([*SMALL[:2], *(replace(link, seq=link.seq - 1) for link in SMALL[3:])], ["event 3 does not follow"]),
        ([SMALL[0], SMALL[2], SMALL[1], *SMALL[3:]], ["event 2 is missing", "event 2 stands where event 4 should"]),
        ([*SMALL[:3], SMALL[2], *SMALL[3:]], ["event 3 stands where event 4 should"]),
        (
            [*SMALL[:6], replace(SMALL[6], seq=8)],
            ["event 7 is missing", "event 8: its number was changed, which was 7"],
        ),
        (
            [replace(link, conversation_id="another") for link in SMALL],
            ["event 1 does not begin this log", *(f"event {n} does not follow" for n in range(2, 8))],
        ),
    ],
)
def test_what_is_missing_or_in_another_place_is_named(links: list[Link], words: list[str]) -> None:
    found = faults(links)
    for fault, beginning in zip(found, words, strict=False):
        assert fault.startswith(beginning), found
    assert len(found) >= len(words)


def test_an_end_that_was_cut_off_is_known_by_the_head() -> None:
    assert faults(SMALL[:5], SMALL[6].hash) == ["another end"]


def test_two_changed_events_swapped_under_each_others_number_are_found() -> None:
    swapped = [*SMALL[:2], replace(SMALL[3], seq=3), replace(SMALL[2], seq=4), *SMALL[4:]]
    assert [fault.split(":")[0] for fault in faults(swapped)][:2] == [
        "event 3 does not follow from event 2",
        "event 4 does not follow from event 3",
    ]


def test_a_payload_that_was_erased_leaves_the_chain_as_it_was() -> None:
    erased = replace(SMALL[3], payload="{}", salt="", is_erased=True)
    assert faults([*SMALL[:3], erased, *SMALL[4:]]) == []


def test_bytes_can_not_wander_between_salt_and_payload() -> None:
    link = SMALL[0]
    with pytest.raises(ValueError, match="no salt"):
        payload_hash(link.salt + link.payload.encode().hex(), "")
    assert len({new_salt() for _ in range(100)}) == 100
    assert payload_hash(new_salt(), "x") != payload_hash(new_salt(), "x")
