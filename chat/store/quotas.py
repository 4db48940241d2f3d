"""How much one person, or one address, may do within a time.

Counted in rows, so that all processes count together and a restart forgets nothing. Must not know pages or sockets.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import F

from chat import models
from chat.core.agents import AgentRef
from chat.core.events import Event, GenerationCompleted, GenerationFailed, GenerationInterrupted, MessageSubmitted
from chat.core.state import Conversation, Refusal, Refused, Step
from chat.store import statements
from chat.store.rows import when

HOUR_S = 3600
# For answers whose tokens the model's server did not count: about what a token of English has.
CHARACTERS_A_TOKEN = 4


class Counted(StrEnum):
    """What is counted by time. The values are stored."""

    LOGIN_FAILURES_OF_ADDRESS = "login_failures_address"
    LOGIN_FAILURES_OF_NAME = "login_failures_name"
    SIGNUPS_OF_ADDRESS = "signups_address"
    SIGNUP_FAILURES_OF_ADDRESS = "signup_failures_address"
    MESSAGES = "messages"
    FRAMES = "frames"


@dataclass(frozen=True, kw_only=True, slots=True)
class Quota:
    """What one person may have in all their conversations; None: as much as they like."""

    messages_per_hour: int | None = None
    runs_at_once: int | None = None
    tokens_per_day: int | None = None


def take(kind: Counted, key: str, *, limit: int, window_s: float, at: datetime, count: int = 1) -> int | None:
    """Count so many more, before it is known how it ends: of many that come at once, no more than the limit get by.

    None when there was room; otherwise how many seconds to wait, and nothing was counted. Windows that are over are
    forgotten on the way.
    """
    start = _window(window_s, at)
    with transaction.atomic():
        tally, _ = models.Tally.objects.get_or_create(kind=kind.value, key=_key(key), window=start)
        models.Tally.objects.filter(kind=kind.value, key=_key(key), window__lt=start).delete()
        # The condition is looked at again by whoever waited for another to write.
        is_counted = models.Tally.objects.filter(pk=tally.pk, count__lte=limit - count).update(count=F("count") + count)
    return None if is_counted else _left_s(start, window_s, at)


def take_frames(user_id: int, *, share: int, limit: int, window_s: float) -> float:
    """Of the frames that one person may send within a window, to all processes together, take a share for this one.

    For how many seconds it holds; 0 when none was left.
    """
    at = datetime.now(UTC)
    wait = take(Counted.FRAMES, str(user_id), limit=limit, window_s=window_s, at=at, count=share)
    return 0.0 if wait is not None else float(_left_s(_window(window_s, at), window_s, at))


def give_back(kind: Counted, key: str, *, window_s: float, at: datetime) -> None:
    """What was taken at that time does not count after all."""
    rows = models.Tally.objects.filter(kind=kind.value, key=_key(key), window=_window(window_s, at), count__gt=0)
    rows.update(count=F("count") - 1)


def forget(kind: Counted, key: str) -> None:
    """Start again from nothing, as after a log-in that went well."""
    models.Tally.objects.filter(kind=kind.value, key=_key(key)).delete()


def forget_old(before: datetime) -> None:
    """Remove what was counted in windows that began before then."""
    models.Tally.objects.filter(window__lt=before).delete()


def refusal(user_id: int, before: Conversation, event: Event, result: Step, quota: Quota) -> Refused | None:
    """Why a person's wish would be too much; None when it is not. Inside of the step's transaction, before its rows
    are written: who else wishes for the same person waits for its end.
    """
    is_message = isinstance(event, MessageSubmitted)
    starts_run = before.run is None and result.state.run is not None
    if not is_message and not starts_run:
        return None
    at = when(event.at_ms)
    start = _window(HOUR_S, at)
    # The row is also what wishes of one person queue up at, whatever is counted.
    columns: dict[str, Any] = {"kind": Counted.MESSAGES.value, "key": str(user_id), "window": start}
    found = statements.select(models.Tally, locks=True, **columns)
    if not found:
        statements.insert(models.Tally(**columns), ignores_conflicts=True)
        found = statements.select(models.Tally, locks=True, **columns)
    tally = found[0]
    if is_message and quota.messages_per_hour is not None and tally.count >= quota.messages_per_hour:
        wait = words_for(_left_s(start, HOUR_S, at))
        words = f"You sent {tally.count:,} messages within an hour, as many as this site takes. Go on in {wait}."
        return Refused(code=Refusal.TOO_MANY_MESSAGES, words=words)
    if quota.tokens_per_day is not None and used_tokens(user_id, at) >= quota.tokens_per_day:
        return no_tokens_left(f"Your {quota.tokens_per_day:,} tokens of today are used up.", at)
    if starts_run and quota.runs_at_once is not None:
        count_now = _runs_of(user_id)
        if count_now >= quota.runs_at_once:
            words = (
                f"{count_now} of your conversations are being answered, as many as may be at once. Stop one or wait."
            )
            return Refused(code=Refusal.TOO_MANY_RUNS, words=words)
    if is_message:
        statements.update(models.Tally, {"count": 1}, more=True, id=tally.id)
    return None


def no_tokens_left(words: str, at: datetime) -> Refused:
    """Says so, and when there will be new ones."""
    midnight = (at + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    wait = words_for(math.ceil((midnight - at).total_seconds()))
    return Refused(code=Refusal.NO_TOKENS_LEFT, words=f"{words} There are new ones in {wait}.")


def count_tokens(user_id: int, event: Event, *, agent: AgentRef | None) -> None:
    """What an answer took, as the model's server counted it. agent: whose answer it is."""
    if not isinstance(event, GenerationCompleted | GenerationInterrupted | GenerationFailed):
        return
    took = event.telemetry
    completion = took.completion_tokens
    if completion is None:
        completion = math.ceil((len(event.text) + len(event.reasoning)) / CHARACTERS_A_TOKEN)
    prompt = took.prompt_tokens or 0
    if not prompt and not completion:
        return
    day = when(event.at_ms).date()
    _add(models.UsageDay, {"prompt_tokens": prompt, "completion_tokens": completion}, user_id=user_id, day=day)
    if agent is not None:
        of_agent = {"user_id": user_id, "agent_id": agent.agent_id, "day": day}
        _add(models.AgentUsageDay, {"tokens": prompt + completion}, **of_agent)


def _add(table: type[models.UsageDay | models.AgentUsageDay], more: Mapping[str, int], **day: Any) -> None:
    if not statements.update(table, more, more=True, **day):
        statements.insert(table(**day), ignores_conflicts=True)
        statements.update(table, more, more=True, **day)


def used_tokens(user_id: int, at: datetime) -> int:
    """How many of that day."""
    days = statements.select(models.UsageDay, user_id=user_id, day=at.date())
    return sum(day.prompt_tokens + day.completion_tokens for day in days)


def _runs_of(user_id: int) -> int:
    runs, conversations = models.Run._meta.db_table, models.Conversation._meta.db_table
    # As the ORM would say it, at a tenth of the cost.
    count = (
        f"SELECT COUNT(*) FROM {runs} run JOIN {conversations} conversation ON run.conversation_id = conversation.id "  # noqa: S608
        "WHERE conversation.user_id = %s AND run.ended_at IS NULL"
    )
    with connection.cursor() as cursor:
        cursor.execute(count, [user_id])
        found: int = cursor.fetchone()[0]
    return found


def used_tokens_with(agent_id: UUID, user_id: int, at: datetime) -> int:
    """How many of that day, in all conversations of this person with one agent."""
    days = statements.select(models.AgentUsageDay, agent_id=agent_id, user_id=user_id, day=at.date())
    return sum(day.tokens for day in days)


def words_for(seconds: int) -> str:
    """A time to wait, for people."""
    for unit, length_s in (("hour", HOUR_S), ("minute", 60)):
        if seconds > length_s:
            return f"{math.ceil(seconds / length_s)} {unit}s"
    return f"{seconds} second{'s' if seconds != 1 else ''}"


def _window(window_s: float, at: datetime) -> datetime:
    return datetime.fromtimestamp(at.timestamp() // window_s * window_s, tz=UTC)


def _left_s(start: datetime, window_s: float, at: datetime) -> int:
    return max(1, math.ceil((start + timedelta(seconds=window_s) - at).total_seconds()))


def _key(key: str) -> str:
    return key[: models.Tally.KEY_MAX_CHARACTERS]
