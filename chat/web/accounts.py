"""Logging in, signing up, and what follows from logging out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from asgiref.sync import async_to_sync
from django.conf import settings
from django.contrib.auth import login, views
from django.contrib.auth.forms import UserCreationForm
from django.contrib.auth.models import AbstractBaseUser, User
from django.contrib.auth.signals import user_logged_out
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


@receiver(user_logged_out)
def close_sockets(request: HttpRequest, user: AbstractBaseUser | None, **kwargs: Any) -> None:
    """A socket does not outlive the session that it came with."""
    session = request.session.session_key
    if user is not None and session:
        async_to_sync(_end_session)(user.pk, session)


async def _end_session(user_id: int, session: str) -> None:
    wiring.site().bus.end_session(user_id=user_id, session=session)
