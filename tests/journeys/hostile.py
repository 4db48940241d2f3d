"""What scanners and worse send: requests byte for byte.

Knows attacks. Must not know what the site answers, but that it is never a fault of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import quote

from tests.journeys.hostile_paths import ADMIN, HEADERS, HOSTS, IDS, METHODS, ODD_PATHS, PLACES, TRAVERSALS
from tests.journeys.raw import request


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
