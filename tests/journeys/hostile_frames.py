"""Handshakes and frames that break the protocol of sockets, or our own.

Knows attacks. Must not know what the site answers, but that it is never a fault of its own.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator

from tests.journeys.hostile_paths import SOME_ID

# What a client of the WebSocket protocol must not send: after a good handshake, byte for byte.
BROKEN_FRAMES = (
    b"\x81\x02{}",  # not masked
    b"\x83\x80\0\0\0\0",  # an opcode that there is not
    b"\xf1\x80\0\0\0\0",  # bits that nobody agreed on
    b"\x81\xff\x7f\xff\xff\xff\xff\xff\xff\xff\0\0\0\0",  # longer than anything
    b"\x81\x84\0\0\0\0\xff\xfe\xff\xfe",  # no UTF-8
    b"\x89\xfe\x00\x80\0\0\0\0" + b"x" * 128,  # a ping that is too long
    b"\x09\x80\0\0\0\0",  # a ping in pieces
    b"\x80\x80\0\0\0\0",  # the rest of nothing
    b"\x88\x82\0\0\0\0\x00\x01",  # a code that there is not
    b"\x88\x81\0\0\0\0\x01",  # half a code
    b"GET / HTTP/1.1\r\n\r\n",
    b"\0" * 1_000,
)
HANDSHAKES = (
    (),
    ("Sec-WebSocket-Version: 13",),
    ("Sec-WebSocket-Version: 99", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
    ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: x"),
    ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: " + "a" * 10_000),
    ("Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Extensions: \xff"),
    (
        "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol: " + "a," * 2_000,
    ),
)

_VALID = (
    {"type": "user_message", "content": "x", "id": SOME_ID, "delivery": "queue"},
    {"type": "approve", "call_id": SOME_ID, "digest": "0" * 64, "arguments": {"code": "x"}, "scope": "once"},
    {"type": "queue_move", "id": SOME_ID, "position": 1},
    {"type": "resolve_unknown", "call_id": SOME_ID, "choice": "run_again"},
)
_NONSENSE: tuple[object, ...] = (
    None,
    True,
    -1,
    1e308,
    2**63,
    [],
    {},
    "",
    "\0",
    "x" * 40_000,
    [[[[]]]],
    {"$ne": 1},
    "' OR 1=1",
    "${7*7}",
    "\ud7ff\u202e",
)
MARKS = '{}[],:"0'


def frames(count: int) -> Iterator[str]:
    """So many frames that begin as good ones and are spoilt, the same each time."""
    chance = random.Random(20)
    for _ in range(count):
        frame: dict[str, object] = dict(chance.choice(_VALID))
        name = chance.choice([*frame, "more", "__proto__", "role"])
        frame[name] = chance.choice(_NONSENSE)
        text = json.dumps(frame)
        match chance.randrange(3):
            case 0:
                text = text[: chance.randrange(len(text))]
            case 1:
                at = chance.randrange(len(text))
                text = text[:at] + chance.choice(MARKS) + text[at:]
            case _:
                frame[chance.choice([*frame])] = chance.choice(_NONSENSE)
                text = json.dumps(frame)
        yield text
