"""What answers have so far, kept while they stream."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection, transaction

from chat import models
from chat.core.ids import ConversationId, MessageId, RunId

# SQLite keeps each statement that it was told, and one that names hundreds of rows is large: of so many rows at most
# there are few statements.
ROWS_AT_A_TIME = 16


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """The text of one answer so far, and the order that it is written for."""

    conversation_id: ConversationId
    message_id: MessageId
    run_id: RunId
    generation_no: int
    text: str
    reasoning: str


@transaction.atomic
def save(checkpoints: Sequence[Checkpoint]) -> list[bool]:
    """Keep these. For each: False, and nothing is written, when its order is no longer the run's."""
    # In one order over all batches: of two processes that keep the same answers, neither waits for the other for ever.
    numbers = sorted(range(len(checkpoints)), key=lambda number: checkpoints[number].message_id)
    are_current = [False] * len(checkpoints)
    for start in range(0, len(numbers), ROWS_AT_A_TIME):
        batch = numbers[start : start + ROWS_AT_A_TIME]
        for number, is_current in zip(batch, _save([checkpoints[number] for number in batch]), strict=True):
            are_current[number] = is_current
    return are_current


def _save(checkpoints: Sequence[Checkpoint]) -> list[bool]:
    # A step that ends an answer writes its row too: it comes before this or after it, and what is read next is current.
    rows = models.Message.objects.select_for_update().filter(
        conversation_id__in={checkpoint.conversation_id for checkpoint in checkpoints},
        message_id__in=[checkpoint.message_id for checkpoint in checkpoints],
        state="streaming",
    )
    streaming = {(row.run_id, row.message_id): row for row in rows.only("message_id", "run_id").order_by("message_id")}
    runs = models.Run.objects.filter(id__in=[checkpoint.run_id for checkpoint in checkpoints], ended_at=None)
    current = set(runs.values_list("id", "generation_no"))
    changed, are_current = [], []
    for checkpoint in checkpoints:
        row = streaming.get((checkpoint.run_id, checkpoint.message_id))
        is_current = row is not None and (checkpoint.run_id, checkpoint.generation_no) in current
        are_current.append(is_current)
        if row is not None and is_current:
            changed.append((checkpoint.text, checkpoint.reasoning, row.pk))
    # The statement that `bulk_update` builds would be a tenth of all that a stream costs.
    keep = f"UPDATE {models.Message._meta.db_table} SET content = %s, reasoning = %s WHERE id = %s"  # noqa: S608
    with connection.cursor() as cursor:
        cursor.executemany(keep, changed)
    return are_current
