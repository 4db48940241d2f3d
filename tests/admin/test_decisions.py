"""The two-person rule from the admin's side, and that what staff do is in the log as theirs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.test import AsyncClient, Client

from chat import models, wiring
from chat.core.state import Refusal, Refused
from chat.render import state_parts
from chat.store import replay
from tests.admin.staff import client_of, make_groups, member, waiting_for_staff
from tests.core import talk
from tests.store.kept import Kept

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def kept() -> Kept:
    make_groups()
    return waiting_for_staff()


async def press(user: User, kept: Kept, **fields: Any) -> int:
    """Send the form of a call's page; the answer's status. What runs by that is left alone."""
    client = AsyncClient()
    await client.aforce_login(user)
    call = await sync_to_async(kept.call)()
    await wiring.running()
    try:
        answer = await client.post(f"/admin/chat/toolcall/{call.call_id}/decide/", {"digest": call.digest, **fields})
    finally:
        await wiring.stop()
    return int(answer.status_code)


def newest(kept: Kept) -> models.Event:
    events = models.Event.objects.filter(conversation=kept.row)
    return events.filter(name__in=("tool_approved", "tool_rejected")).latest("seq")


async def test_an_approver_who_is_not_the_owner_lets_it_run(kept: Kept) -> None:
    approver = await sync_to_async(member)("abe", group="approver")
    assert await press(approver, kept, choice="approve") == 302
    event = await sync_to_async(newest)(kept)
    assert (event.name, event.actor_id) == ("tool_approved", approver.pk)
    assert '"is_staff_decision":true' in event.payload
    row = await models.ToolCall.objects.aget()
    assert (row.decided_by_id, row.is_staff_decision, row.execution_no) == (approver.pk, True, 1)
    count, wrong = await sync_to_async(replay.check)(kept.conversation_id)
    assert (count > 3, wrong) == (True, [])


async def test_a_rejection_tells_the_model_why(kept: Kept) -> None:
    approver = await sync_to_async(member)("abe", group="approver")
    assert await press(approver, kept, choice="reject", reason=" Too broad. ") == 302
    row = await models.ToolCall.objects.aget()
    assert (row.state, row.decision_reason) == ("rejected", "Too broad.")
    assert row.result == "A member of staff rejected this call. Their reason: Too broad."


async def test_nobody_decides_what_they_did_not_see(kept: Kept) -> None:
    approver = await sync_to_async(member)("abe", group="approver")
    assert await press(approver, kept, choice="approve", digest="0" * 64) == 302
    assert (await models.ToolCall.objects.aget()).state == "proposed"


@pytest.mark.parametrize("choice", ["", "approve_all", "run"])
async def test_a_choice_that_is_none_is_refused(kept: Kept, choice: str) -> None:
    approver = await sync_to_async(member)("abe", group="approver")
    assert await press(approver, kept, choice=choice) == 403


async def test_a_reviewer_looks_and_does_not_decide(kept: Kept) -> None:
    reviewer = await sync_to_async(member)("rita", group="reviewer")
    assert await press(reviewer, kept, choice="approve") == 403
    assert (await models.ToolCall.objects.aget()).state == "proposed"


async def test_the_owner_never_decides_whatever_they_are_allowed_to(kept: Kept) -> None:
    owner = await User.objects.aget(pk=kept.user_id)
    owner.is_staff = owner.is_superuser = True
    await owner.asave()
    assert await press(owner, kept, choice="approve") == 403
    # Nor past the page: the store holds the rule once more.
    call = await sync_to_async(kept.call)()
    event = replace(talk.approved(call), user_id=owner.pk, is_staff_decision=True)
    refused = await sync_to_async(kept.commit)(event, actor_id=owner.pk)
    assert isinstance(refused, Refused)
    assert refused.code is Refusal.NEEDS_STAFF
    assert (await models.ToolCall.objects.aget()).state == "proposed"


async def test_what_is_for_its_owner_is_not_for_staff(kept: Kept) -> None:
    approver = await sync_to_async(member)("abe", group="approver")
    await models.ToolCall.objects.aupdate(needs_staff=False)
    assert await press(approver, kept, choice="approve") == 403


def test_the_page_says_who_must_decide_and_why_one_can_not(kept: Kept) -> None:
    path = f"/admin/chat/toolcall/{kept.call().call_id}/change/"
    pages = {
        "Your decision</h2>": member("abe", group="approver"),
        "You may look at it, and not decide": member("rita", group="reviewer"),
    }
    for words, user in pages.items():
        page = client_of(user).get(path).content.decode()
        assert words in page
        assert ('value="approve"' in page) is (user.username == "abe")
    owner = User.objects.get(pk=kept.user_id)
    owner.is_staff = owner.is_superuser = True
    owner.save()
    page = client_of(owner).get(path).content.decode()
    assert "This conversation is yours: another member of staff must decide." in page
    assert 'value="approve"' not in page


def test_the_owners_page_shows_the_code_and_no_way_to_approve_it(kept: Kept) -> None:
    client = client_of(User.objects.get(pk=kept.user_id))
    page = client.get(f"/c/{kept.conversation_id}/").content.decode()
    assert "Waits for a member of staff" in page
    assert "print(1)" in page
    assert 'data-action="reject"' in page
    for action in ("approve", "approve-changes", "approve-always"):
        assert f'data-action="{action}"' not in page
    assert state_parts.status_context(kept.state)["words"] == "Waits for a member of staff: AI wants to use guarded"


# Stop and close


def test_stop_and_close_are_in_the_log_as_those_of_staff(kept: Kept) -> None:
    user = member("carl", group="admin")
    chief: Client = client_of(user)
    place = f"/admin/chat/conversation/{kept.conversation_id}"
    chief.post(f"{place}/stop/")
    assert kept.row.phase == "idle"
    assert "Nothing is running." in chief.post(f"{place}/stop/", follow=True).content.decode()
    chief.post(f"{place}/close/", {"is_confirmed": "yes"})
    assert kept.row.is_deleted
    events = models.Event.objects.filter(conversation=kept.row, actor_id=user.pk).order_by("seq")
    assert list(events.values_list("name", flat=True)) == ["stop_requested", "conversation_deleted"]
    assert replay.check(kept.conversation_id)[1] == []


def test_one_is_put_away_after_a_question_and_can_be_brought_back_as_the_log_tells(kept: Kept) -> None:
    user = member("carl", group="admin")
    chief = client_of(user)
    place = f"/admin/chat/conversation/{kept.conversation_id}"
    asked = chief.post(f"{place}/close/").content.decode()
    assert "Put this conversation away?" in asked
    assert f'href="{place}/change/"' in asked
    assert not kept.row.is_deleted
    away = chief.post(f"{place}/close/", {"is_confirmed": "yes"}, follow=True).content.decode()
    assert kept.row.is_deleted
    assert f'action="{place}/restore/"' in away
    assert f'action="{place}/close/"' not in away
    back = chief.post(f"{place}/restore/", follow=True).content.decode()
    assert not kept.row.is_deleted
    assert f'action="{place}/close/"' in back
    assert "This conversation is not deleted." in chief.post(f"{place}/restore/", follow=True).content.decode()
    events = models.Event.objects.filter(conversation=kept.row, actor_id=user.pk).order_by("seq")
    assert list(events.values_list("name", flat=True)) == ["conversation_deleted", "conversation_restored"]
    assert replay.check(kept.conversation_id)[1] == []


def test_stop_and_close_as_actions_ask_first_and_tell_what_did_not_happen(kept: Kept) -> None:
    chief = client_of(member("carl", group="admin"))
    idle = Kept(kept.user_id)
    chosen = {"_selected_action": [str(kept.conversation_id), str(idle.conversation_id)]}
    asked = chief.post("/admin/chat/conversation/", {"action": "stop", **chosen}).content.decode()
    assert "Stop what runs in these conversations?" in asked
    assert kept.row.phase == "awaiting_approval"
    told = chief.post(
        "/admin/chat/conversation/", {"action": "stop", "is_confirmed": "yes", **chosen}, follow=True
    ).content.decode()
    assert "1 stopped." in told
    assert "1 not stopped: Nothing is running." in told
    chief.post("/admin/chat/conversation/", {"action": "close", "is_confirmed": "yes", **chosen})
    assert kept.row.is_deleted
    assert idle.row.is_deleted
