"""Headers that hold browsers and caches to what the site means, on every kind of answer."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from chat.web.headers import CONTENT_SECURITY_POLICY

NOWHERE = "/c/00000000-0000-4000-8000-000000000000/"


@pytest.fixture
def client(db: None) -> Client:
    """Of a member of staff, so that every page is there."""
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.create(username="ann", is_staff=True, is_superuser=True))
    return client


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/accounts/login/", 302),
        ("/accounts/password/", 200),
        ("/search/?q=x", 200),
        ("/admin/", 200),
        ("/admin/chat/event/", 200),
        ("/admin/auth/user/", 200),
        ("/healthz", 200),
        (NOWHERE, 404),
        ("/nothing/here", 404),
        ("/accounts/logout/", 200),
        ("/c/new/", 302),
        (f"{NOWHERE}rename/", 405),
    ],
)
def test_every_answer_has_the_policy_and_is_kept_by_nobody(client: Client, path: str, status: int) -> None:
    response = client.get(path)
    assert response.status_code == status
    assert response["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["X-Frame-Options"] == "DENY"
    assert response["Referrer-Policy"] == "same-origin"
    assert response["Cross-Origin-Opener-Policy"] == "same-origin"
    assert response["Cross-Origin-Resource-Policy"] == "same-origin"
    assert response["X-DNS-Prefetch-Control"] == "off"
    assert "no-store" in response["Cache-Control"]
    assert "Access-Control-Allow-Origin" not in response


@pytest.mark.parametrize("path", ["/static/css/tokens.css", "/static/js/main.js", "/static/favicon.svg"])
def test_a_static_file_has_the_policy_and_is_kept_for_this_site_alone(client: Client, path: str) -> None:
    response = client.get(path)
    response.close()
    assert response.status_code == 200
    assert response["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert response["X-Content-Type-Options"] == "nosniff"
    assert response["Cross-Origin-Resource-Policy"] == "same-origin"
    assert "no-store" not in response["Cache-Control"]
    assert "Access-Control-Allow-Origin" not in response


def test_an_answer_to_a_foreign_host_has_the_policy(client: Client) -> None:
    response = client.get("/accounts/login/", HTTP_HOST="evil.example")
    assert response.status_code == 400
    assert response["Content-Security-Policy"] == CONTENT_SECURITY_POLICY
    assert b"evil" not in response.content
    assert b"<h1>Not understood</h1>" in response.content


def test_a_fault_of_ours_shows_a_page_that_tells_nothing_of_it(
    client: Client, monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    def broken(**_: object) -> None:
        raise RuntimeError(f"a bug that knows {settings.SECRET_KEY}")

    monkeypatch.setattr("chat.store.reads.search", broken)
    response = client.get("/search/?q=x")
    assert response.status_code == 500
    assert b"Something broke" in response.content
    for told in (settings.SECRET_KEY.encode(), b"Traceback", b"RuntimeError", b"a bug", b"/chat/"):
        assert told not in response.content


@pytest.mark.parametrize("charset", ["utf-7", "latin-1", "utf-16"])
def test_a_form_in_another_encoding_is_refused_in_words(client: Client, charset: str) -> None:
    kind = f"application/x-www-form-urlencoded; charset={charset}"
    response = client.post("/accounts/password/", b"a=b", content_type=kind)
    assert (response.status_code, response.content) == (400, b"Forms are sent as UTF-8.\n")
    assert response["Content-Security-Policy"] == CONTENT_SECURITY_POLICY


@pytest.mark.parametrize(
    ("path", "status"),
    [("/admin/r/1/x/", 404), ("/admin/chat/conversation/?active_at__year=99999999999", 302)],
)
def test_nonsense_in_the_admin_is_no_fault_of_the_server(client: Client, path: str, status: int) -> None:
    assert client.get(path).status_code == status
