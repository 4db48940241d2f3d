"""Whom people talk with."""

from __future__ import annotations

import uuid
from collections.abc import Collection

from django.conf import settings
from django.db import models


class Agent(models.Model):
    """Whom people can talk with. What it is made of stands in its versions."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=100, unique=True)
    description = models.CharField(max_length=300, blank=True, help_text="What people read when they choose.")
    is_default = models.BooleanField(default=False, help_text="Starts a conversation for which none is chosen.")
    is_enabled = models.BooleanField(
        default=True, help_text="Off: its conversations can be read, and nobody can write in them."
    )
    groups = models.ManyToManyField("auth.Group", blank=True, help_text="Who may use it; none chosen: everybody.")

    class Meta:
        ordering = ("-is_default", "name")
        constraints = (
            models.UniqueConstraint(
                fields=("is_default",), condition=models.Q(is_default=True), name="one_default_agent"
            ),
        )

    def __str__(self) -> str:
        return self.name

    def validate_constraints(self, exclude: Collection[str] | None = None) -> None:
        """All but that of the default, whose place a new one takes."""
        super().validate_constraints(exclude={*(exclude or ()), "is_default"})


class AgentVersion(models.Model):
    """What an agent is made of. Never changed: a change is the next version, for conversations that start then."""

    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="versions")
    number = models.PositiveIntegerField(help_text="From 1.")
    model = models.CharField(max_length=200, blank=True, help_text="Name sent upstream; empty: the site's.")
    instructions = models.TextField(blank=True, help_text="What the model is told first; empty: the site's.")
    policies = models.JSONField(default=dict, help_text="Of tools by name; others are as the site has them.")
    tool_rounds_max = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: the site's.")
    answer_timeout_s = models.PositiveIntegerField(null=True, blank=True, help_text="Empty: the site's.")
    tokens_max_per_day = models.PositiveBigIntegerField(null=True, blank=True, help_text="Of one person; empty: any.")
    made_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    made_at = models.DateTimeField()

    class Meta:
        ordering = ("agent", "-number")
        constraints = (models.UniqueConstraint(fields=("agent", "number"), name="one_version_a_number"),)

    def __str__(self) -> str:
        return f"{self.agent} {self.number}"
