"""Logging in, signing up, and what follows from logging out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.auth import SESSION_KEY, login, views
from django.contrib.auth.forms import UserCreationForm
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.urls import reverse_lazy
from django.views.generic import CreateView

from chat import wiring


class Login(views.LoginView):
    """The log-in page."""

    redirect_authenticated_user = True

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
        """Make the user and log them in."""
        response = super().form_valid(form)
        login(self.request, form.instance)
        return response


@receiver(post_delete, sender=Session)
def close_sockets(instance: Session, **kwargs: Any) -> None:
    """A socket does not outlive the session that it came with, whoever ended that."""
    user_id = instance.get_decoded().get(SESSION_KEY)
    if user_id is not None:
        # After the session is gone: a socket that comes in from now on finds none, and an earlier one hears of it.
        async_to_sync(_end_session)(int(user_id), instance.session_key)


async def _end_session(user_id: int, session: str) -> None:
    wiring.site().bus.end_session(user_id=user_id, session=session)
