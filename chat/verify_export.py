"""Verifies an exported log, without the site that it comes from:

    python -m chat.verify_export FILE [--key PUBLIC_KEY]

Needs this file, `chat/chain.py` and the `cryptography` library, and nothing else of the project. A file has a line of
JSON for the header, one for each event, and one for the footer: keys sorted, no blanks, UTF-8, so that each has one
form only. Hashes are those of `chat.chain`. The signature is Ed25519's, over the bytes `agentsite log 1`, a line break,
and the SHA-256 of all lines as they are, the last one without its signature. All bytes are written in hexadecimal.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from chat.chain import Chain, Link

FORMAT = "agentsite log"
SIGNED = b"agentsite log 1\n"
_HEADER: dict[str, tuple[type, ...]] = {
    "format": (str,),
    "version": (int,),
    "conversation": (str,),
    "owner": (str,),
    "created_at_ms": (int,),
    "exported_at_ms": (int,),
    "public_key": (str,),
}
_NOTHING = type(None)
_EVENT: dict[str, tuple[type, ...]] = {
    "seq": (int,),
    "name": (str,),
    "version": (int,),
    "payload": (str,),
    "actor": (int, _NOTHING),
    "at_ms": (int,),
    "salt": (str,),
    "payload_hash": (str,),
    "hash": (str,),
    "erased_at_ms": (int, _NOTHING),
}
_FOOTER: dict[str, tuple[type, ...]] = {"events": (int,), "head_hash": (str,), "signature": (str,)}


class NotGenuineError(Exception):
    """What is wrong with a file, in a sentence."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verified:
    """What a file is that has nothing wrong. erased: events without their text. public_key: whose signature it has."""

    conversation: str
    events: int
    erased: int
    exported_at: datetime
    public_key: str


def canonical(values: dict[str, Any]) -> bytes:
    """The one form that a line has."""
    return json.dumps(values, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def verify(file: BinaryIO, *, key: str | None) -> Verified:
    """Read a file to its end. key: the public key that must have signed it. Raises NotGenuineError."""
    rows = _lines(file)
    whole = hashlib.sha256()
    header, raw = _first(rows)
    whole.update(raw)
    public_key = header["public_key"]
    if key is not None and public_key != key.strip().lower():
        raise NotGenuineError(f"it was signed by another key, {public_key}")
    chain, erased, footer = Chain(), 0, None
    for number, values, raw in rows:
        if footer is not None:
            raise NotGenuineError(f"line {number}: something follows after the footer")
        if "signature" in values:
            footer = _of_form(values, _FOOTER, f"line {number}: the footer")
            continue
        whole.update(raw)
        event = _of_form(values, _EVENT, f"line {number}: the event")
        wrong = chain.follow(_link(header["conversation"], event))
        if wrong:
            raise NotGenuineError(f"line {number}: {wrong[0]}")
        erased += event["erased_at_ms"] is not None
    if footer is None:
        raise NotGenuineError("the footer with the signature is missing: the file was cut off")
    for fault in chain.finish(footer["head_hash"]):
        raise NotGenuineError(fault)
    if footer["events"] != chain.seq:
        raise NotGenuineError(f"the footer speaks of {footer['events']} events, and there are {chain.seq}")
    if footer["head_hash"] != chain.head:
        raise NotGenuineError("the footer's head_hash is not that of the last event")
    whole.update(canonical({name: footer[name] for name in ("events", "head_hash")}))
    _check_signature(public_key, footer["signature"], whole.digest())
    return Verified(
        conversation=header["conversation"],
        events=chain.seq,
        erased=erased,
        exported_at=datetime.fromtimestamp(header["exported_at_ms"] // 1000, tz=UTC),
        public_key=public_key,
    )


def _lines(file: BinaryIO) -> Iterator[tuple[int, dict[str, Any], bytes]]:
    """Number, values and bytes of each line."""
    for number, raw in enumerate(file, start=1):
        try:
            values = json.loads(raw)
            is_canonical = isinstance(values, dict) and canonical(values) == raw
        except (ValueError, RecursionError) as fault:
            raise NotGenuineError(f"line {number} can't be read: {fault}") from fault
        if not is_canonical:
            raise NotGenuineError(f"line {number} is not in the form in which exports are written")
        yield number, values, raw


def _first(rows: Iterator[tuple[int, dict[str, Any], bytes]]) -> tuple[dict[str, Any], bytes]:
    _, values, raw = next(rows, (0, {}, b""))
    if values.get("format") != FORMAT:
        raise NotGenuineError("it does not begin as an exported log does")
    if values.get("version") != 1:
        raise NotGenuineError("it is of a version that this program does not know")
    return _of_form(values, _HEADER, "line 1: the header"), raw


def _of_form(values: dict[str, Any], form: dict[str, tuple[type, ...]], what: str) -> dict[str, Any]:
    for name in sorted(form.keys() | values.keys()):
        if name not in form:
            raise NotGenuineError(f"{what} has a field {name!r} too many")
        if name not in values:
            raise NotGenuineError(f"{what} lacks the field {name}")
        if type(values[name]) not in form[name]:
            raise NotGenuineError(f"{what} has no fitting value in the field {name}")
    return values


def _link(conversation: str, event: dict[str, Any]) -> Link:
    return Link(
        conversation_id=conversation,
        seq=event["seq"],
        name=event["name"],
        version=event["version"],
        payload=event["payload"],
        actor_id=event["actor"],
        at_ms=event["at_ms"],
        salt=event["salt"],
        payload_hash=event["payload_hash"],
        hash=event["hash"],
        is_erased=event["erased_at_ms"] is not None,
    )


def _check_signature(public_key: str, signature: str, digest: bytes) -> None:
    try:
        Ed25519PublicKey.from_public_bytes(_from_hex(public_key)).verify(_from_hex(signature), SIGNED + digest)
    except (ValueError, InvalidSignature):
        raise NotGenuineError(
            "the signature is not this key's over this file: the header, an erased event, the footer or the "
            "signature was changed"
        ) from None


def _from_hex(text: str) -> bytes:
    """Raises ValueError for whatever is not the one form of some bytes."""
    found = bytes.fromhex(text)
    if found.hex() != text:
        raise ValueError("Not in the form in which bytes are written.")
    return found


def main(words: Sequence[str] | None = None) -> int:
    """Print what a file is; 0 when nothing is wrong with it, else 1."""
    parser = argparse.ArgumentParser(prog="python -m chat.verify_export", description="Verify an exported log.")
    parser.add_argument("file", type=Path)
    parser.add_argument("--key", metavar="PUBLIC_KEY", help="the site's, from `python manage.py export_log --show-key`")
    options = parser.parse_args(words)
    try:
        with options.file.open("rb") as file:
            found = verify(file, key=options.key)
    except (NotGenuineError, OSError, OverflowError, ValueError) as fault:
        sys.stdout.write(f"{options.file}: not genuine: {fault}\n")
        return 1
    erased = f" ({found.erased} of them erased)" if found.erased else ""
    verdict = (
        "genuine" if options.key else "whole, by a key that nothing vouches for; say with --key which one you trust"
    )
    sys.stdout.write(
        f"{found.events} events{erased}, signed by {found.public_key} at {found.exported_at:%Y-%m-%d %H:%M:%S} UTC: "
        f"{verdict}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
