"""The list of processes: who lives, who is silent, and what each has in hand."""

from __future__ import annotations

import re
import uuid
from dataclasses import replace
from datetime import timedelta

from django.db.models.functions import Now
from django.test import Client

from chat import models
from chat.store import processes
from tests.admin.staff import ASK
from tests.core import talk
from tests.store.kept import Kept, make_user, sent

PROCESSES = "/admin/chat/process/"


def process(kind: str, *, silent_for_s: float = 0) -> uuid.UUID:
    """One that was last heard of so long ago."""
    process_id = uuid.uuid4()
    processes.beat(process_id, kind=kind)
    models.Process.objects.filter(id=process_id).update(beat_at=Now() - timedelta(seconds=silent_for_s))
    return process_id


def line(client: Client, process_id: uuid.UUID, **query: str) -> str:
    """What the list shows of a process; empty when it is not in it."""
    page = client.get(PROCESSES, query).content.decode()
    lines = [each for each in page.split("<tr>") if str(process_id) in each]
    return lines[0] if lines else ""


def test_a_process_that_is_silent_for_too_long_is_seen(boss: Client) -> None:
    # Heard of in a while: however slow this machine is, that is not too long ago.
    lives, is_gone = process("web", silent_for_s=-60), process("worker", silent_for_s=90)
    assert 'badge good">0 s ago' in line(boss, lives)
    assert re.search(r'badge bad">\d\d+ s ago', line(boss, is_gone))
    assert (line(boss, lives, kind="worker"), bool(line(boss, is_gone, kind="worker"))) == ("", True)


def test_open_orders_are_counted_and_what_waits_for_a_person_is_none(boss: Client) -> None:
    worker, idle = process("worker"), process("worker")
    writes, waits, calls = (Kept(make_user(name)) for name in ("ann", "bea", "cid"))
    writes.take(sent("writes"), owner=worker)
    waits.take(sent("waits"), owner=worker)
    waits.take(talk.completed(waits.run, "May I?", calls=(ASK,)), owner=worker)
    calls.take(sent("calls"), owner=worker)
    calls.take(talk.completed(calls.run, "May I?", calls=(ASK,)), owner=worker)
    calls.take(replace(talk.approved(calls.call()), user_id=calls.user_id), owner=worker)
    calls.take(talk.claimed(calls.call()), owner=worker)
    assert 'field-orders">2<' in line(boss, worker)
    assert 'field-orders">0<' in line(boss, idle)
