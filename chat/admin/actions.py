"""What staff can do with the conversations that they chose in the list. One more is one more function in `ACTIONS`.

Knows the admin's way of actions, and what each needs: a permission, and a second look where it can't be taken back.
Must not know how anything is done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse

from chat import models
from chat.admin import exporting, wishes
from chat.admin.access import leave_trace
from chat.admin.listing import person_id
from chat.clock import now_ms
from chat.store import reviews
from chat.store.reviews import Access, ReviewState

if TYPE_CHECKING:
    Admin = admin.ModelAdmin[models.Conversation]
    Rows = QuerySet[models.Conversation]
else:
    Admin, Rows = admin.ModelAdmin, QuerySet

# More than one looks at; each is a transaction of its own, or a file in memory.
CHOSEN_MAX = 200
NOTE_MAX_CHARACTERS = 10_000


@admin.action(permissions=["review"], description="Mark as reviewed")
def mark_reviewed(model_admin: Admin, request: HttpRequest, chosen: Rows) -> None:
    """Say of each that it is in order."""
    _review(model_admin, request, chosen, ReviewState.REVIEWED, note="")


@admin.action(permissions=["review"], description="Flag, with a note")
def flag(model_admin: Admin, request: HttpRequest, chosen: Rows) -> HttpResponse | None:
    """Say of each that somebody should look at it, and why."""
    if not is_confirmed(request):
        return _ask(model_admin, request, chosen, "flag", "Flag these conversations?", asks_note=True)
    _review(model_admin, request, chosen, ReviewState.FLAGGED, note=note_of(request))
    return None


@admin.action(permissions=["stop"], description="Stop what runs")
def stop(model_admin: Admin, request: HttpRequest, chosen: Rows) -> HttpResponse | None:
    """Stop each, as its owner could."""
    if not is_confirmed(request):
        return _ask(model_admin, request, chosen, "stop", "Stop what runs in these conversations?")
    _wish(model_admin, request, chosen, wishes.stop, done="stopped")
    return None


@admin.action(permissions=["close"], description="Close: put away")
def close(model_admin: Admin, request: HttpRequest, chosen: Rows) -> HttpResponse | None:
    """Put each away: what runs is stopped, and its owner finds it no more."""
    if not is_confirmed(request):
        title = "Put these conversations away? What runs in them is stopped, and their owners do not see them any more."
        return _ask(model_admin, request, chosen, "close", title)
    _wish(model_admin, request, chosen, wishes.close, done="put away")
    return None


@admin.action(permissions=["export"], description="Export as JSON and Markdown")
def export(model_admin: Admin, request: HttpRequest, chosen: Rows) -> HttpResponse | None:
    """All of them in one archive."""
    keys = _keys(model_admin, request, chosen)
    if not keys:
        return None
    leave_trace(request, *keys, what=Access.EXPORT, subject="archive")
    return exporting.archive(keys)


ACTIONS: tuple[Callable[[Any, HttpRequest, Any], HttpResponse | None], ...] = (
    mark_reviewed,
    flag,
    stop,
    close,
    export,
)


def note_of(request: HttpRequest) -> str:
    """The note that goes with a review."""
    return request.POST.get("note", "").replace("\0", "").strip()[:NOTE_MAX_CHARACTERS]


def is_confirmed(request: HttpRequest) -> bool:
    """Whether they have said yes to the question."""
    return request.POST.get("is_confirmed") == "yes"


def question(
    model_admin: Admin,
    request: HttpRequest,
    rows: Iterable[models.Conversation],
    action: str,
    title: str,
    *,
    back: str,
    asks_note: bool = False,
) -> HttpResponse:
    """The page that asks whether it is meant. Yes comes to the address that asked; `back` is where no leads."""
    context = {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.opts,
        "title": title,
        "action": action,
        "chosen": rows,
        "back": back,
        "asks_note": asks_note,
    }
    return TemplateResponse(request, "admin/chat/confirm.html", context)


def _keys(model_admin: Admin, request: HttpRequest, chosen: Rows) -> Sequence[UUID]:
    """Which were chosen; none, and a word to the person, when they are too many."""
    keys = list(chosen.values_list("pk", flat=True)[: CHOSEN_MAX + 1])
    if len(keys) <= CHOSEN_MAX:
        return keys
    words = f"At most {CHOSEN_MAX} conversations at once. Nothing was done: choose fewer."
    model_admin.message_user(request, words, messages.ERROR)
    return ()


def _review(model_admin: Admin, request: HttpRequest, chosen: Rows, state: ReviewState, *, note: str) -> None:
    keys = _keys(model_admin, request, chosen)
    if keys:
        found = reviews.review(keys, state=state, note=note, user_id=person_id(request), at_ms=now_ms())
        leave_trace(request, *found, what=Access.REVIEW, subject=state.value)
        model_admin.message_user(request, f"{len(found)} marked as {state.value}.")


def _wish(model_admin: Admin, request: HttpRequest, chosen: Rows, wish: Callable[..., str], *, done: str) -> None:
    answers = [wish(key, user_id=person_id(request)) for key in _keys(model_admin, request, chosen)]
    happened = answers.count("")
    if happened:
        model_admin.message_user(request, f"{happened} {done}.")
    for words in sorted({answer for answer in answers if answer}):
        model_admin.message_user(request, f"{answers.count(words)} not {done}: {words}", messages.WARNING)


def _ask(
    model_admin: Admin, request: HttpRequest, chosen: Rows, action: str, title: str, *, asks_note: bool = False
) -> HttpResponse | None:
    keys = _keys(model_admin, request, chosen)
    if not keys:
        return None
    back = reverse("admin:chat_conversation_changelist")
    return question(model_admin, request, chosen.filter(pk__in=keys), action, title, back=back, asks_note=asks_note)
