from __future__ import annotations

from tests.journeys.stopping import StoppingJourney


class TestStopping(StoppingJourney):
    """On the site as `make run` starts it."""
