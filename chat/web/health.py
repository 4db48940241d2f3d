"""Whether the process is alive, whether it can work, and its figures."""

from __future__ import annotations

import asyncio
import ipaddress
import logging
from collections.abc import Iterator

from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_safe

from chat import metrics, wiring
from chat.store import figures
from chat.store.threads import in_thread

logger = logging.getLogger(__name__)

# A part that takes longer to answer does not.
PATIENCE_S = 2.0
SITE_READ = "1 when the database told the figures of the site."
NO_WORKER = "workers: none is heard of, so messages wait (start one: python manage.py worker)"


@require_safe
def alive(request: HttpRequest) -> HttpResponse:
    """The process answers."""
    return HttpResponse("ok\n", content_type="text/plain")


async def ready(request: HttpRequest) -> HttpResponse:
    """Database and channel layer answer; 503 names the one that does not. That there is no worker is said as well."""
    missing, said = [], []
    conf = settings.AGENTSITE
    try:
        async with asyncio.timeout(PATIENCE_S):
            kinds = await in_thread(_look, conf.agent_heartbeat_timeout_s)
        if conf.uses_workers and not kinds.get("worker"):
            said.append(NO_WORKER)
    except Exception as fault:
        logger.warning("The database does not answer: %r", fault)
        missing.append("database: it does not answer, or was not migrated (python manage.py migrate)")
    site = wiring.site()
    if not missing and not site.can_save:
        missing.append("database: it takes nothing that is written (the log says why)")
    relay = site.relay
    if relay is not None and not relay.is_heard:
        missing.append("channel layer: it does not answer (see REDIS_URL)")
    lines = [*missing, *said] or ["ok"]
    text = "".join(f"{line}\n" for line in lines)
    return HttpResponse(text, content_type="text/plain", status=503 if missing else 200)


def _look(silent_for_s: float) -> dict[str, int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM chat_conversation LIMIT 1")
    return figures.processes_heard(silent_for_s=silent_for_s)


async def for_prometheus(request: HttpRequest) -> HttpResponse:
    """The figures of this process and of the whole site, for staff and for programs on this machine."""
    if not (_is_local(request) or await sync_to_async(_is_staff)(request)):
        raise Http404
    try:
        async with asyncio.timeout(PATIENCE_S):
            of_the_site = await in_thread(_of_the_site)
    except Exception as fault:
        logger.warning("The figures of the whole site can't be read: %r", fault)
        of_the_site = "".join(_gauge("read", SITE_READ, "", {"": 0}))
    return HttpResponse(metrics.text() + of_the_site.encode(), content_type=metrics.CONTENT_TYPE)


def _is_staff(request: HttpRequest) -> bool:
    return bool(request.user.is_active and request.user.is_staff)


def _is_local(request: HttpRequest) -> bool:
    """Whether it comes from this machine, and from no proxy on it."""
    if "HTTP_X_FORWARDED_FOR" in request.META or "HTTP_FORWARDED" in request.META:
        return False
    try:
        return ipaddress.ip_address(request.META.get("REMOTE_ADDR", "")).is_loopback
    except ValueError:
        return False


def _of_the_site() -> str:
    return "".join(_lines())


def _lines() -> Iterator[str]:
    statuses, lag_s = figures.jobs()
    heard = figures.processes_heard(silent_for_s=settings.AGENTSITE.agent_heartbeat_timeout_s)
    yield from _gauge("read", SITE_READ, "", {"": 1})
    yield from _gauge("conversations", "Conversations that are not idle.", "phase", figures.phases())
    yield from _gauge("queued_messages", "Messages that wait in all conversations.", "", {"": figures.queue_depth()})
    yield from _gauge("processes", "Processes that are heard of.", "kind", heard)
    yield from _gauge("jobs", "Orders for workers.", "status", statuses)
    yield from _gauge("job_lag_seconds", "How long the oldest order has waited for a worker.", "", {"": lag_s})


def _gauge(name: str, words: str, label: str, values: dict[str, int] | dict[str, float]) -> Iterator[str]:
    yield f"# HELP agentsite_site_{name} {words}\n# TYPE agentsite_site_{name} gauge\n"
    for value, number in values.items():
        labels = f'{{{label}="{value}"}}' if label else ""
        yield f"agentsite_site_{name}{labels} {number}\n"
