"""What the site keeps of its processes, and of how much people have of it."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from chat.models.agents import Agent


class Tally(models.Model):
    """How often something was done by one person or address within a time."""

    KEY_MAX_CHARACTERS = 200

    kind = models.CharField(max_length=40)
    key = models.CharField(max_length=KEY_MAX_CHARACTERS, help_text="The person's id or name, or the address.")
    window = models.DateTimeField(help_text="When that time began.")
    count = models.PositiveIntegerField(default=0)

    class Meta:
        verbose_name_plural = "tallies"
        constraints = (models.UniqueConstraint(fields=("kind", "key", "window"), name="one_tally_a_window"),)
        indexes = (models.Index(fields=("window",)),)

    def __str__(self) -> str:
        return f"{self.kind} {self.count}"


class UsageDay(models.Model):
    """The tokens that one person's answers took on one day (UTC)."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="usage_days")
    day = models.DateField()
    prompt_tokens = models.PositiveBigIntegerField(default=0)
    completion_tokens = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("user", "day"), name="one_usage_a_day"),)

    def __str__(self) -> str:
        return f"usage of {self.day}"


class AgentUsageDay(models.Model):
    """The tokens that one person's answers took with one agent on one day (UTC); they count in `UsageDay` too."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    agent = models.ForeignKey(Agent, on_delete=models.CASCADE, related_name="usage_days")
    day = models.DateField()
    tokens = models.PositiveBigIntegerField(default=0)

    class Meta:
        constraints = (models.UniqueConstraint(fields=("user", "agent", "day"), name="one_usage_an_agent_and_day"),)

    def __str__(self) -> str:
        return f"usage of {self.day} with {self.agent_id}"


class Process(models.Model):
    """A process of this site, and when it was last heard of."""

    id = models.UUIDField(primary_key=True, editable=False)
    kind = models.CharField(max_length=20, help_text="server: serves and performs runs; web: serves; worker: performs.")
    host = models.CharField(max_length=255, help_text="Name of its machine.")
    pid = models.PositiveIntegerField(help_text="Its number on that machine.")
    started_at = models.DateTimeField()
    beat_at = models.DateTimeField(help_text="By the clock of the database.")

    class Meta:
        verbose_name_plural = "processes"

    def __str__(self) -> str:
        return f"process {self.id}"


class SocketCount(models.Model):
    """How many sockets of one person, or from one address, a process has. Only where several processes serve."""

    process = models.ForeignKey(Process, on_delete=models.CASCADE, related_name="socket_counts")
    key = models.CharField(max_length=100, help_text="`user:` or `address:`, and which.")
    count = models.PositiveIntegerField()

    class Meta:
        constraints = (models.UniqueConstraint(fields=("key", "process"), name="one_socket_count_a_process"),)

    def __str__(self) -> str:
        return f"{self.key} {self.count}"
