"""How many sockets one person, or one address, has in all processes together.

Each process writes how many it has, whenever that changes, so that nothing is left of one that died but a row that is
not believed any more. Must not know sockets.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import timedelta

from django.db.models import Sum
from django.db.models.functions import Now

from chat import models


def tell(process_id: uuid.UUID, counts: Mapping[str, int]) -> None:
    """Say how many sockets this process has. counts: by whom, such as a user's or an address's name."""
    for key, count in counts.items():
        rows = models.SocketCount.objects
        if count:
            rows.update_or_create(process_id=process_id, key=key, defaults={"count": count})
        else:
            rows.filter(process_id=process_id, key=key).delete()


def elsewhere(process_id: uuid.UUID, key: str, *, silent_for_s: float) -> int:
    """How many the other processes have that were heard of lately."""
    heard = models.SocketCount.objects.filter(process__beat_at__gte=Now() - timedelta(seconds=silent_for_s))
    total = heard.filter(key=key).exclude(process_id=process_id).aggregate(total=Sum("count"))["total"]
    return int(total or 0)
