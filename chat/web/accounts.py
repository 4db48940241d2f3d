"""Logging in, signing up, and what follows from logging out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib import messages
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, login, views
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm, UserCreationForm
from django.contrib.auth.models import AnonymousUser, User
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import IntegrityError, transaction
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse_lazy
from django.utils.crypto import constant_time_compare, salted_hmac
from django.views.generic import CreateView, View

from chat import wiring
from chat.conf import Conf
from chat.store import quotas
from chat.store.quotas import Counted
from chat.web import addresses

TOO_MANY_FAILURES = "too_many_failures"
TOO_MANY_REQUESTS = 429


class Attempts:
    """Tries at the password of one name: each is counted before it is made, and again not when it was right.

    address: where they come from, which may not try many names either; None where somebody is logged in already.
    """

    def __init__(self, name: str, address: str | None) -> None:
        self._conf: Conf = settings.AGENTSITE
        self._at = datetime.now(UTC)
        # A name may be a password, typed into the wrong field.
        self._name = salted_hmac("login name", name.casefold()).hexdigest()
        self._address = address

    def begin(self) -> None:
        """One more. Raises ValidationError when there were too many."""
        conf, wait = self._conf, None
        if self._address is not None:
            limit = conf.agent_login_failures_max_per_address
            wait = self._take(Counted.LOGIN_FAILURES_OF_ADDRESS, self._address, limit)
        if wait is None:
            wait = self._take(Counted.LOGIN_FAILURES_OF_NAME, self._name, conf.agent_login_failures_max_per_name)
            if wait is not None:
                self._give_back()
        if wait is not None:
            words = f"Too many log-ins have failed. Try again in {quotas.words_for(wait)}."
            raise ValidationError(words, code=TOO_MANY_FAILURES)

    def succeed(self) -> None:
        """It was right: the name starts again from nothing."""
        quotas.forget(Counted.LOGIN_FAILURES_OF_NAME, self._name)
        self._give_back()

    def _take(self, kind: Counted, key: str, limit: int) -> int | None:
        return quotas.take(kind, key, limit=limit, window_s=self._conf.agent_login_window_s, at=self._at)

    def _give_back(self) -> None:
        if self._address is not None:
            window_s = self._conf.agent_login_window_s
            quotas.give_back(Counted.LOGIN_FAILURES_OF_ADDRESS, self._address, window_s=window_s, at=self._at)


class LogInForm(AuthenticationForm):
    """Makes whoever fails too often wait: by name and by address, in all processes together."""

    def clean(self) -> dict[str, Any]:
        """Check name and password, where there is still an attempt."""
        if self.errors:
            # One of the two is missing: nothing is tried.
            return super().clean()
        address = addresses.of_request(self.request) if self.request else addresses.UNKNOWN
        attempts = Attempts(self.cleaned_data["username"], address)
        attempts.begin()
        cleaned = super().clean()
        attempts.succeed()
        return cleaned


class AdminLogInForm(LogInForm, AdminAuthenticationForm):
    """That of the admin's own."""


class Login(views.LoginView):
    """The log-in page."""

    redirect_authenticated_user = True
    authentication_form = LogInForm

    def form_invalid(self, form: AuthenticationForm) -> HttpResponse:
        """Say what was wrong; 429 where it was one attempt too many."""
        response = super().form_invalid(form)
        if form.has_error(NON_FIELD_ERRORS, TOO_MANY_FAILURES):
            response.status_code = TOO_MANY_REQUESTS
        return response

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        """The form, and whether there is a way to sign up."""
        return super().get_context_data(signup_open=settings.AGENTSITE.agent_signup_open, **kwargs)


class Logout(views.LogoutView):
    """Logging out. Whoever only opens the address is asked first: a link logs nobody out."""

    http_method_names = View.http_method_names
    template_name = "registration/logout.html"

    def get(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Ask whoever is logged in."""
        if not request.user.is_authenticated:
            return redirect("login")
        return super().get(request, *args, **kwargs)


if TYPE_CHECKING:
    NewUserForm = UserCreationForm[User]
    NewUserView = CreateView[User, NewUserForm]
else:
    NewUserForm, NewUserView = UserCreationForm, CreateView


class SignUp(NewUserView):
    """The sign-up page, where it is open."""

    form_class = NewUserForm
    template_name = "registration/signup.html"
    success_url = reverse_lazy("home")

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Answer a request."""
        if not settings.AGENTSITE.agent_signup_open:
            raise Http404
        return super().dispatch(request, *args, **kwargs)

    def form_valid(self, form: NewUserForm) -> HttpResponse:
        """Make the user and log them in; 429 where too many come from one address."""
        wait = self._take(Counted.SIGNUPS_OF_ADDRESS, settings.AGENTSITE.agent_signups_max_per_hour_and_address)
        if wait is not None:
            form.add_error(None, f"Too many accounts were made from your address. Try again in {wait}.")
            return self.render_to_response(self.get_context_data(form=form), status=TOO_MANY_REQUESTS)
        try:
            with transaction.atomic():
                response = super().form_valid(form)
        except IntegrityError:
            # Another process has given the name away since it was looked for.
            form.add_error("username", form.instance.unique_error_message(User, ("username",)))
            return self.form_invalid(form)
        login(self.request, form.instance)
        return response

    def form_invalid(self, form: NewUserForm) -> HttpResponse:
        """Say what was wrong. That a name is taken has to be said, but not to whoever tries many."""
        limit = settings.AGENTSITE.agent_signup_failures_max_per_hour_and_address
        if form.has_error("username"):
            wait = self._take(Counted.SIGNUP_FAILURES_OF_ADDRESS, limit)
            if wait is not None:
                form.errors.clear()
                form.add_error(None, f"Too many sign-ups from your address have failed. Try again in {wait}.")
                return self.render_to_response(self.get_context_data(form=form), status=TOO_MANY_REQUESTS)
        return super().form_invalid(form)

    def _take(self, kind: Counted, limit: int) -> str | None:
        """Count one more of this address; how long to wait, in words, when there are too many."""
        address = addresses.of_request(self.request)
        wait = quotas.take(kind, address, limit=limit, window_s=quotas.HOUR_S, at=datetime.now(UTC))
        return None if wait is None else quotas.words_for(wait)


class PasswordForm(PasswordChangeForm):
    """Asks for the old password, and as seldom as the log-in page does."""

    def clean_old_password(self) -> str:
        """Check it, where there is still an attempt."""
        attempts = Attempts(self.user.get_username(), None)
        attempts.begin()
        old = super().clean_old_password()
        attempts.succeed()
        return old


class Password(views.PasswordChangeView):
    """Another password. Every other session of the same person ends with it."""

    form_class = PasswordForm
    template_name = "registration/password.html"
    success_url = reverse_lazy("home")

    def form_valid(self, form: PasswordChangeForm) -> HttpResponse:
        """Change it; the next page says so."""
        messages.info(self.request, "Your password was changed.")
        return super().form_valid(form)


def expiry_s(session: SessionBase) -> float:
    """How long this session stands by itself."""
    return float(session.get_expiry_age())


def user_of(session: SessionBase) -> User | AnonymousUser:
    """Whose session this is, as long as they are let in with the same password.

    As pages find it, but for one that began under a former SECRET_KEY: a page gives it a new key, and a socket, which
    can set no cookie, leaves it as it is.
    """
    user = User.objects.filter(pk=session.get(SESSION_KEY, 0), is_active=True).first()
    if user is None:
        return AnonymousUser()
    held = session.get(HASH_SESSION_KEY, "")
    hashes = (user.get_session_auth_hash(), *user.get_session_auth_fallback_hash())
    return user if any(constant_time_compare(held, each) for each in hashes) else AnonymousUser()


def is_logged_in(session_key: str | None, user_id: int) -> bool:
    """Whether a session still stands, and its user is still let in with the same password."""
    return session_key is not None and user_of(SessionStore(session_key)).pk == user_id


@receiver(post_delete, sender=Session)
def session_ended(instance: Session, **kwargs: Any) -> None:
    """A socket does not outlive the session that it came with, whoever ended that."""
    user_id = instance.get_decoded().get(SESSION_KEY)
    if user_id is not None:
        _check_sockets(int(user_id))


@receiver(post_save, sender=User)
def user_changed(instance: User, update_fields: frozenset[str] | None, **kwargs: Any) -> None:
    """Nor that its user is let in, with the password of that time."""
    if update_fields is None or update_fields & {"password", "is_active"}:
        _check_sockets(instance.pk)


def _check_sockets(user_id: int) -> None:
    async def check() -> None:
        wiring.site().bus.check_sessions(user_id)

    # After the change can be seen: a socket that comes in from now on sees it, and an earlier one hears of it.
    transaction.on_commit(async_to_sync(check))
