"""How long the lists of staff take on a large site: `python -m tests.admin.scale [conversations] [events]`.

Fills a SQLite file under `var/` with small rows, once, and asks for each list as a browser would. Prints a table.
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
USERS = 1_000
MESSAGES_EACH, CALLS_EACH = 4, 2
# About what a snapshot and an answer take.
SNAPSHOT, TEXT = "s" * 700, "Words of an answer that somebody may look for. " * 12
PHASES = ("idle",) * 97 + ("awaiting_approval", "generating", "running_tools")
LISTS = {
    "conversations": "conversation/",
    "conversations, page 150": "conversation/?p=150",
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
    "events, page 150": "event/?p=150",
    "events of a name": "event/?name=tool_rejected",
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


def measure() -> None:
    """Ask for each list three times, and print the median and the worst."""
    from django.contrib.auth import get_user_model
    from django.test import Client

    boss, _ = get_user_model().objects.get_or_create(username="boss", is_staff=True, is_superuser=True)
    client = Client()
    client.force_login(boss)
    client.get("/admin/")
    for what, place in LISTS.items():
        times = []
        for _ in range(3):
            began = time.perf_counter()
            answer = client.get(f"/admin/chat/{place}")
            times.append(time.perf_counter() - began)
            assert answer.status_code == 200, place
        found = answer.context["cl"].result_count
        print(  # noqa: T201
            f"{what:45} {sorted(times)[1] * 1000:7.0f} ms, worst {max(times) * 1000:6.0f} ms, {found:,} listed",
            flush=True,
        )


def main(arguments: Sequence[str]) -> None:
    """Fill the file when it is not there yet, and measure."""
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
    measure()


if __name__ == "__main__":
    main(sys.argv[1:])
