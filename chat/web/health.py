"""Whether the process is alive, and whether it can work."""

from __future__ import annotations

import logging

from asgiref.sync import async_to_sync
from channels.layers import get_channel_layer
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

logger = logging.getLogger(__name__)


@require_safe
def alive(request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return HttpResponse("ok\n", content_type="text/plain")


@require_safe
def ready(request: HttpRequest) -> HttpResponse:
    """Database and channel layer answer; 503 names the one that does not."""
    missing = []
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM chat_conversation LIMIT 1")
    except Exception:
        logger.exception("The database does not answer")
        missing.append("database: it does not answer, or was not migrated (python manage.py migrate)")
    try:
        async_to_sync(_use_layer)()
    except Exception:
        logger.exception("The channel layer does not answer")
        missing.append("channel layer: it does not answer (see REDIS_URL)")
    text = "\n".join(missing) or "ok"
    return HttpResponse(f"{text}\n", content_type="text/plain", status=503 if missing else 200)


async def _use_layer() -> None:
    layer = get_channel_layer()
    channel = await layer.new_channel()
    await layer.send(channel, {"type": "ready"})
    await layer.receive(channel)
