"""Each group sees and can do exactly its part; and nobody can change what is kept."""

from __future__ import annotations

import itertools

import pytest
from django.contrib.auth import get_user_model
from django.test import Client
from django.urls import reverse

from chat import models
from chat.core.events import ConversationDeleted
from tests.admin.staff import client_of, member, waiting_for_staff
from tests.core.talk import NOW_MS
from tests.store.kept import Kept

TABLES = ("conversation", "toolcall", "event", "review", "accesstrace", "process")
REVIEWER = {"conversation", "toolcall", "event", "review"}
ADMIN = {*REVIEWER, "accesstrace", "process"}
LISTED = {"reviewer": REVIEWER, "approver": REVIEWER, "admin": ADMIN}
ACTIONS = {
    "reviewer": {"mark_reviewed", "flag"},
    "approver": {"mark_reviewed", "flag"},
    "admin": {"mark_reviewed", "flag", "stop", "close", "export"},
}
CONVERSATIONS = "/admin/chat/conversation/"


@pytest.fixture
def kept() -> Kept:
    return waiting_for_staff()


def pages(kept: Kept) -> dict[str, str]:
    """Every page that shows something of a conversation, and the table that it is of."""
    event = models.Event.objects.get(conversation=kept.row, seq=2)
    return {
        f"{CONVERSATIONS}{kept.conversation_id}/change/": "conversation",
        f"{CONVERSATIONS}{kept.conversation_id}/at/?at=2": "event",
        f"/admin/chat/toolcall/{kept.call().call_id}/change/": "toolcall",
        f"/admin/chat/event/{event.pk}/change/": "event",
    }


@pytest.mark.parametrize("group", LISTED)
def test_a_group_sees_its_lists_and_no_other(groups: None, kept: Kept, group: str) -> None:
    client = client_of(member("mia", group=group))
    for table in TABLES:
        expected = 200 if table in LISTED[group] else 403
        assert client.get(f"/admin/chat/{table}/").status_code == expected, table
    for page in pages(kept):
        assert client.get(page).status_code == 200
    for path in ("/admin/auth/user/", "/admin/auth/group/"):
        assert client.get(path).status_code == 403


@pytest.mark.parametrize("group", ACTIONS)
def test_a_group_is_offered_its_actions_and_no_other(groups: None, kept: Kept, group: str) -> None:
    client = client_of(member("mia", group=group))
    response = client.get(CONVERSATIONS)
    offered = {name for name, _ in response.context["action_form"].fields["action"].choices if name}
    assert offered == ACTIONS[group]
    for action in ACTIONS["admin"] - ACTIONS[group]:
        chosen = {"action": action, "_selected_action": str(kept.conversation_id), "is_confirmed": "yes"}
        client.post(CONVERSATIONS, chosen)
    assert kept.row.review_state == ""
    assert not kept.row.is_deleted
    assert kept.row.phase == "awaiting_approval"
    assert not models.AccessTrace.objects.filter(what="export").exists()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("verb", "needs"),
    [("review", "reviewer"), ("stop", "admin"), ("close", "admin"), ("restore", "admin")],
)
def test_a_button_of_the_page_does_nothing_for_who_may_not_press_it(
    groups: None, kept: Kept, verb: str, needs: str
) -> None:
    if verb == "restore":
        kept.take(ConversationDeleted(at_ms=NOW_MS))
    order = ("", "reviewer", "approver", "admin")
    for group in order:
        client = client_of(member(f"of-{group or 'none'}", group=group))
        before = kept.row.seq, models.Review.objects.count()
        answer = client.post(
            f"{CONVERSATIONS}{kept.conversation_id}/{verb}/", {"state": "reviewed", "is_confirmed": "yes"}
        )
        if order.index(group) < order.index(needs):
            assert answer.status_code == 403
            assert (kept.row.seq, models.Review.objects.count()) == before
        else:
            assert answer.status_code == 302
            break
    assert (kept.row.seq, models.Review.objects.count()) != before


def test_staff_without_a_group_see_nothing(groups: None, kept: Kept) -> None:
    client = client_of(member("new"))
    assert "You don’t have permission to view or edit anything." in client.get("/admin/").content.decode()
    lists = [f"/admin/chat/{table}/" for table in TABLES]
    ways = [reverse("admin:chat_conversation_export", args=(kept.conversation_id, ending)) for ending in ("json", "md")]
    for path in (*lists, *pages(kept), *ways):
        assert client.get(path).status_code == 403, path
    decide = reverse("admin:chat_toolcall_decide", args=(kept.call().call_id,))
    assert client.post(decide, {"choice": "approve", "digest": kept.call().digest}).status_code == 403
    assert kept.row.phase == "awaiting_approval"


def test_who_is_no_staff_is_led_to_the_log_in_page(groups: None, kept: Kept) -> None:
    client = client_of(get_user_model().objects.get(username="ann"))
    for path in pages(kept):
        answer = client.get(path)
        assert answer.status_code == 302
        assert answer["Location"].startswith("/admin/login/")


def test_nobody_can_add_change_or_delete_what_is_kept_not_even_a_superuser(boss: Client, kept: Kept) -> None:
    models.Review.objects.create(conversation=kept.row, state="reviewed", seq=1, at=kept.row.created_at)
    models.Process.objects.create(
        id=kept.conversation_id,
        kind="web",
        host="here",
        pid=1,
        started_at=kept.row.created_at,
        beat_at=kept.row.created_at,
    )
    boss.get(f"{CONVERSATIONS}{kept.conversation_id}/change/")
    tables = {table: models.Conversation._meta.apps.get_model("chat", table) for table in TABLES}
    before = kept.rows(), list(models.Review.objects.values())
    for (table, model), verb in itertools.product(tables.items(), ("add", "change", "delete", "history")):
        key = model._default_manager.values_list("pk", flat=True).first()
        assert key is not None
        path = f"/admin/chat/{table}/add/" if verb == "add" else f"/admin/chat/{table}/{key}/{verb}/"
        fields = {"title": "x", "payload": "{}", "name": "x", "seq": 1, "note": "x", "post": "yes", "state": "x"}
        assert boss.post(path, fields).status_code == 403, path
    for table in TABLES:
        key = tables[table]._default_manager.values_list("pk", flat=True).first()
        chosen = {"action": "delete_selected", "_selected_action": str(key), "post": "yes"}
        boss.post(f"/admin/chat/{table}/", chosen)
        boss.post(f"/admin/chat/{table}/", {"_save": "1", "form-TOTAL_FORMS": 1, "form-0-id": str(key)})
    assert (kept.rows(), list(models.Review.objects.values())) == before


def test_a_user_who_has_a_conversation_can_not_be_deleted_in_the_admin(boss: Client, kept: Kept) -> None:
    answer = boss.post(f"/admin/auth/user/{kept.user_id}/delete/", {"post": "yes"})
    assert answer.status_code == 403
    assert get_user_model().objects.filter(pk=kept.user_id).exists()


def test_a_conversation_that_is_not_there_is_not_found(boss: Client, kept: Kept) -> None:
    nowhere = "00000000-0000-4000-8000-000000000000"
    for path in (f"{nowhere}/change/", "x/change/", f"{nowhere}/at/", f"{nowhere}/export.json"):
        assert boss.get(f"{CONVERSATIONS}{path}").status_code == 404, path
    assert boss.get(f"{CONVERSATIONS}{kept.conversation_id}/export.exe").status_code == 404
    assert boss.get("/admin/chat/event/x/change/").status_code == 404
    assert boss.get(f"/admin/chat/toolcall/{nowhere}/change/").status_code == 404


def test_a_number_that_no_row_has_is_not_found_however_long_it_is(boss: Client, kept: Kept) -> None:
    for number in ("0", "9" * 19, "9" * 5_000):
        assert boss.get(f"/admin/chat/event/{number}/change/").status_code == 404
        place = f"/admin/chat/conversation/{kept.conversation_id}/change/"
        assert boss.get(place, {"before": number}).status_code == 200
