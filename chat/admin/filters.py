"""The filters of the lists. Each has fixed choices, so that none reads a table to know them.

Knows the columns that have indexes for this. Must not know pages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from uuid import UUID

from django.contrib import admin
from django.contrib.auth import get_user_model
from django.db.models import F, QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

from chat import models
from chat.codec import PHASE_NAMES, STORED_NAMES
from chat.core.calls import CallState
from chat.store.reviews import Access, ReviewState
from chat.tools.registry import all_tools

Rows = QuerySet[Any]
Choice = tuple[str, Callable[[Rows], Rows]]
IN_TEXTS = "texts"
AGENTS_MAX = 50


def in_words(name: str) -> str:
    """A stored name as people read it."""
    return name.replace("_", " ").capitalize()


class Choices(admin.SimpleListFilter):
    """One of a fixed set of choices."""

    def options(self) -> Mapping[str, Choice]:
        """By its value: words, and the rows that it leaves of those that are given."""
        raise NotImplementedError

    @cached_property
    def choices_there_are(self) -> Mapping[str, Choice]:
        """The options, looked up once a page."""
        return self.options()

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Value and words of each choice."""
        return [(value, words) for value, (words, _) in self.choices_there_are.items()]

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        """The rows of the choice that was made."""
        chosen = self.choices_there_are.get(self.value() or "")
        return queryset if chosen is None else chosen[1](queryset)


def _with(**wanted: Any) -> Callable[[Rows], Rows]:
    return lambda rows: rows.filter(**wanted)


class PhaseFilter(Choices):
    """Where a conversation stands."""

    title, parameter_name = "phase", "phase"

    def options(self) -> Mapping[str, Choice]:
        """Each phase."""
        return {name: (in_words(name), _with(phase=name)) for name in PHASE_NAMES}


class ReviewFilter(Choices):
    """What staff said of it."""

    title, parameter_name = "review", "review"

    def options(self) -> Mapping[str, Choice]:
        """Not yet, each state, and what went on since."""
        return {
            "none": ("Not reviewed", _with(review_state="")),
            **{state.value: (in_words(state), _with(review_state=state.value)) for state in ReviewState},
            "since": ("Went on since its review", _with(review_state__gt="", reviewed_seq__lt=F("seq"))),
        }


class AgentFilter(Choices):
    """With whom it was started. There are as many agents as staff made, so that few rows are read to know them."""

    title, parameter_name = "agent", "agent"

    def options(self) -> Mapping[str, Choice]:
        """Each agent, and the site's own settings."""
        agents = models.Agent.objects.values_list("pk", "name")[:AGENTS_MAX]
        return {
            "site": ("The site's settings", _with(agent_version=None)),
            **{str(pk): (name, _with(agent_version__agent=pk)) for pk, name in agents},
        }

    def queryset(self, request: HttpRequest, queryset: Rows) -> Rows:
        """Also of an agent that has no place among the options; of what names none, no rows."""
        chosen = self.value()
        if not chosen or chosen in self.choices_there_are:
            return super().queryset(request, queryset)
        try:
            return queryset.filter(agent_version__agent=UUID(chosen))
        except ValueError:
            return queryset.none()


class WaitingFilter(Choices):
    """Whose decision it waits for."""

    title, parameter_name = "pending tool calls", "pending"

    def options(self) -> Mapping[str, Choice]:
        """Anybody's, or that of staff."""
        for_staff = models.ToolCall.objects.filter(needs_staff=True, is_settled=False)
        waiting = for_staff.filter(state__in=(CallState.PROPOSED.value, CallState.UNKNOWN.value))
        return {
            "any": ("Has pending calls", _with(phase="awaiting_approval")),
            "staff": (
                "Waits for staff",
                _with(phase="awaiting_approval", id__in=waiting.values("conversation_id")),
            ),
        }


class FailedFilter(Choices):
    """Whether tools failed in it."""

    title, parameter_name = "failed tool calls", "failed"

    def options(self) -> Mapping[str, Choice]:
        """Any."""
        return {"yes": ("Has failed calls", _with(failed_call_count__gt=0))}


class OwnerFilter(Choices):
    """Whose it is."""

    title, parameter_name = "owner", "owner"

    def options(self) -> Mapping[str, Choice]:
        """Staff, or somebody else."""
        staff = get_user_model().objects.filter(is_staff=True).values("pk")
        return {
            "staff": ("Staff", lambda rows: rows.filter(user__in=staff)),
            "users": ("Users", lambda rows: rows.exclude(user__in=staff)),
        }


class PutAwayFilter(Choices):
    """Whether it was put away."""

    title, parameter_name = "put away", "away"

    def options(self) -> Mapping[str, Choice]:
        """Yes or no."""
        return {"no": ("In its owner's list", _with(is_deleted=False)), "yes": ("Put away", _with(is_deleted=True))}


class SearchFilter(Choices):
    """Where the search looks. The search itself asks for the value."""

    title, parameter_name = "where the search looks", "in"

    def options(self) -> Mapping[str, Choice]:
        """In texts; else in titles, names and ids."""
        return {IN_TEXTS: ("Texts of messages", lambda rows: rows)}


class EventNameFilter(Choices):
    """What happened."""

    title, parameter_name = "name", "name"

    def options(self) -> Mapping[str, Choice]:
        """Each stored name."""
        return {name: (in_words(name), _with(name=name)) for name, _ in STORED_NAMES.values()}


class ToolFilter(Choices):
    """Which tool."""

    title, parameter_name = "tool", "tool"

    def options(self) -> Mapping[str, Choice]:
        """Each tool that there is now."""
        return {name: (name, _with(tool=name)) for name in sorted(all_tools())}


class CallStateFilter(Choices):
    """How far it has come."""

    title, parameter_name = "state", "state"

    def options(self) -> Mapping[str, Choice]:
        """Each state, and what waits for staff."""
        waits = _with(state=CallState.PROPOSED.value, needs_staff=True)
        return {
            "staff": ("Waits for staff", waits),
            **{state.value: (in_words(state), _with(state=state.value)) for state in CallState},
        }


class DecisionFilter(Choices):
    """Who decided."""

    title, parameter_name = "decision", "decision"

    def options(self) -> Mapping[str, Choice]:
        """The owner, staff, or nobody."""
        return {
            "owner": ("By its owner", _with(decided_at__isnull=False, is_staff_decision=False)),
            "staff": ("By staff", _with(is_staff_decision=True)),
            "nobody": ("Nobody was asked", _with(decided_at__isnull=True, execution_no__gt=0)),
        }


class AccessFilter(Choices):
    """What was looked at or taken."""

    title, parameter_name = "what", "what"

    def options(self) -> Mapping[str, Choice]:
        """Each kind."""
        return {what.value: (in_words(what), _with(what=what.value)) for what in Access}


class ReviewStateFilter(Choices):
    """What a review says."""

    title, parameter_name = "review", "state"

    def options(self) -> Mapping[str, Choice]:
        """Each state."""
        return {state.value: (in_words(state), _with(state=state.value)) for state in ReviewState}


class KindFilter(Choices):
    """What a process does."""

    title, parameter_name = "kind", "kind"

    def options(self) -> Mapping[str, Choice]:
        """Each kind."""
        return {kind: (in_words(kind), _with(kind=kind)) for kind in ("server", "web", "worker")}


class JobStatusFilter(Choices):
    """How far a job is."""

    title, parameter_name = "status", "status"

    def options(self) -> Mapping[str, Choice]:
        """Each state in which a job is kept."""
        kept = ("todo", "doing", "failed", "cancelled", "aborted")
        return {status: (in_words(status), _with(status=status)) for status in kept}
