"""What staff said of conversations, and what is left of their doings."""

from __future__ import annotations

from django.conf import settings
from django.db import models

from chat.models.conversations import Conversation


class Erasure(models.Model):
    """That the text of a conversation was erased. Stays when the conversation goes."""

    conversation_id = models.UUIDField(db_index=True)
    by = models.CharField(max_length=150, blank=True, help_text="Name of the staff user; empty for the command.")
    at = models.DateTimeField(help_text="As in the events that it erased.")
    events = models.PositiveIntegerField(help_text="How many events it erased.")
    files = models.PositiveIntegerField(help_text="How many files it removed.")

    class Meta:
        ordering = ("-at",)

    def __str__(self) -> str:
        return f"erasure of {self.events} events"


class Review(models.Model):
    """What a member of staff said of a conversation. Never changed: the newest row of a conversation is its state."""

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="reviews")
    state = models.CharField(max_length=20, help_text="`reviewed` or `flagged`.")
    note = models.TextField(blank=True)
    seq = models.PositiveIntegerField(help_text="The newest event at that moment.")
    by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    at = models.DateTimeField()

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.state} at event {self.seq}"


class AccessTrace(models.Model):
    """A member of staff looked at a conversation of somebody else, or took something from it.

    It outlives what it names: neither the deletion of a user nor that of a conversation removes it.
    """

    staff = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    staff_name = models.CharField(max_length=150, help_text="As it was then.")
    what = models.CharField(max_length=20, help_text="What was looked at or taken.")
    conversation_id = models.UUIDField()
    subject = models.CharField(max_length=100, blank=True, help_text="Of a call, a file or a review, which.")
    seq = models.PositiveIntegerField(null=True, help_text="The event that was looked at.")
    address = models.GenericIPAddressField(null=True, help_text="Where the request came from.")
    at = models.DateTimeField()

    class Meta:
        ordering = ("-id",)
        indexes = (
            models.Index(fields=("staff", "-at"), name="traces_by_staff"),
            models.Index(fields=("conversation_id", "-id"), name="traces_by_conversation"),
        )

    def __str__(self) -> str:
        return f"{self.staff_name}: {self.what}"
