"""A worker: performs the runs of a site that is made of several processes."""

from __future__ import annotations

import asyncio
import signal
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from prometheus_client import start_http_server

from chat import metrics, wiring
from chat.management.base import SiteCommand
from chat.management.folders import check_folders


class Command(SiteCommand):
    """`python manage.py worker`"""

    help = "Perform runs, many at once, until a signal ends it. As many workers as you like share the work."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """How much at once."""
        default = settings.AGENTSITE.agent_worker_concurrency
        parser.add_argument("--concurrency", type=int, default=default, help=f"runs at once (default: {default})")

    def handle(self, *args: Any, **options: Any) -> None:
        """Work until SIGTERM or SIGINT."""
        if not settings.AGENTSITE.uses_workers:
            words = "there is nothing to do for a worker: the server performs runs itself"
            raise CommandError(f"{words}. Set DATABASE_URL=postgres://… and REDIS_URL=redis://…, and serve with both.")
        if options["concurrency"] < 1:
            raise CommandError("--concurrency: must be 1 or more; a valid example: --concurrency 100")
        check_folders()
        asyncio.run(self._work(options["concurrency"]))

    async def _work(self, concurrency: int) -> None:
        loop, must_end = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, must_end.set)
        site = wiring.site(worker_concurrency=concurrency)
        if port := settings.AGENTSITE.agent_metrics_port:
            try:
                start_http_server(port, addr="127.0.0.1", registry=metrics.REGISTRY)
            except OSError as fault:
                words = f"{port} can't be listened on: {fault.strerror}. Each worker of a machine needs its own"
                raise CommandError(f"AGENT_METRICS_PORT: {words}; a valid example: AGENT_METRICS_PORT=9101") from None
        try:
            await site.start()
            self.stdout.write(f"Worker {site.process_id} performs up to {concurrency} runs at once")
            self.stdout.flush()
            await must_end.wait()
        finally:
            await wiring.stop()
