"""The tables. Only `chat.store` writes them; the admin reads them.

The log (`Event`) is the truth; the other rows of a conversation follow from it, and `check_replay` proves it.
"""

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
