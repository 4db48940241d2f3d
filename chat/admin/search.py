"""The search in the list of conversations: bounded, and it says what it looked at.

Knows which columns have an index to read instead of the rows. Must not know pages.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db.models import Q, QuerySet

from chat import models

# Texts have no index: so many conversations are read in about a quarter of a second.
TEXTS_MAX_CONVERSATIONS = 1_000
FOUND_MAX = 500
PEOPLE_MAX = 100


def find(rows: QuerySet[Any], text: str, *, is_in_texts: bool) -> tuple[QuerySet[Any], str]:
    """Those of the conversations in which a text is found, and what was searched, in words."""
    text = text.replace("\0", "").strip()
    if not text:
        return rows, ""
    try:
        name = UUID(text)
    except ValueError:
        return _in_texts(rows, text) if is_in_texts else _in_names(rows, text)
    calls = models.ToolCall.objects.filter(id=name).values("conversation_id")
    return rows.filter(Q(id=name) | Q(id__in=calls)), "Searched: the conversation or tool call with this id."


def _in_names(rows: QuerySet[Any], text: str) -> tuple[QuerySet[Any], str]:
    people = list(
        get_user_model().objects.filter(username__icontains=text).values_list("pk", flat=True)[: PEOPLE_MAX + 1]
    )
    titled = list(rows.filter(title__icontains=text).values_list("pk", flat=True)[: FOUND_MAX + 1])
    owned = (
        list(rows.filter(user__in=people[:PEOPLE_MAX]).values_list("pk", flat=True)[: FOUND_MAX + 1]) if people else []
    )
    words = "Searched: all titles and user names of this selection."
    if len(titled) > FOUND_MAX or len(owned) > FOUND_MAX or len(people) > PEOPLE_MAX:
        words += f" There is more than is shown: the newest {FOUND_MAX} of each kind are. Narrow the search."
    return rows.filter(pk__in={*titled[:FOUND_MAX], *owned[:FOUND_MAX]}), words


def _in_texts(rows: QuerySet[Any], text: str) -> tuple[QuerySet[Any], str]:
    looked_at = list(rows.values_list("pk", "active_at")[: TEXTS_MAX_CONVERSATIONS + 1])
    is_all = len(looked_at) <= TEXTS_MAX_CONVERSATIONS
    looked_at = looked_at[:TEXTS_MAX_CONVERSATIONS]
    places = models.Message.objects.filter(
        conversation_id__in=[key for key, _ in looked_at], content__icontains=text
    ).order_by()
    found = set(places.values_list("conversation_id", flat=True).distinct())
    words = "Searched: the texts of all messages of this selection."
    if not is_all:
        since = min(at for _, at in looked_at)
        words = (
            f"Searched: the texts of the {TEXTS_MAX_CONVERSATIONS:,} newest conversations of this selection, back to "
            f"{since:%Y-%m-%d %H:%M} UTC. Choose a date, a user or a filter to search in others."
        )
    return rows.filter(pk__in=found), words
