"""Accounts: what a stranger learns by knocking, what a password may be, and what becomes of a session."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import pytest
from django.contrib.auth.forms import UserCreationForm
from django.contrib.auth.hashers import MD5PasswordHasher
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.test import Client
from pytest_django import Settings

from chat import models
from chat.web import accounts
from tests.store.kept import Kept

PASSWORD = "a-password-of-Ann's"
OTHER = "another-one-4711"
LOG_IN, ADMIN, SIGN_UP, CHANGE = "/accounts/login/", "/admin/login/", "/accounts/signup/", "/accounts/password/"
LOGGED_IN = "sessionid"


class CountingHasher(MD5PasswordHasher):
    """Quick, and tells how often it was asked."""

    hashed: ClassVar[list[str]] = []

    def encode(self, password: str, salt: Any) -> str:
        self.hashed.append(password)
        return super().encode(password, salt)


@pytest.fixture(autouse=True)
def quick(settings: Settings) -> None:
    settings.PASSWORD_HASHERS = [f"{__name__}.CountingHasher"]


@pytest.fixture
def ann(quick: None) -> User:
    return User.objects.create_user("ann", password=PASSWORD)


def limited(settings: Settings, **values: Any) -> None:
    settings.AGENTSITE = replace(settings.AGENTSITE, **values)


def knock(name: str, password: str, *, at: str = LOG_IN) -> tuple[int, str, int]:
    """Status, the page without what is different each time, and how often a password was hashed for it."""
    CountingHasher.hashed.clear()
    response = Client().post(at, {"username": name, "password": password})
    page = response.content.decode().replace(name, "NAME")
    token = page.partition('name="csrfmiddlewaretoken" value="')[2].partition('"')[0]
    return response.status_code, page.replace(token, "TOKEN") if token else page, len(CountingHasher.hashed)


@pytest.mark.django_db
class TestWhatAStrangerLearns:
    @pytest.mark.parametrize("at", [LOG_IN, ADMIN])
    def test_a_name_that_is_there_is_answered_like_one_that_is_not_and_costs_the_same_work(
        self, ann: User, at: str
    ) -> None:
        known, unknown = knock("ann", "wrong", at=at), knock("bob", "wrong", at=at)
        assert known == unknown
        assert known[2] == 1

    @pytest.mark.parametrize("at", [LOG_IN, ADMIN])
    def test_one_who_is_not_let_in_any_more_is_answered_like_one_who_is_not_there(self, ann: User, at: str) -> None:
        User.objects.update(is_active=False)
        assert knock("ann", PASSWORD, at=at)[:2] == knock("bob", PASSWORD, at=at)[:2]

    def test_the_admin_does_not_tell_who_is_right_but_no_member_of_staff(self, ann: User) -> None:
        assert knock("ann", PASSWORD, at=ADMIN)[:2] == knock("ann", "wrong", at=ADMIN)[:2]

    def test_names_that_are_locked_are_locked_whether_they_are_there_or_not(
        self, ann: User, settings: Settings
    ) -> None:
        limited(settings, agent_login_failures_max_per_name=2)
        for name in ("ann", "bob"):
            assert [knock(name, "wrong")[0] for _ in range(3)] == [200, 200, 429]
        assert knock("ann", PASSWORD)[:2] == knock("bob", PASSWORD)[:2]

    def test_that_a_name_is_taken_is_told_only_so_often(self, ann: User, settings: Settings) -> None:
        limited(settings, agent_signup_failures_max_per_hour_and_address=2)
        fields = {"username": "ANN", "password1": OTHER, "password2": OTHER}
        answers = [Client().post(SIGN_UP, fields) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        told = [b"already exists" in answer.content for answer in answers]
        assert told == [True, True, False]
        assert b"Try again in" in answers[2].content
        elsewhere = Client(REMOTE_ADDR="10.0.0.9").post(SIGN_UP, fields | {"username": "new"})
        assert elsewhere.status_code == 302

    def test_of_two_who_take_a_name_at_the_same_time_one_is_told(self, monkeypatch: pytest.MonkeyPatch) -> None:
        save = UserCreationForm.save

        def overtaken(form: Any, commit: bool = True) -> Any:
            User.objects.create(username="new")
            return save(form, commit)

        monkeypatch.setattr(UserCreationForm, "save", overtaken)
        answer = Client().post(SIGN_UP, {"username": "new", "password1": PASSWORD, "password2": PASSWORD})
        assert answer.status_code == 200
        assert "A user with that username already exists." in answer.content.decode()

    def test_a_failed_password_tells_no_name_and_is_not_counted_as_a_search_for_one(self, settings: Settings) -> None:
        limited(settings, agent_signup_failures_max_per_hour_and_address=1)
        fields = {"username": "new", "password1": OTHER, "password2": "x"}
        assert [Client().post(SIGN_UP, fields).status_code for _ in range(3)] == [200] * 3


@pytest.mark.django_db
class TestPasswords:
    BAD = (
        ("too short", "x7!kQp2"),
        ("common", "password123"),
        ("digits", "8264019375"),
        ("like the name", "new-person"),
        ("too long", "x7!kQp2-" * 17),
    )

    @pytest.mark.parametrize("password", [password for _, password in BAD], ids=[why for why, _ in BAD])
    def test_a_bad_one_is_refused_with_words_and_makes_no_account(self, password: str) -> None:
        fields = {"username": "new-person", "password1": password, "password2": password}
        response = Client().post(SIGN_UP, fields)
        assert response.status_code == 200
        assert (
            b"This password" in response.content
            or b"The password" in response.content
            or ("can’t have more than 128" in response.content.decode())
        )
        assert not User.objects.exists()

    def test_one_of_any_characters_up_to_the_longest_is_taken_as_it_is(self) -> None:
        password = " Schlüssel 鍵 🔑 " + "x" * 113
        assert len(password) == 128
        fields = {"username": "new", "password1": password, "password2": password}
        assert Client().post(SIGN_UP, fields).status_code == 302
        assert Client().post(LOG_IN, {"username": "new", "password": password}).status_code == 302
        assert Client().post(LOG_IN, {"username": "new", "password": password.strip()}).status_code == 200


@pytest.mark.django_db
class TestChangingThePassword:
    @pytest.fixture
    def client(self, ann: User) -> Client:
        client = Client()
        client.force_login(ann)
        return client

    def change(self, client: Client, old: str = PASSWORD, new: str = OTHER) -> Any:
        fields = {"old_password": old, "new_password1": new, "new_password2": new}
        return client.post(CHANGE, fields)

    def test_it_wants_the_old_one_and_a_new_one_that_holds(self, client: Client, ann: User) -> None:
        assert self.change(client, old="wrong").status_code == 200
        assert self.change(client, new="short").status_code == 200
        ann.refresh_from_db()
        assert ann.check_password(PASSWORD)
        assert self.change(client).status_code == 302
        ann.refresh_from_db()
        assert ann.check_password(OTHER)

    def test_the_next_page_says_once_that_it_was_changed(self, client: Client, ann: User) -> None:
        conversation = f"/c/{Kept(ann.pk).conversation_id}/"
        self.change(client)
        assert b"Your password was changed." in client.get(conversation).content
        assert b"Your password was changed." not in client.get(conversation).content

    def test_every_other_session_ends_and_this_one_goes_on_under_another_key(self, client: Client, ann: User) -> None:
        other = Client()
        other.force_login(ann)
        before, elsewhere = client.session.session_key, other.session.session_key
        self.change(client)
        ann.refresh_from_db()
        assert not accounts.is_logged_in(elsewhere, ann.pk)
        assert not accounts.is_logged_in(before, ann.pk)
        assert accounts.is_logged_in(client.session.session_key, ann.pk)
        assert client.get(CHANGE).status_code == 200
        assert other.get(CHANGE).status_code == 302

    def test_whoever_finds_an_open_session_can_not_try_passwords_for_ever(
        self, client: Client, settings: Settings
    ) -> None:
        limited(settings, agent_login_failures_max_per_name=2)
        for _ in range(2):
            assert b"was entered incorrectly" in self.change(client, old="wrong").content
        assert b"Too many log-ins have failed" in self.change(client).content
        assert knock("ann", PASSWORD)[0] == 429

    def test_the_admin_has_no_other_door_to_it(self, client: Client, ann: User) -> None:
        User.objects.update(is_staff=True)
        fields = {"old_password": PASSWORD, "new_password1": OTHER, "new_password2": OTHER}
        for answer in (client.get("/admin/password_change/"), client.post("/admin/password_change/", fields)):
            assert (answer.status_code, answer["Location"]) == (302, CHANGE)
        ann.refresh_from_db()
        assert ann.check_password(PASSWORD)

    def test_nobody_changes_it_who_is_not_logged_in(self) -> None:
        assert self.change(Client()).status_code == 302
        assert not User.objects.exists()


@pytest.mark.django_db
class TestSessions:
    def test_signing_up_changes_the_key(self) -> None:
        client = Client()
        session = client.session
        session["planted"] = "by somebody else"
        session.save()
        client.cookies[LOGGED_IN] = session.session_key or ""
        client.post(SIGN_UP, {"username": "new", "password1": PASSWORD, "password2": PASSWORD})
        assert client.session.session_key != session.session_key
        assert client.session["_auth_user_id"] == str(User.objects.get().pk)
        assert not Session.objects.filter(session_key=session.session_key).exists()

    def test_logging_out_leaves_nothing_of_the_session(self, ann: User) -> None:
        client = Client()
        client.force_login(ann)
        key = client.session.session_key
        client.post("/accounts/logout/")
        assert not Session.objects.filter(session_key=key).exists()

    def test_nobody_is_logged_out_by_a_link(self, ann: User) -> None:
        client = Client()
        client.force_login(ann)
        assert b'<form method="post"' in client.get("/accounts/logout/").content
        assert accounts.is_logged_in(client.session.session_key, ann.pk)
        assert Client().get("/accounts/logout/")["Location"] == LOG_IN

    def test_it_ends_when_the_setting_says_however_much_it_is_used(self, ann: User, settings: Settings) -> None:
        settings.SESSION_COOKIE_AGE = 100
        client = Client()
        client.post(LOG_IN, {"username": "ann", "password": PASSWORD})
        end = Session.objects.get().expire_date
        client.get("/search/?q=x")
        assert Session.objects.get().expire_date == end
        assert client.cookies[LOGGED_IN]["max-age"] == 100

    @pytest.mark.parametrize("place", ["https://evil.example/", "//evil.example/", "\\\\evil.example", "javascript:x"])
    def test_a_log_in_leads_to_nowhere_else(self, ann: User, place: str) -> None:
        response = Client().post(LOG_IN, {"username": "ann", "password": PASSWORD, "next": place})
        assert (response.status_code, response["Location"]) == (302, "/")


@pytest.mark.django_db
@pytest.mark.parametrize(
    "path",
    [LOG_IN, ADMIN, SIGN_UP, CHANGE, "/accounts/logout/", "/c/new/"]
    + [f"/c/{'0' * 8}-0000-4000-8000-{'0' * 12}/{verb}/" for verb in ("rename", "delete", "restore", "files")],
)
def test_what_another_site_sends_in_somebodys_name_does_nothing(ann: User, path: str) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(ann)
    for origin in ("", "https://evil.example", "null"):
        headers = {"Origin": origin} if origin else {}
        assert client.post(path, {"username": "x"}, headers=headers).status_code == 403
    assert accounts.is_logged_in(client.session.session_key, ann.pk)
    assert not models.Conversation.objects.exists()
