"""Conversations: their log, and the rows that follow from it."""

from __future__ import annotations

import uuid

from django.conf import settings
from django.db import models

from chat.models.agents import AgentVersion


class Conversation(models.Model):
    """One conversation and its newest snapshot."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="conversations")
    agent_version = models.ForeignKey(
        AgentVersion,
        on_delete=models.PROTECT,
        null=True,
        related_name="conversations",
        help_text="Empty: the site's.",
    )
    agent_name = models.CharField(max_length=100, blank=True, help_text="The agent's at the start, for lists.")
    title = models.CharField(max_length=200, blank=True)
    phase = models.CharField(max_length=20, help_text="Name of the snapshot's phase, for lists and recovery.")
    is_deleted = models.BooleanField(default=False)
    seq = models.PositiveIntegerField(help_text="Number of the newest event.")
    snapshot = models.TextField(help_text="The state after that event, as JSON.")
    head_hash = models.CharField(max_length=64, help_text="Hash of that event.")
    seal = models.CharField(max_length=64, help_text="Over number and hash, with a key that the database has not.")
    created_at = models.DateTimeField()
    active_at = models.DateTimeField(help_text="When a message was last sent; lists are sorted by it.")
    message_count = models.PositiveIntegerField(default=0)
    call_count = models.PositiveIntegerField(default=0, help_text="Tool calls that its answers made.")
    failed_call_count = models.PositiveIntegerField(default=0)
    prompt_tokens = models.PositiveBigIntegerField(default=0, help_text="Of all answers that told theirs.")
    completion_tokens = models.PositiveBigIntegerField(default=0)
    review_state = models.CharField(max_length=20, blank=True, help_text="That of the newest review; empty before any.")
    reviewed_seq = models.PositiveIntegerField(null=True, help_text="The newest event when it was last reviewed.")
    tools_at = models.UUIDField(null=True, help_text="The worker that runs its tools, where its kernel lives.")

    class Meta:
        ordering = ("-active_at", "-created_at")
        indexes = (
            models.Index(fields=("user", "is_deleted", "-active_at", "-created_at")),
            # With the title, so that a search through all titles reads this index and no row.
            models.Index(fields=("-active_at", "-id", "title"), name="conversations_by_activity"),
            models.Index(fields=("phase", "-active_at", "-id"), name="conversations_by_phase"),
            models.Index(fields=("review_state", "-active_at", "-id"), name="conversations_by_review"),
            models.Index(
                fields=("-active_at", "-id"),
                condition=models.Q(failed_call_count__gt=0),
                name="conversations_with_failures",
            ),
            models.Index(
                fields=("-active_at", "-id"),
                condition=models.Q(review_state__gt="", reviewed_seq__lt=models.F("seq")),
                name="conversations_gone_on",
            ),
        )
        permissions = (
            ("review_conversation", "Can mark conversations as reviewed or flagged"),
            ("stop_conversation", "Can stop what runs in a conversation"),
            ("close_conversation", "Can put a conversation away"),
            ("export_conversation", "Can export conversations of others"),
        )

    def __str__(self) -> str:
        return self.title or "New conversation"


class Event(models.Model):
    """One line of a conversation's log. Never changed, but for payload and salt when its text is erased.

    The hashes are those of `chat.chain`.
    """

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="events")
    seq = models.PositiveIntegerField()
    name = models.CharField(max_length=50, help_text="Stored name of the event.")
    version = models.PositiveSmallIntegerField()
    payload = models.TextField(help_text="The event's fields, as JSON.")
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        # The log keeps who did what in other people's conversations. One's own go with the account.
        on_delete=models.RESTRICT,
        null=True,
        related_name="+",
        help_text="The person whose wish it was; empty for what the world answered.",
    )
    at = models.DateTimeField()
    salt = models.CharField(max_length=32, blank=True, help_text="Hashed with the payload; empty once it is erased.")
    payload_hash = models.CharField(max_length=64, help_text="Of the payload as it was at first.")
    hash = models.CharField(max_length=64, help_text="Of all but the payload, and of the hash of the event before.")
    erased_at = models.DateTimeField(null=True, help_text="When text in the payload was erased.")
    erased_version = models.PositiveSmallIntegerField(null=True, help_text="Version of the payload since then.")
    erased_seal = models.CharField(max_length=64, blank=True, help_text="Over the payload since then.")

    class Meta:
        ordering = ("conversation", "seq")
        constraints = (models.UniqueConstraint(fields=("conversation", "seq"), name="one_event_a_seq"),)
        indexes = (models.Index(fields=("name", "-id"), name="events_by_name"),)

    def __str__(self) -> str:
        return f"{self.seq} {self.name}"


class Message(models.Model):
    """One message of the transcript."""

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="messages")
    message_id = models.UUIDField(help_text="Unique in its conversation; a user's message has its client's.")
    position = models.PositiveIntegerField()
    role = models.CharField(max_length=20)
    state = models.CharField(max_length=20)
    content = models.TextField(blank=True, help_text="Text; while it streams, what was saved about a second ago.")
    reasoning = models.TextField(blank=True)
    attachments = models.JSONField(default=list, help_text="Files that a person sent along.")
    run_id = models.UUIDField(null=True)
    answering = models.UUIDField(null=True, help_text="Of an answer, the user's message that it answers.")
    fault = models.CharField(max_length=30, blank=True, help_text="Class of the failure.")
    fault_words = models.TextField(blank=True)
    model = models.CharField(max_length=200, blank=True)
    finish_reason = models.CharField(max_length=200, blank=True)
    notice = models.TextField(blank=True, help_text="About the answer itself, such as that a call was cut off.")
    prompt_tokens = models.PositiveIntegerField(null=True)
    completion_tokens = models.PositiveIntegerField(null=True)
    first_token_ms = models.PositiveIntegerField(null=True)
    thinking_ms = models.PositiveIntegerField(null=True)
    total_ms = models.PositiveIntegerField(null=True)
    changed_seq = models.PositiveIntegerField(help_text="The newest event that changed it.")
    created_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("conversation", "position")
        constraints = (
            models.UniqueConstraint(fields=("conversation", "position"), name="one_message_a_position"),
            models.UniqueConstraint(fields=("conversation", "message_id"), name="one_message_an_id"),
        )

    def __str__(self) -> str:
        return f"{self.position} {self.role}"


class QueuedMessage(models.Model):
    """A message that waits to be sent, or was withdrawn before it was."""

    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="queued_messages")
    message_id = models.UUIDField()
    place = models.PositiveIntegerField(null=True, help_text="From 0; empty once it was withdrawn.")
    content = models.TextField()
    delivery = models.CharField(max_length=20)
    is_edited = models.BooleanField(help_text="A person has it open for editing.")
    attachments = models.JSONField(default=list, help_text="Files that go with it.")
    submitted_at = models.DateTimeField()

    class Meta:
        ordering = ("conversation", "place")
        constraints = (models.UniqueConstraint(fields=("conversation", "message_id"), name="one_queued_message_an_id"),)

    def __str__(self) -> str:
        return f"queued {self.message_id}"


class Run(models.Model):
    """The work on one message of a user."""

    id = models.UUIDField(primary_key=True, editable=False)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="runs")
    answering = models.UUIDField()
    generation_no = models.PositiveIntegerField(help_text="Newest order to the model in this run.")
    owner = models.UUIDField(null=True, help_text="The process that performs it; empty while a worker is looked for.")
    started_at = models.DateTimeField()
    ended_at = models.DateTimeField(null=True)
    outcome = models.CharField(max_length=20, blank=True, help_text="State of its last message.")

    class Meta:
        ordering = ("-started_at",)
        constraints = (
            models.UniqueConstraint(
                fields=("conversation",),
                condition=models.Q(ended_at=None),
                name="one_active_run_a_conversation",
            ),
        )
        indexes = (models.Index(fields=("owner",), condition=models.Q(ended_at=None), name="active_runs_by_owner"),)

    def __str__(self) -> str:
        return f"run {self.id}"


class ToolCall(models.Model):
    """A tool call that an answer made."""

    id = models.UUIDField(primary_key=True, editable=False)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="tool_calls")
    message_id = models.UUIDField(help_text="The answer that made it.")
    run_id = models.UUIDField()
    number = models.PositiveIntegerField(help_text="Its place in that answer, from 1.")
    provider_id = models.TextField(blank=True, help_text="The model's own id for it.")
    tool = models.CharField(max_length=200)
    proposed_arguments = models.TextField(help_text="As the model gave them, as JSON.")
    arguments = models.TextField(help_text="As they run, as JSON.")
    state = models.CharField(max_length=20)
    needs_staff = models.BooleanField(default=False, help_text="Only a member of staff can let it run.")
    is_settled = models.BooleanField()
    execution_no = models.PositiveIntegerField(help_text="How often it was ordered to run.")
    owner = models.UUIDField(null=True, help_text="The process that has the order; empty while there is none.")
    decided_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="decided_calls"
    )
    decision_scope = models.CharField(max_length=20, blank=True)
    decision_reason = models.TextField(blank=True)
    is_staff_decision = models.BooleanField(default=False, help_text="Decided as staff, not as the owner.")
    decided_at = models.DateTimeField(null=True)
    output = models.TextField(blank=True, help_text="What it printed; while it runs, what was saved a moment ago.")
    result = models.TextField(blank=True, help_text="What the model is told.")
    artifacts = models.JSONField(default=list, help_text="The files that it made.")
    changed_seq = models.PositiveIntegerField(help_text="The newest event that changed it.")
    proposed_at = models.DateTimeField()
    started_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("conversation", "proposed_at", "number")
        constraints = (models.UniqueConstraint(fields=("message_id", "number"), name="one_call_a_number"),)
        indexes = (
            models.Index(fields=("conversation", "message_id")),
            models.Index(fields=("-proposed_at", "-id"), name="calls_by_time"),
            models.Index(fields=("state", "-proposed_at", "-id"), name="calls_by_state"),
            models.Index(fields=("tool", "-proposed_at", "-id"), name="calls_by_tool"),
            models.Index(
                fields=("conversation",), condition=models.Q(needs_staff=True, is_settled=False), name="calls_for_staff"
            ),
            models.Index(
                fields=("-proposed_at", "-id"), condition=models.Q(is_staff_decision=True), name="calls_staff_decided"
            ),
            models.Index(
                fields=("owner",), condition=models.Q(state__in=("approved", "running")), name="active_calls_by_owner"
            ),
        )
        permissions = (("decide_toolcall", "Can decide tool calls that wait for a member of staff"),)

    def __str__(self) -> str:
        return f"{self.tool} {self.state}"


class Artifact(models.Model):
    """A file that belongs to a conversation."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    conversation = models.ForeignKey(Conversation, on_delete=models.CASCADE, related_name="artifacts")
    name = models.CharField(max_length=255)
    mime = models.CharField(max_length=100)
    size = models.PositiveBigIntegerField(help_text="Bytes.")
    file = models.FileField(upload_to="%Y/%m/")
    created_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name
