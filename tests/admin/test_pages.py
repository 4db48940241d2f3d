"""The pages of one conversation and of one call: what they tell, and that what they cost does not grow."""

from __future__ import annotations

import io
import json
import re
import zipfile
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.core.files.base import ContentFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext, override_settings
from pytest_django import DjangoAssertNumQueries

from chat import models
from chat.core.events import ConversationDeleted
from chat.store import files
from tests.admin.staff import busy, client_of, member, waiting_for_staff
from tests.core import talk
from tests.core.talk import NOW_MS
from tests.store.kept import Kept, make_user
from tests.web.owner import content_of

CONVERSATIONS = "/admin/chat/conversation/"
# Session, person and what they may; the conversation, its messages, calls, runs and reviews; the trace.
PAGE_QUERIES = 14
PAST_QUERIES = 9
CALL_QUERIES = 7
POSITION = re.compile(r"data-position=\"(\d+)\"")


@pytest.fixture
def kept() -> Kept:
    kept = Kept(make_user())
    for _ in busy(kept, 5):
        pass
    return kept


def page_of(kept: Kept) -> str:
    return f"{CONVERSATIONS}{kept.conversation_id}/change/"


def test_the_page_of_a_conversation_costs_the_same_however_long_it_is(
    boss: Client, kept: Kept, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    for _ in range(2):
        models.AccessTrace.objects.all().delete()
        with django_assert_num_queries(PAGE_QUERIES):
            assert boss.get(page_of(kept)).status_code == 200
        models.AccessTrace.objects.all().delete()
        with django_assert_num_queries(PAST_QUERIES):
            assert boss.get(f"{CONVERSATIONS}{kept.conversation_id}/at/", {"at": 5}).status_code == 200
        for _ in busy(kept, 10):
            pass


def test_the_page_tells_who_said_decided_and_ran_what(reviewer: Client, kept: Kept) -> None:
    page = reviewer.get(page_of(kept)).content.decode()
    for words in ("turn 0", "Answer 0", "Approved by its owner", "Rejected by its owner", "2 failed", "It broke."):
        assert words in page.replace("1 failed", "2 failed"), words
    [context] = [
        call for call in reviewer.get(page_of(kept)).context["calls"] if call["decision"] == "Approved by its owner"
    ]
    assert (context["tool"], context["by"], context["waited"], context["took"]) == ("act", "ann", "0.0 s", "0.0 s")


def test_older_messages_are_a_link_away(reviewer: Client, kept: Kept) -> None:
    for _ in busy(kept, 30):
        pass
    first = reviewer.get(page_of(kept))
    shown = POSITION.findall(first.content.decode())
    assert len(shown) == 50
    assert int(shown[0]) == first.context["older"]
    older = reviewer.get(page_of(kept), {"before": first.context["older"]})
    assert int(POSITION.findall(older.content.decode())[-1]) == first.context["older"] - 1
    assert older.context["older"] is None


def test_a_conversation_that_was_put_away_is_still_there_for_staff(reviewer: Client, kept: Kept) -> None:
    kept.take(ConversationDeleted(at_ms=NOW_MS))
    answer = reviewer.get(page_of(kept))
    assert answer.status_code == 200
    assert "put away" in answer.content.decode()
    assert "turn 0" in reviewer.get(page_of(kept)).content.decode()


def test_the_buttons_of_the_users_page_are_shown_and_do_nothing(reviewer: Client, kept: Kept) -> None:
    kept.send("a")
    kept.take(talk.completed(kept.run, calls=(talk.proposal(),)))
    page = reviewer.get(page_of(kept)).content.decode()
    inside = page.split("<fieldset disabled")[1].split("</fieldset>")[0]
    assert 'data-action="approve"' in inside
    assert page.count('data-action="approve"') == inside.count('data-action="approve"')


# Calls


def test_a_call_is_shown_as_it_was_proposed_and_as_it_ran_with_the_difference(reviewer: Client, kept: Kept) -> None:
    edited = models.ToolCall.objects.get(tool="act")
    path = f"/admin/chat/toolcall/{edited.pk}/change/"
    answer = reviewer.get(path)
    page = answer.content.decode()
    assert "<ins>+ 2</ins>" in page
    assert "<del>- 1</del>" in page
    assert [one["value"] for one in answer.context["proposed"]["arguments"]] == ["1"]
    assert [one["value"] for one in answer.context["call"]["arguments"]] == ["2"]
    for words in ("Approved by its owner: ann", "printed", "done"):
        assert words in page, words
    rejected = models.ToolCall.objects.get(state="rejected")
    assert "not today" in reviewer.get(f"/admin/chat/toolcall/{rejected.pk}/change/").content.decode()


def test_the_page_of_a_call_asks_a_fixed_number_of_times(
    boss: Client, kept: Kept, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    call = models.ToolCall.objects.get(tool="act")
    with django_assert_num_queries(CALL_QUERIES):
        assert boss.get(f"/admin/chat/toolcall/{call.pk}/change/").status_code == 200


def test_an_event_is_shown_as_it_is_stored(reviewer: Client, kept: Kept) -> None:
    event = models.Event.objects.get(conversation=kept.row, name="tool_rejected")
    page = reviewer.get(f"/admin/chat/event/{event.pk}/change/").content.decode()
    assert "not today" in page
    assert f"?at={event.seq}" in page


# Reviews


def test_a_review_is_kept_with_who_and_when_and_the_newest_is_the_state(reviewer: Client, kept: Kept) -> None:
    path = f"{CONVERSATIONS}{kept.conversation_id}/review/"
    reviewer.post(path, {"state": "flagged", "note": "  Look at <b>this</b>.\0 "})
    assert (kept.row.review_state, kept.row.reviewed_seq) == ("flagged", kept.row.seq)
    kept.send("a")
    reviewer.post(path, {"state": "reviewed"})
    rows = models.Review.objects.filter(conversation=kept.row).values_list("state", "note", "by__username", "seq")
    assert list(rows) == [
        ("reviewed", "", "rita", kept.row.seq),
        ("flagged", "Look at <b>this</b>.", "rita", kept.row.seq - 1),
    ]
    assert kept.row.review_state == "reviewed"
    page = reviewer.get(page_of(kept)).content.decode()
    assert "Look at &lt;b&gt;this&lt;/b&gt;." in page
    kept.complete()
    assert "1 event since the newest review." in reviewer.get(page_of(kept)).content.decode()
    assert reviewer.post(path, {"state": "perfect"}).status_code == 403
    assert models.Review.objects.count() == 2


def test_actions_mark_and_flag_many_at_once_and_a_flag_asks_for_a_note_first(reviewer: Client, kept: Kept) -> None:
    other = Kept(kept.user_id)
    chosen = {"_selected_action": [str(kept.conversation_id), str(other.conversation_id)]}
    reviewer.post(CONVERSATIONS, {"action": "mark_reviewed", **chosen})
    assert {kept.row.review_state, other.row.review_state} == {"reviewed"}
    asked = reviewer.post(CONVERSATIONS, {"action": "flag", **chosen})
    assert "Flag these conversations?" in asked.content.decode()
    assert kept.row.review_state == "reviewed"
    reviewer.post(CONVERSATIONS, {"action": "flag", "is_confirmed": "yes", "note": "Both.", **chosen})
    assert {kept.row.review_state, other.row.review_state} == {"flagged"}
    assert set(models.Review.objects.filter(state="flagged").values_list("note", flat=True)) == {"Both."}


def test_an_action_on_what_is_no_id_changes_nothing_and_finds_nothing(reviewer: Client, kept: Kept) -> None:
    chosen = {"action": "mark_reviewed", "_selected_action": [str(kept.conversation_id), "' OR 1=1"]}
    assert reviewer.post(CONVERSATIONS, chosen).status_code == 404
    assert kept.row.review_state == ""


# Exports


def test_an_export_is_the_very_file_that_its_owner_gets_and_leaves_a_trace(chief: Client, kept: Kept) -> None:
    owner = client_of(get_user_model().objects.get(pk=kept.user_id))
    for ending in ("json", "md"):
        answer = chief.get(f"{CONVERSATIONS}{kept.conversation_id}/export.{ending}")
        assert answer.content == owner.get(f"/c/{kept.conversation_id}/export.{ending}").content
        assert answer["Content-Disposition"].startswith("attachment;")
    traces = models.AccessTrace.objects.filter(what="export").order_by("id")
    assert list(traces.values_list("subject", "staff_name", "conversation_id", "address")) == [
        ("json", "carl", kept.conversation_id, "127.0.0.1"),
        ("md", "carl", kept.conversation_id, "127.0.0.1"),
    ]


def test_several_are_exported_in_one_archive(chief: Client, kept: Kept) -> None:
    other = Kept(kept.user_id)
    keys = [str(kept.conversation_id), str(other.conversation_id)]
    answer = chief.post(CONVERSATIONS, {"action": "export", "_selected_action": keys})
    with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
        assert sorted(packed.namelist()) == sorted(f"{key}.{ending}" for key in keys for ending in ("json", "md"))
        assert json.loads(packed.read(f"{keys[0]}.json"))["title"] == "turn 0"
    assert models.AccessTrace.objects.filter(what="export", subject="archive").count() == 2


# Traces


def test_each_look_at_something_of_somebody_else_leaves_one_trace_a_minute(reviewer: Client, kept: Kept) -> None:
    call = models.ToolCall.objects.get(tool="act")
    event = models.Event.objects.get(conversation=kept.row, seq=4)
    for _ in range(3):
        reviewer.get(page_of(kept))
        reviewer.get(f"/admin/chat/toolcall/{call.pk}/change/")
        reviewer.get(f"/admin/chat/event/{event.pk}/change/")
        for seq in (3, 4):
            reviewer.get(f"{CONVERSATIONS}{kept.conversation_id}/at/", {"at": seq})
    traces = models.AccessTrace.objects.order_by("id").values_list("what", "subject", "seq", "staff__username")
    assert list(traces) == [
        ("conversation", "", None, "rita"),
        ("tool call", str(call.pk), None, "rita"),
        ("event", "", 4, "rita"),
        ("time travel", "", 3, "rita"),
        ("time travel", "", 4, "rita"),
    ]
    models.AccessTrace.objects.update(at=kept.row.created_at)
    reviewer.get(page_of(kept))
    assert models.AccessTrace.objects.filter(what="conversation").count() == 2


def test_what_is_ones_own_leaves_none(groups: None) -> None:
    user = member("rita", group="reviewer")
    own = Kept(user.pk)
    client_of(user).get(page_of(own))
    assert not models.AccessTrace.objects.exists()


def test_a_trace_stays_when_who_left_it_and_what_it_names_are_gone(reviewer: Client, kept: Kept) -> None:
    reviewer.get(page_of(kept))
    get_user_model().objects.all().delete()
    assert models.AccessTrace.objects.values_list("staff_name", "conversation_id").get() == (
        "rita",
        kept.conversation_id,
    )


def test_the_queries_of_a_page_hold_no_text_that_it_does_not_show(boss: Client, kept: Kept) -> None:
    with CaptureQueriesContext(connection) as queries:
        boss.get(page_of(kept))
    calls = [one["sql"] for one in queries.captured_queries if "decided_by" in one["sql"] and "LIMIT 50" in one["sql"]]
    assert calls
    assert not any('"output"' in sql or '"arguments"' in sql for sql in calls)


def test_a_waiting_call_is_on_the_page_of_its_conversation(approver: Client) -> None:
    kept = waiting_for_staff("bob")
    page = approver.get(page_of(kept)).content.decode()
    assert "Waits for staff" in page
    assert "Waits for a member of staff" in page


def test_a_file_is_there_for_its_owner_and_for_staff_whose_look_leaves_a_trace(
    reviewer: Client, kept: Kept, tmp_path: Path
) -> None:
    with override_settings(MEDIA_ROOT=tmp_path):
        content = ContentFile(b"a chart")
        made = files.keep(kept.conversation_id, name="plot.png", mime="image/png", content=content)
        path = f"/artifacts/{made.artifact_id}/"
        owned = client_of(get_user_model().objects.get(pk=kept.user_id)).get(path)
        assert content_of(owned) == b"a chart"
        assert "immutable" in owned["Cache-Control"]
        assert not models.AccessTrace.objects.exists()
        seen = reviewer.get(path)
        assert content_of(seen) == b"a chart"
        assert seen["Cache-Control"] == "private, no-store"
    assert models.AccessTrace.objects.values_list("what", "subject", "staff_name").get() == (
        "file",
        str(made.artifact_id),
        "rita",
    )
