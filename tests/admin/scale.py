"""How long the pages of staff take on a large site: `python -m tests.admin.scale [conversations] [events]`.

Fills a SQLite file under `var/` with small rows and one long conversation, once, and asks for each page as a browser
would. Prints a table. A page that takes longer than a second makes it end with 1.
"""

from __future__ import annotations

import os
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

from tests.server import ROOT

CONVERSATIONS, EVENTS = 100_000, 5_000_000
BATCH = 20_000
# In the long conversation, about six events each; as many as somebody says in months.
TURNS = 400
TRACES, REVIEWS = 200_000, 30_000
SLOW_S = 1.0
LONG = "A long conversation"
USERS = 1_000
MESSAGES_EACH, CALLS_EACH = 4, 2
# About what a snapshot and an answer take.
SNAPSHOT, TEXT = "s" * 700, "Words of an answer that somebody may look for. " * 12
PHASES = ("idle",) * 97 + ("awaiting_approval", "generating", "running_tools")
LISTS = {
    "conversations": "conversation/",
    "conversations, far on": "conversation/?p={page}",
    "conversations of a year": "conversation/?active_at__year=2025",
    "conversations of a day": "conversation/?active_at__year=2025&active_at__month=3&active_at__day=3",
    "conversations in a phase": "conversation/?phase=awaiting_approval",
    "conversations with pending calls for staff": "conversation/?pending=staff",
    "conversations with failed calls": "conversation/?failed=yes",
    "conversations that are flagged": "conversation/?review=flagged",
    "conversations that went on since": "conversation/?review=since",
    "conversations of staff": "conversation/?owner=staff",
    "conversations put away": "conversation/?away=yes",
    "search in titles and names, found": "conversation/?q=Number+99",
    "search in titles and names, nothing found": "conversation/?q=nowhere",
    "search in texts, found": "conversation/?q=somebody&in=texts",
    "search in texts, nothing found": "conversation/?q=nowhere&in=texts",
    "tool calls": "toolcall/",
    "tool calls that failed": "toolcall/?state=failed",
    "tool calls that wait for staff": "toolcall/?state=staff",
    "tool calls decided by staff": "toolcall/?decision=staff",
    "events": "event/",
    "events, far on": "event/?p={page}",
    "events of a name": "event/?name=tool_rejected",
    "traces": "accesstrace/",
    "traces of one who looked": "accesstrace/?q=boss",
    "traces of one kind": "accesstrace/?what=export",
    "reviews": "review/",
    "reviews that flagged": "review/?state=flagged",
    "agents": "agent/",
    "processes": "process/",
}
# Of the long one; named by what stands in braces.
PAGES = {
    "a conversation of thousands of events": "conversation/{conversation}/change/",
    "its older messages": "conversation/{conversation}/change/?before=200",
    "its first event": "conversation/{conversation}/at/?at=1",
    "the middle of its log": "conversation/{conversation}/at/?at={middle}",
    "its newest event": "conversation/{conversation}/at/",
    "its events": "event/?q={conversation}",
    "its tool calls": "toolcall/?q={conversation}",
    "its traces": "accesstrace/?q={conversation}",
    "one event": "event/{event}/change/",
    "one tool call": "toolcall/{call}/change/",
}


def fill(conversations: int, events: int) -> None:
    """Small rows, as many as are wanted."""
    from django.contrib.auth import get_user_model

    from chat import models

    users = get_user_model().objects
    users.bulk_create(
        get_user_model()(username=f"user-{number}", is_staff=number % 100 == 0) for number in range(USERS)
    )
    owners = list(users.values_list("pk", flat=True))
    newest = datetime(2026, 6, 1, tzinfo=UTC)
    # In the order of the indexes, which then grow at their ends: else filling them takes an hour.
    keys = sorted(uuid.uuid4() for _ in range(conversations))
    each = max(1, events // conversations)

    def rows() -> Iterator[models.Conversation]:
        for number, key in enumerate(keys):
            at = newest - timedelta(minutes=10 * number)
            yield models.Conversation(
                id=key,
                user_id=owners[number % len(owners)],
                title=f"Number {number}",
                phase=PHASES[number % 100],
                is_deleted=number % 1_000 == 0,
                seq=50,
                snapshot=SNAPSHOT,
                created_at=at,
                active_at=at,
                message_count=MESSAGES_EACH,
                call_count=CALLS_EACH,
                failed_call_count=number % 500 == 0,
                review_state="flagged" if number % 2_000 == 0 else "reviewed" if number % 3 == 0 else "",
                reviewed_seq=40 if number % 9 == 0 else 50,
            )

    def messages() -> Iterator[models.Message]:
        for key in keys:
            for position in range(1, MESSAGES_EACH + 1):
                yield models.Message(
                    conversation_id=key,
                    message_id=uuid.uuid4(),
                    position=position,
                    role="assistant",
                    state="complete",
                    content=TEXT,
                    changed_seq=position,
                    created_at=newest,
                )

    def calls() -> Iterator[models.ToolCall]:
        for number, key in enumerate(keys):
            for place in range(1, CALLS_EACH + 1):
                waits = PHASES[number % 100] == "awaiting_approval" and place == 1
                yield models.ToolCall(
                    id=uuid.uuid4(),
                    conversation_id=key,
                    message_id=uuid.uuid4(),
                    run_id=uuid.uuid4(),
                    number=place,
                    tool="execute_python",
                    proposed_arguments="{}",
                    arguments="{}",
                    state="proposed" if waits else "failed" if number % 500 == 0 else "succeeded",
                    needs_staff=waits and number % 1_000 < 100,
                    is_settled=not waits,
                    execution_no=1,
                    output=TEXT,
                    changed_seq=1,
                    proposed_at=newest - timedelta(minutes=10 * number),
                )

    everything: Sequence[tuple[Any, Iterator[Any]]] = (
        (models.Conversation, rows()),
        (models.Message, messages()),
        (models.ToolCall, calls()),
    )
    for table, made in everything:
        while batch := list(islice(made, BATCH)):
            table._default_manager.bulk_create(batch)
        print(f"{table.__name__}: {table._default_manager.count():,}", flush=True)  # noqa: T201
    fill_log(each)
    fill_traces(keys)
    fill_long()


def fill_traces(keys: Sequence[uuid.UUID]) -> None:
    """What staff looked at and said."""
    from chat import models

    at = datetime(2026, 6, 1, tzinfo=UTC)
    models.AccessTrace.objects.bulk_create(
        (
            models.AccessTrace(
                staff_name="boss" if number % 10 else "another",
                what="export" if number % 1_000 == 0 else "conversation",
                conversation_id=keys[number % len(keys)],
                at=at,
            )
            for number in range(TRACES)
        ),
        batch_size=BATCH,
    )
    models.Review.objects.bulk_create(
        (
            models.Review(
                conversation_id=keys[number * len(keys) // REVIEWS],
                state="flagged" if number % 600 == 0 else "reviewed",
                note="Nothing to say." * 10,
                seq=40,
                at=at,
            )
            for number in range(REVIEWS)
        ),
        batch_size=BATCH,
    )


def fill_long() -> None:
    """One conversation that is real, with everything that happens in one."""
    from django.db import transaction

    from chat import models
    from tests.admin.staff import busy
    from tests.store.kept import Kept, make_user

    with transaction.atomic():
        kept = Kept(make_user("ann"))
        for _ in busy(kept, TURNS):
            pass
        models.Conversation.objects.filter(pk=kept.conversation_id).update(title=LONG)
    print(f"The long one: {kept.row.seq:,} events", flush=True)  # noqa: T201


def fill_log(each: int) -> None:
    """So many events for each conversation: those of one, and copies of them that the database makes."""
    from django.db import connection

    from chat import models

    first = models.Conversation.objects.order_by("id")[0]
    models.Event.objects.bulk_create(
        models.Event(
            conversation=first,
            seq=number,
            name="tool_rejected" if number == each else "llm_response_started",
            version=1,
            payload="{}",
            at=first.active_at,
        )
        for number in range(1, each + 1)
    )
    columns = [field.column or "" for field in models.Event._meta.concrete_fields if not field.primary_key]
    copied = ", ".join("other.id" if column == "conversation_id" else f"line.{column}" for column in columns)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO chat_event ({', '.join(columns)}) SELECT {copied} FROM chat_conversation other"
            " CROSS JOIN chat_event line WHERE line.conversation_id = %s AND other.id <> %s",
            [first.id.hex, first.id.hex],
        )
    print(f"Event: {models.Event.objects.count():,}", flush=True)  # noqa: T201


def measure() -> bool:
    """Ask for each page three times, and print the median and the worst. Whether all were fast enough."""
    from django.contrib.auth import get_user_model
    from django.test import Client

    from chat import models
    from chat.admin.listing import PER_PAGE

    boss, _ = get_user_model().objects.get_or_create(username="boss", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(boss)
    client.get("/admin/")
    long = models.Conversation.objects.get(title=LONG)
    names = {
        "conversation": long.pk,
        "middle": long.seq // 2,
        # A file that is filled with less has fewer.
        "page": min(150, models.Conversation.objects.count() // PER_PAGE),
        "event": models.Event.objects.get(conversation=long, seq=long.seq // 2).pk,
        "call": models.ToolCall.objects.filter(conversation=long).values_list("pk", flat=True)[0],
    }
    is_fast = True
    for what, pattern in (LISTS | PAGES).items():
        place = pattern.format(**names)
        times = []
        for _ in range(3):
            began = time.perf_counter()
            answer = client.get(f"/admin/chat/{place}")
            times.append(time.perf_counter() - began)
            assert answer.status_code == 200, place
        listed = f", {answer.context['cl'].result_count:,} listed" if "cl" in answer.context else ""
        median = sorted(times)[1]
        is_fast = is_fast and median < SLOW_S
        print(f"{what:45} {median * 1000:7.0f} ms, worst {max(times) * 1000:6.0f} ms{listed}", flush=True)  # noqa: T201
    return is_fast


def main(arguments: Sequence[str]) -> int:
    """Fill the file when it is not there yet, and measure. 1 when a page is slow."""
    conversations = int(arguments[0]) if arguments else CONVERSATIONS
    events = int(arguments[1]) if len(arguments) > 1 else EVENTS
    place = ROOT / "var" / f"scale-{conversations}-{events}.sqlite3"
    is_new = not place.exists()
    os.environ["DATABASE_URL"] = f"sqlite:///{place}"
    os.environ["DJANGO_SETTINGS_MODULE"] = "agentsite.settings"
    import django

    django.setup()
    from django.conf import settings
    from django.core.management import call_command
    from django.db import connection
    from django.test.utils import setup_test_environment

    # The answers then tell what they were made of.
    setup_test_environment()
    settings.ALLOWED_HOSTS = ["testserver"]
    if is_new:
        call_command("migrate", verbosity=0)
        with connection.cursor() as cursor:
            cursor.execute("PRAGMA synchronous=OFF")
            cursor.execute("PRAGMA cache_size=-1000000")
            fill(conversations, events)
            cursor.execute("ANALYZE")
        connection.close()
    return 0 if measure() else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
