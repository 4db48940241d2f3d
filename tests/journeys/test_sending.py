from __future__ import annotations

from tests.journeys.sending import SendingJourney


class TestSending(SendingJourney):
    """On the site as `make run` starts it."""
