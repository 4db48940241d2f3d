"""Seals over what the chain of a log does not protect: its end, and what stands where text was erased.

Made with the site's SECRET_KEY, so that who can write to the database alone can't make the log anew. Those made with a
key of SECRET_KEY_FALLBACKS are known too.
"""

from __future__ import annotations

import json
from functools import lru_cache
from hashlib import sha256
from hmac import HMAC

from django.conf import settings
from django.utils.crypto import constant_time_compare, salted_hmac

from chat import models

_HEAD = "chat.store.seals.head"
_ERASED = "chat.store.seals.erased"


def of_head(conversation_id: object, seq: int, head_hash: str) -> str:
    """The seal over the end of a log: 64 hexadecimal digits."""
    return _sealed(_HEAD, [str(conversation_id), seq, head_hash], settings.SECRET_KEY)


def is_of_head(seal: str, conversation_id: object, seq: int, head_hash: str) -> bool:
    """Whether this site made this seal over that end."""
    return _is_ours(seal, _HEAD, [str(conversation_id), seq, head_hash])


def of_erased(line: models.Event) -> str:
    """The seal over an event whose text was erased, and over what stands there now."""
    return _sealed(_ERASED, _erased(line), settings.SECRET_KEY)


def is_of_erased(line: models.Event) -> bool:
    """Whether this site erased the text of an event, and left what stands there now."""
    return _is_ours(line.erased_seal, _ERASED, _erased(line))


def _erased(line: models.Event) -> list[object]:
    payload = sha256(line.payload.encode("utf-8", "surrogatepass")).hexdigest()
    at = line.erased_at.isoformat() if line.erased_at else None
    return [str(line.conversation_id), line.seq, line.hash, at, line.erased_version, payload]


def _is_ours(seal: str, purpose: str, values: list[object]) -> bool:
    keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
    return any(constant_time_compare(seal, _sealed(purpose, values, key)) for key in keys)


def _sealed(purpose: str, values: list[object], key: str) -> str:
    seal = _of_nothing(purpose, key).copy()
    seal.update(json.dumps(values).encode())
    return seal.hexdigest()


@lru_cache(maxsize=16)
def _of_nothing(purpose: str, key: str) -> HMAC:
    """What a seal goes on from; to make it takes as long as the rest of it."""
    return salted_hmac(purpose, "", secret=key, algorithm="sha256")
