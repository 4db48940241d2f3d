"""Doors that people knock at: how often they may, and what they are told."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.conf import settings as site_settings
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.test import Client, RequestFactory

from chat import models
from chat.web import accounts, addresses

PASSWORD = "a-password-of-Ann's"


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets some of the settings."""

    def change(**values: Any) -> None:
        monkeypatch.setattr(site_settings, "AGENTSITE", replace(site_settings.AGENTSITE, **values))

    return change


@pytest.mark.django_db
class TestLogIn:
    @pytest.fixture(autouse=True)
    def people(self, limits: Any, settings: Any) -> None:
        settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
        limits(agent_login_failures_max_per_name=3, agent_login_failures_max_per_address=5)
        User.objects.create_user("ann", password=PASSWORD, is_staff=True)

    def log_in(
        self, name: str = "ann", password: str = "wrong", *, at: str = "/accounts/login/", address: str = "10.0.0.1"
    ) -> tuple[int, str]:
        response = Client(REMOTE_ADDR=address).post(at, {"username": name, "password": password})
        return response.status_code, response.content.decode()

    def test_who_fails_too_often_waits_even_with_the_right_password_wherever_they_are(self) -> None:
        for number in range(3):
            status, page = self.log_in(address=f"10.0.0.{number}")
            assert status == 200
            assert "Please enter a correct username and password" in page
        for at in ("/accounts/login/", "/admin/login/"):
            status, page = self.log_in(password=PASSWORD, at=at, address="10.0.0.9")
            assert status == (429 if at == "/accounts/login/" else 200)
            assert "Too many log-ins have failed. Try again in" in page

    def test_the_admins_door_counts_too(self) -> None:
        for _ in range(3):
            self.log_in(at="/admin/login/")
        assert self.log_in(password=PASSWORD)[0] == 429

    @pytest.mark.parametrize("at", ["/accounts/login/", "/admin/login/"])
    def test_a_form_without_a_password_is_no_try_and_no_success(self, at: str) -> None:
        for _ in range(3):
            assert "Too many" not in self.log_in()[1]
            assert "Too many" not in self.log_in(password="", at=at)[1]
        assert self.log_in(password=PASSWORD)[0] == 429

    def test_a_name_is_the_same_in_any_case_and_is_not_kept_in_clear(self) -> None:
        for name in ("Ann", "ANN", "ann"):
            self.log_in(name)
        assert self.log_in()[0] == 429
        assert not models.Tally.objects.filter(key__icontains="ann").exists()

    def test_one_address_can_not_try_many_names_and_others_are_let_in(self) -> None:
        for number in range(5):
            self.log_in(f"somebody{number}")
        assert self.log_in(password=PASSWORD)[0] == 429
        assert self.log_in(password=PASSWORD, address="10.0.0.2")[0] == 302

    def test_names_that_exist_and_names_that_do_not_are_answered_alike(self) -> None:
        known, unknown = (self.log_in(name, address=f"10.1.0.{at}") for at, name in enumerate(("ann", "nobody")))
        assert known[0] == unknown[0]
        assert [page.split("csrfmiddlewaretoken")[0] for _, page in (known,)] == [
            unknown[1].split("csrfmiddlewaretoken")[0]
        ]

    def test_a_success_forgets_the_failures_of_that_name(self) -> None:
        for _ in range(2):
            self.log_in()
        assert self.log_in(password=PASSWORD)[0] == 302
        for _ in range(2):
            assert self.log_in()[0] == 200


@pytest.mark.django_db
class TestSignUp:
    def sign_up(self, name: str, *, address: str = "10.0.0.1") -> tuple[int, str]:
        fields = {"username": name, "password1": PASSWORD, "password2": PASSWORD}
        response = Client(REMOTE_ADDR=address).post("/accounts/signup/", fields)
        return response.status_code, response.content.decode()

    def test_one_address_makes_only_so_many_accounts_an_hour(self, limits: Any) -> None:
        limits(agent_signups_max_per_hour_and_address=2)
        assert [self.sign_up(name)[0] for name in ("one", "two")] == [302, 302]
        status, page = self.sign_up("three")
        assert status == 429
        assert "Too many accounts were made from your address. Try again in" in page
        assert not User.objects.filter(username="three").exists()
        assert self.sign_up("three", address="10.0.0.2")[0] == 302

    def test_what_makes_no_account_counts_for_nothing(self, limits: Any) -> None:
        limits(agent_signups_max_per_hour_and_address=1)
        self.sign_up("not a name!")
        assert self.sign_up("one")[0] == 302


class TestAddresses:
    @pytest.mark.parametrize(
        ("proxies", "forwarded", "address"),
        [
            (0, "", "10.0.0.1"),
            (0, "6.6.6.6", "10.0.0.1"),
            (1, "6.6.6.6, 1.2.3.4", "1.2.3.4"),
            (2, "6.6.6.6, 1.2.3.4, 10.9.9.9", "1.2.3.4"),
            (2, "1.2.3.4", "10.0.0.1"),
            (1, "", "10.0.0.1"),
            (1, "not an address", addresses.UNKNOWN),
            (1, "::ffff:1.2.3.4", "1.2.3.4"),
            (1, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ],
    )
    def test_only_what_our_own_proxies_said_is_believed(
        self, limits: Any, proxies: int, forwarded: str, address: str
    ) -> None:
        limits(agent_proxies=proxies)
        request = RequestFactory().get("/", REMOTE_ADDR="10.0.0.1", HTTP_X_FORWARDED_FOR=forwarded)
        assert addresses.of_request(request) == address
        headers = [(b"x-forwarded-for", part.encode()) for part in forwarded.split(", ") if part]
        assert addresses.of_scope({"headers": headers, "client": ("10.0.0.1", 1)}) == address


@pytest.mark.django_db
class TestSessions:
    @pytest.fixture
    def ann(self, settings: Any) -> User:
        settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
        return User.objects.create_user("ann", password=PASSWORD)

    @pytest.fixture
    def key(self, ann: User) -> str:
        client = Client()
        client.force_login(ann)
        found = client.session.session_key
        assert found
        return found

    def test_a_session_stands_until_it_ends(self, ann: User, key: str) -> None:
        assert accounts.is_logged_in(key, ann.pk)
        assert not accounts.is_logged_in(key, ann.pk + 1)
        assert not accounts.is_logged_in(None, ann.pk)
        Session.objects.all().delete()
        assert not accounts.is_logged_in(key, ann.pk)

    def test_a_session_that_is_over_by_the_clock_does_not_stand(self, ann: User, key: str) -> None:
        Session.objects.update(expire_date=datetime.now(UTC) - timedelta(seconds=1))
        assert not accounts.is_logged_in(key, ann.pk)

    def test_another_password_ends_it(self, ann: User, key: str) -> None:
        ann.set_password("another-one-4711")
        ann.save()
        assert not accounts.is_logged_in(key, ann.pk)

    def test_who_is_not_let_in_any_more_is_not_logged_in(self, ann: User, key: str) -> None:
        ann.is_active = False
        ann.save()
        assert not accounts.is_logged_in(key, ann.pk)

    def test_one_that_began_under_a_former_secret_key_stands(self, ann: User, key: str, settings: Any) -> None:
        settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "another key", [settings.SECRET_KEY]
        assert accounts.is_logged_in(key, ann.pk)
        assert accounts.user_of(SessionStore(key)) == ann
        assert Session.objects.filter(pk=key).exists()
        settings.SECRET_KEY_FALLBACKS = []
        assert not accounts.is_logged_in(key, ann.pk)

    def test_logging_in_changes_the_key(self, ann: User, settings: Any) -> None:
        client = Client()
        client.get("/accounts/login/")
        client.session.save()
        before = client.session.session_key
        client.post("/accounts/login/", {"username": "ann", "password": PASSWORD})
        assert before != client.session.session_key
        assert not accounts.is_logged_in(before, ann.pk)
