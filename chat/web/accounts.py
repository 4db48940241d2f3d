"""Logging in, signing up, and what follows from logging out."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.admin.forms import AdminAuthenticationForm
from django.contrib.auth import HASH_SESSION_KEY, SESSION_KEY, login, views
from django.contrib.auth.forms import AuthenticationForm, UserCreationForm
from django.contrib.auth.models import User
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import transaction
from django.db.models.signals import post_delete, post_save
from django.dispatch import receiver
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.urls import reverse_lazy
from django.utils.crypto import constant_time_compare, salted_hmac
from django.views.generic import CreateView

from chat import wiring
from chat.conf import Conf
from chat.store import quotas
from chat.store.quotas import Counted
from chat.web import addresses

TOO_MANY_FAILURES = "too_many_failures"
TOO_MANY_REQUESTS = 429


class LogInForm(AuthenticationForm):
    """Makes whoever fails too often wait: by name and by address, in all processes together."""

    def clean(self) -> dict[str, Any]:
        """Check name and password, where there is still an attempt."""
        conf: Conf = settings.AGENTSITE
        now = datetime.now(UTC)
        window_s = conf.agent_login_window_s
        # A name may be a password, typed into the wrong field.
        name = salted_hmac("login name", self.cleaned_data.get("username", "").casefold()).hexdigest()
        address = addresses.of_request(self.request) if self.request else addresses.UNKNOWN
        counted = (
            (Counted.LOGIN_FAILURES_OF_NAME, name, conf.agent_login_failures_max_per_name),
            (Counted.LOGIN_FAILURES_OF_ADDRESS, address, conf.agent_login_failures_max_per_address),
        )
        waits = [quotas.wait_s(kind, key, limit=limit, window_s=window_s, at=now) for kind, key, limit in counted]
        longest = max((wait for wait in waits if wait is not None), default=None)
        if longest is not None:
            words = f"Too many log-ins have failed. Try again in {quotas.words_for(longest)}."
            raise ValidationError(words, code=TOO_MANY_FAILURES)
        try:
            cleaned = super().clean()
        except ValidationError:
            for kind, key, _ in counted:
                quotas.count(kind, key, window_s=window_s, at=now)
            raise
        quotas.forget(Counted.LOGIN_FAILURES_OF_NAME, name)
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
        address, now = addresses.of_request(self.request), datetime.now(UTC)
        limit = settings.AGENTSITE.agent_signups_max_per_hour_and_address
        wait = quotas.wait_s(Counted.SIGNUPS_OF_ADDRESS, address, limit=limit, window_s=quotas.HOUR_S, at=now)
        if wait is not None:
            words = f"Too many accounts were made from your address. Try again in {quotas.words_for(wait)}."
            form.add_error(None, words)
            return self.render_to_response(self.get_context_data(form=form), status=TOO_MANY_REQUESTS)
        quotas.count(Counted.SIGNUPS_OF_ADDRESS, address, window_s=quotas.HOUR_S, at=now)
        response = super().form_valid(form)
        login(self.request, form.instance)
        return response


def expiry_s(session: SessionBase) -> float:
    """How long this session stands by itself."""
    return float(session.get_expiry_age())


def is_logged_in(session_key: str | None, user_id: int) -> bool:
    """Whether a session still stands, and its user is still let in with the same password."""
    held = SessionStore(session_key).load() if session_key else {}
    user = User.objects.filter(pk=user_id, is_active=True).first()
    return (
        user is not None
        and held.get(SESSION_KEY) == str(user_id)
        and constant_time_compare(held.get(HASH_SESSION_KEY, ""), user.get_session_auth_hash())
    )


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
