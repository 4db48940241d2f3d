"""Signed exports of logs: files that prove where they come from, and that `chat.verify_export` checks without the site.

The form of the file is described there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from uuid import UUID

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from django.conf import settings

from chat import models
from chat.conf import kept_secret
from chat.errors import AgentsiteError, ConversationMissingError
from chat.store.log import Inspection, UnreadableError, lines, link_of
from chat.store.rows import milliseconds
from chat.verify_export import FORMAT, SIGNED, canonical


class UnsignableError(AgentsiteError):
    """The log is not as it was written, or there is no key to sign it with."""


def public_key() -> str:
    """By which exports of this site are known: 64 hexadecimal digits. Makes the key when there is none."""
    return _key().public_key().public_bytes_raw().hex()


def signed_export(conversation_id: UUID, *, at_ms: int) -> Iterator[bytes]:
    """The log of a conversation as a signed file, line by line.

    at_ms: the time that it says it was made (Unix time).
    Raises ConversationMissingError, and UnsignableError for a log that is not as it was written; that can come after
    lines were given, and without the last one they prove nothing.
    """
    row = models.Conversation.objects.select_related("user").filter(id=conversation_id).first()
    if row is None:
        raise ConversationMissingError
    key = _key()
    whole = hashlib.sha256()
    inspection = Inspection(row)
    header = {
        "format": FORMAT,
        "version": 1,
        "conversation": str(row.id),
        "owner": row.user.get_username(),
        "created_at_ms": milliseconds(row.created_at),
        "exported_at_ms": at_ms,
        "public_key": key.public_key().public_bytes_raw().hex(),
    }
    for values in _lines(row, header, inspection):
        line = canonical(values)
        whole.update(line)
        yield line
    footer = {"events": inspection.count, "head_hash": row.head_hash}
    whole.update(canonical(footer))
    yield canonical(footer | {"signature": key.sign(SIGNED + whole.digest()).hex()})


def _lines(row: models.Conversation, header: dict[str, object], inspection: Inspection) -> Iterator[dict[str, object]]:
    """Header and events, while they are as they were written."""
    yield header
    try:
        # What comes in meanwhile is not part of what was sealed when this began.
        for line in lines(row.id, up_to=row.seq):
            _refuse(inspection.follow(line))
            link = link_of(line)
            yield {
                "seq": link.seq,
                "name": link.name,
                "version": link.version,
                "payload": link.payload,
                "actor": link.actor_id,
                "at_ms": link.at_ms,
                "salt": link.salt,
                "payload_hash": link.payload_hash,
                "hash": link.hash,
                "erased_at_ms": milliseconds(line.erased_at) if line.erased_at else None,
            }
    except UnreadableError as fault:
        raise UnsignableError(f"The log can't be signed: {fault}") from fault
    _refuse(inspection.finish())


def _refuse(wrong: list[str]) -> None:
    if wrong:
        raise UnsignableError(f"The log can't be signed, since it is not as it was written: {'; '.join(wrong)}")


def _key() -> Ed25519PrivateKey:
    path = settings.EXPORT_KEY_FILE
    try:
        key = load_pem_private_key(kept_secret(path, _new_key).encode(), password=None)
    except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as fault:
        raise UnsignableError(f"The key in {path} can't be read: {fault}") from fault
    if not isinstance(key, Ed25519PrivateKey):
        raise UnsignableError(f"The key in {path} is no Ed25519 key.")
    return key


def _new_key() -> str:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
