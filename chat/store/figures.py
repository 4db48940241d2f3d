"""Figures of the whole site, for those who watch over it: each from an index, however many rows there are."""

from __future__ import annotations

from datetime import timedelta

from django.apps import apps
from django.db.models import Count, Min
from django.db.models.functions import Now

from chat import models

IDLE = "idle"


def phases() -> dict[str, int]:
    """How many conversations stand in each phase but idle."""
    rows = models.Conversation.objects.exclude(phase=IDLE).order_by().values_list("phase").annotate(Count("id"))
    return dict(rows)


def queue_depth() -> int:
    """How many messages wait in all conversations."""
    return models.QueuedMessage.objects.filter(place__isnull=False).count()


def processes_heard(*, silent_for_s: float) -> dict[str, int]:
    """How many processes of each kind were heard of lately."""
    heard = models.Process.objects.filter(beat_at__gte=Now() - timedelta(seconds=silent_for_s))
    return dict(heard.order_by().values_list("kind").annotate(Count("id")))


def jobs() -> tuple[dict[str, int], float]:
    """How many jobs there are of each status, and how long the oldest that waits has waited, in seconds."""
    if not apps.is_installed("procrastinate.contrib.django"):
        return {}, 0.0
    known = apps.get_app_config("procrastinate")
    counts = known.get_model("ProcrastinateJob")._default_manager.order_by().values_list("status")
    deferred = known.get_model("ProcrastinateEvent")._default_manager.filter(type="deferred", job__status="todo")
    ages = deferred.order_by().aggregate(first=Min("at"), now=Min(Now()))
    lag_s = (ages["now"] - ages["first"]).total_seconds() if ages["first"] else 0.0
    return dict(counts.annotate(Count("id"))), max(0.0, lag_s)
