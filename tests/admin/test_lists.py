"""The lists: what they show, find and count, and that what they cost does not grow with what they show."""

from __future__ import annotations

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from chat import models
from chat.admin import listing, search
from chat.store.rows import when
from tests.admin.staff import busy, waiting_for_staff
from tests.core.talk import NOW_MS
from tests.store.kept import Kept, make_user

CONVERSATIONS = "/admin/chat/conversation/"
# How often each asks the database: session and person, count and rows, dates, actions.
LISTS = {"conversation": 8, "process": 4, "toolcall": 7, "event": 4, "review": 4, "accesstrace": 4}
TEXTS = ("snapshot", "payload", "content", "reasoning", "output", "arguments", "artifacts")


@pytest.fixture
def kept() -> Kept:
    """A conversation with ten turns, of ann."""
    kept = Kept(make_user())
    for _ in busy(kept, 10):
        pass
    return kept


def shown(client: Client, path: str = CONVERSATIONS, **query: Any) -> list[Any]:
    """The rows of a list."""
    return list(client.get(path, query).context["cl"].result_list)


def copies(kept: Kept, count: int, **columns: Any) -> list[models.Conversation]:
    """More conversations, each a minute older than the one before."""
    row = kept.row
    return models.Conversation.objects.bulk_create(
        models.Conversation(
            user_id=columns.get("user_id", row.user_id),
            title=columns.get("title", f"Number {number}"),
            phase=columns.get("phase", "idle"),
            seq=1,
            snapshot="{}",
            created_at=row.created_at,
            active_at=row.active_at - timedelta(minutes=number + 1),
            failed_call_count=columns.get("failed_call_count", 0),
            review_state=columns.get("review_state", ""),
            reviewed_seq=columns.get("reviewed_seq"),
            is_deleted=columns.get("is_deleted", False),
        )
        for number in range(count)
    )


def test_a_line_counts_messages_calls_failures_and_tokens(boss: Client, kept: Kept) -> None:
    [row] = shown(boss)
    answers = models.Message.objects.filter(conversation=kept.row, role="assistant", prompt_tokens__isnull=False)
    assert row.message_count == models.Message.objects.filter(conversation=kept.row).count() == 28
    assert (row.call_count, row.failed_call_count) == (6, 2)
    assert (row.prompt_tokens, row.completion_tokens) == (7 * answers.count(), 3 * answers.count())


@pytest.mark.parametrize("table", LISTS)
def test_a_list_asks_as_often_for_one_row_as_for_many_and_never_loads_a_text(
    boss: Client, kept: Kept, table: str
) -> None:
    boss.get(f"{CONVERSATIONS}{kept.conversation_id}/change/")
    boss.post(f"{CONVERSATIONS}{kept.conversation_id}/review/", {"state": "flagged", "note": "Look here."})
    path = f"/admin/chat/{table}/"
    boss.get(path)
    counts = []
    for _ in range(2):
        with CaptureQueriesContext(connection) as queries:
            assert boss.get(path).status_code == 200
        counts.append(len(queries))
        for query in queries.captured_queries:
            columns = query["sql"].partition(" FROM ")[0]
            assert not [name for name in TEXTS if f'"{name}"' in columns], query["sql"]
        more = Kept(make_user(f"user {uuid.uuid4()}"))
        for _ in busy(more, 5):
            pass
        boss.get(f"{CONVERSATIONS}{more.conversation_id}/change/")
        boss.post(f"{CONVERSATIONS}{more.conversation_id}/review/", {"state": "flagged"})
    assert counts == [LISTS[table]] * 2


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({"review": "none"}, {"plain", "away", "failed", "waits", "staff's"}),
        ({"review": "flagged"}, {"flagged"}),
        ({"review": "reviewed"}, {"reviewed"}),
        ({"review": "since"}, {"reviewed"}),
        ({"phase": "generating"}, {"waits"}),
        ({"failed": "yes"}, {"failed"}),
        ({"away": "yes"}, {"away"}),
        ({"owner": "staff"}, {"staff's"}),
        ({"pending": "any"}, set()),
        ({"pending": "staff"}, set()),
    ],
)
def test_a_filter_leaves_what_it_says(boss: Client, kept: Kept, query: dict[str, str], found: set[str]) -> None:
    chief = get_user_model().objects.get(username="boss").pk
    copies(kept, 1, title="plain")
    copies(kept, 1, title="flagged", review_state="flagged", reviewed_seq=1)
    copies(kept, 1, title="reviewed", review_state="reviewed", reviewed_seq=0)
    copies(kept, 1, title="failed", failed_call_count=1)
    copies(kept, 1, title="waits", phase="generating")
    copies(kept, 1, title="away", is_deleted=True)
    copies(kept, 1, title="staff's", user_id=chief)
    kept.row.delete()
    assert {row.title for row in shown(boss, **query)} == found


def test_what_waits_for_staff_is_found_among_what_waits(boss: Client, groups: None) -> None:
    waiting = waiting_for_staff()
    assert [row.pk for row in shown(boss, pending="staff")] == [waiting.conversation_id]
    assert [row.pk for row in shown(boss, pending="any")] == [waiting.conversation_id]
    assert len(shown(boss, "/admin/chat/toolcall/", state="staff")) == 1
    assert shown(boss, "/admin/chat/toolcall/", state="rejected") == []


@pytest.mark.parametrize("parameters", [{"state": "failed"}, {"tool": "execute_python"}, {"decision": "owner"}])
def test_calls_are_filtered(boss: Client, kept: Kept, parameters: dict[str, str]) -> None:
    rows = shown(boss, "/admin/chat/toolcall/", **parameters)
    expected = {"failed": 2, "execute_python": 0, "owner": 4}
    assert len(rows) == expected[next(iter(parameters.values()))]


TRACEBACK = f"""\
first line
{"-" * 75}
ZeroDivisionError                         Traceback (most recent call last)
Cell In[1], line 1
----> 1 1 / 0

ZeroDivisionError: division by zero"""


@pytest.mark.parametrize(
    ("result", "error"),
    [
        (TRACEBACK, "ZeroDivisionError: division by zero"),
        (f"{'x' * 9_000}\n{TRACEBACK}\nShown to the user: image-1.png", "ZeroDivisionError: division by zero"),
        ("ls: no such file\nExit code 2.", "ls: no such file"),
        ("Exit code 1.", "Exit code 1."),
        ("", "–"),
    ],
)
def test_a_call_that_failed_says_why_by_the_last_line_of_its_error(
    boss: Client, kept: Kept, result: str, error: str
) -> None:
    models.ToolCall.objects.filter(state="failed").update(result=result)
    page = boss.get("/admin/chat/toolcall/", {"state": "failed"}).content.decode()
    assert page.count(f'<td class="field-error">{error}</td>') == 2


def test_events_are_filtered_by_name_and_conversation(boss: Client, kept: Kept) -> None:
    other = Kept(kept.user_id)
    assert {row.name for row in shown(boss, "/admin/chat/event/", name="tool_approved")} == {"tool_approved"}
    assert len(shown(boss, "/admin/chat/event/", name="conversation_started")) == 2
    assert [row.conversation_id for row in shown(boss, "/admin/chat/event/", q=str(other.conversation_id))] == [
        other.conversation_id
    ]
    assert shown(boss, "/admin/chat/event/", q="nothing") == []


# Search


def test_the_search_looks_into_titles_names_and_ids_and_says_so(boss: Client, kept: Kept) -> None:
    copies(kept, 3)
    for text in ("turn 0", "TURN", str(kept.conversation_id), str(kept.call().call_id)):
        assert [row.pk for row in shown(boss, q=text)] == [kept.conversation_id], text
    assert len(shown(boss, q="ann")) == 4
    assert shown(boss, q="some text") == []
    assert shown(boss, q=str(uuid.uuid4())) == []
    page = boss.get(CONVERSATIONS, {"q": "ann"}).content.decode()
    assert "Searched: all titles and user names of this selection." in page


def test_the_search_in_texts_looks_into_the_newest_and_says_how_far(
    boss: Client, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [row.pk for row in shown(boss, q="SOME **text**", **{"in": "texts"})] == [kept.conversation_id]
    page = boss.get(CONVERSATIONS, {"q": "list:", "in": "texts"}).content.decode()
    assert "Searched: the texts of all messages of this selection." in page
    monkeypatch.setattr(search, "TEXTS_MAX_CONVERSATIONS", 3)
    models.Conversation.objects.update(active_at=when(NOW_MS) - timedelta(days=1))
    newer = copies(kept, 3)
    models.Conversation.objects.filter(pk__in=[row.pk for row in newer]).update(active_at=when(NOW_MS))
    answer = boss.get(CONVERSATIONS, {"q": "list:", "in": "texts"})
    assert list(answer.context["cl"].result_list) == []
    assert "Searched: the texts of the 3 newest conversations of this selection, back to 2023-11-14 22:13 UTC." in (
        answer.content.decode()
    )
    # A selection reaches further back.
    narrow = {"q": "list:", "in": "texts", "failed": "yes"}
    assert [row.pk for row in shown(boss, **narrow)] == [kept.conversation_id]


def test_a_search_for_what_is_found_too_often_says_so(
    boss: Client, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "FOUND_MAX", 2)
    copies(kept, 3)
    answer = boss.get(CONVERSATIONS, {"q": "Number"})
    assert [row.title for row in answer.context["cl"].result_list] == ["Number 0", "Number 1"]
    assert "There is more than is shown" in answer.content.decode()


# Bounds


def test_a_list_counts_no_further_than_it_lists_and_says_so(
    boss: Client, kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "LISTED_MAX", 60)
    copies(kept, 80)
    answer = boss.get(CONVERSATIONS)
    assert answer.context["cl"].result_count == 60
    assert "the first 60 are counted and listed" in answer.content.decode()
    assert len(shown(boss, p="2")) == 10
    assert "are counted and listed" not in boss.get(CONVERSATIONS, {"q": "Number 7"}).content.decode()


def test_dates_lead_to_years_months_and_days_that_have_something(boss: Client, kept: Kept) -> None:
    for days in (0, 1, 40, 400):
        [row] = copies(kept, 1)
        models.Conversation.objects.filter(pk=row.pk).update(active_at=when(NOW_MS) - timedelta(days=days))

    def titles(**query: Any) -> list[str]:
        page = boss.get(CONVERSATIONS, query).content.decode()
        part = page.split('class="toplinks"')[1].split("</ul>")[0] if 'class="toplinks"' in page else page
        return [piece.split("</a>")[0].strip() for piece in part.split('">')[1:] if "</a>" in piece]

    assert "2022" in titles()
    assert "2023" in titles()
    months = titles(active_at__year=2023)
    assert "October 2023" in months
    assert "November 2023" in months
    assert "September 2023" not in months
    dates = titles(active_at__year=2023, active_at__month=11)
    assert "November 14" in dates
    assert "November 13" in dates
    assert "November 12" not in dates
    assert len(shown(boss, active_at__year=2023, active_at__month=11, active_at__day=13)) == 1


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"q": "some title"},
        {"phase": "awaiting_approval"},
        {"review": "flagged"},
        {"failed": "yes"},
        {"active_at__year": "2023"},
    ],
)
def test_the_list_reads_an_index_and_never_the_whole_table(boss: Client, kept: Kept, query: dict[str, str]) -> None:
    if connection.vendor != "sqlite":
        pytest.skip("the plan is worded as SQLite does")
    copies(kept, 200)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    with CaptureQueriesContext(connection) as queries:
        shown(boss, **query)
    for asked in queries.captured_queries:
        if 'FROM "chat_conversation"' not in asked["sql"]:
            continue
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {asked['sql']}")
            plan = [line[3] for line in cursor.fetchall()]
        assert not [line for line in plan if line == "SCAN chat_conversation"], (asked["sql"], plan)
        assert not [line for line in plan if "USE TEMP B-TREE FOR ORDER BY" in line], (asked["sql"], plan)
