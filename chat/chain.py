"""The chain of hashes through a log: how it is made, and what in it was changed.

Each event carries the hash of the one before it, so that none can be changed, removed, inserted or moved without a
later hash being wrong. In hexadecimal:

    payload_hash  SHA-256 of the salt's 16 bytes and then the payload in UTF-8
    hash          SHA-256 of the JSON array ["agentsite event 1", hash of the event before or 64 zeros, conversation
                  id, seq, name, version, payload_hash, actor's id or null, at in Unix milliseconds],
                  without blanks and in ASCII

A payload can be erased, with its salt, and the chain still holds: what follows is built on its hash alone.
The standard library only: `chat.verify_export` needs this where there is no site.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Any

FIRST = "0" * 64
_SALT = re.compile(r"[0-9a-f]{32}")
_KIND = "agentsite event 1"
_JSON = json.JSONEncoder(separators=(",", ":"))
# How many versions of an event are tried when one is looked for that was changed.
_VERSIONS_TRIED = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """What an event has in the chain.

    at_ms: Unix time; a float where what is stored is no whole millisecond, and so not what was stored once.
    is_erased: payload and salt are not those that were hashed.
    """

    conversation_id: str
    seq: int
    name: str
    version: int
    payload: str
    actor_id: int | None
    at_ms: float
    salt: str
    payload_hash: str
    hash: str
    is_erased: bool = False


def new_salt() -> str:
    """So that nobody finds a short payload by trying out hashes."""
    return secrets.token_hex(16)


def payload_hash(salt: str, payload: str) -> str:
    """The hash of a payload, which can be told without telling the payload. Raises ValueError for what is no salt."""
    if not _SALT.fullmatch(salt):
        raise ValueError("That is no salt.")
    return hashlib.sha256(bytes.fromhex(salt) + payload.encode("utf-8", "surrogatepass")).hexdigest()


def link_hash(previous: str, link: Link) -> str:
    """The hash that an event has after the one with the hash `previous`. Its own is not looked at."""
    fields: list[Any] = [_KIND, previous, link.conversation_id, link.seq, link.name, link.version]
    fields += [link.payload_hash, link.actor_id, link.at_ms]
    return hashlib.sha256(_JSON.encode(fields).encode()).hexdigest()


class Chain:
    """Follows a log from its first event, and says in sentences what was changed, as far as it can be known.

    seq, head: number and hash of the newest event.
    names, actors: which names of events and ids of people to try where one was changed.
    """

    def __init__(self, *, names: Collection[str] = (), actors: Iterable[int | None] = ()) -> None:
        self.seq = 0
        self.head = FIRST
        self._names = names
        self._actors = (None, *actors)
        # The hash that the newest event should have, when that is not the one it has.
        self._doubt: str | None = None

    def follow(self, link: Link) -> list[str]:
        """What this event shows to be wrong, in itself or in the one before."""
        previous = self.head
        if self._doubt is not None and link.hash == link_hash(self._doubt, link):
            previous = self._doubt
        wrong = self._settled(previous)
        is_next = link.seq == self.seq + 1
        if not is_next:
            wrong.append(_gap(self.seq + 1, link.seq))
        fits = link.hash == link_hash(previous, link)
        if link.is_erased:
            faults = [f"event {link.seq}: it has a salt although it was erased"] if link.salt else []
        else:
            faults, fits = _faults_of_payload(previous, link, fits=fits)
        wrong += faults
        if not fits:
            changed = self._changed(previous, link)
            if changed:
                wrong.append(f"event {link.seq}: {changed}")
            elif is_next:
                self._doubt = link_hash(previous, link)
        self.seq, self.head = link.seq, link.hash
        return wrong

    def finish(self, head: str) -> list[str]:
        """What is wrong at the end of a log whose newest hash should be this."""
        return self._settled(head)

    def _settled(self, previous: str) -> list[str]:
        """What was wrong with the newest event, now that is known on what the next one was built."""
        doubt, self._doubt = self._doubt, None
        if doubt is None:
            return []
        if doubt == previous:
            return [f"event {self.seq}: its hash was changed"]
        if self.seq == 1:
            return ["event 1 does not begin this log: it was moved here, or its fields were changed"]
        return [
            f"event {self.seq} does not follow from event {self.seq - 1}: "
            "an event was removed, inserted or moved, or its fields were changed"
        ]

    def _changed(self, previous: str, link: Link) -> str:
        """Which field has to be another for the hash to fit; empty when no single one is found."""
        tries: tuple[tuple[str, str, Iterable[Any]], ...] = (
            ("number", "seq", (self.seq + 1,)),
            ("time", "at_ms", (_time_in(link.payload),)),
            ("actor", "actor_id", self._actors),
            ("version", "version", range(1, _VERSIONS_TRIED)),
            ("name", "name", self._names),
        )
        for word, field, values in tries:
            for value in values:
                if link.hash == link_hash(previous, replace(link, **{field: value})):
                    return f"its {word} was changed, which was {'nobody' if value is None else value}"
        return ""


def _faults_of_payload(previous: str, link: Link, *, fits: bool) -> tuple[list[str], bool]:
    """What is wrong with a payload and its hash, and whether the link fits but for that."""
    try:
        true = payload_hash(link.salt, link.payload)
    except ValueError:
        return [f"event {link.seq}: its salt was changed"], fits
    if true == link.payload_hash:
        return [], fits
    if link.hash == link_hash(previous, replace(link, payload_hash=true)):
        return [f"event {link.seq}: its payload_hash was changed"], True
    return [f"event {link.seq}: its payload or salt was changed"], fits


def _gap(expected: int, found: int) -> str:
    if found < expected:
        return f"event {found} stands where event {expected} should"
    if found == expected + 1:
        return f"event {expected} is missing"
    return f"events {expected} to {found - 1} are missing"


def _time_in(payload: str) -> Any:
    try:
        found = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return found.get("at_ms") if isinstance(found, dict) else None
