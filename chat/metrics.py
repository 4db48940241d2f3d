"""What this process does, counted for Prometheus.

Knows announcements, and what stands in each of them. Must not know sockets, rows, or text: no label holds what anybody
said, and none takes its values from a model.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily

from chat.core.announcement import Announcement
from chat.core.ids import ConversationId
from chat.core.messages import MessageState, Role
from chat.core.state import Stopping

REGISTRY = CollectorRegistry()
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
# Stops that wait for their end here; more than ever press it at once.
STOPS_WATCHED_MAX = 10_000
# Whoever pressed Stop may have gone, and with them the word of its end. What is heard later was not that end; a Stop
# that takes longer shows among the conversations by phase.
STOP_WATCHED_S = 120.0

_EVENTS = Counter("agentsite_events", "Events that this process committed.", ["event"], registry=REGISTRY)
_ANSWERS = Counter(
    "agentsite_answers", "Answers that ended, with their class of fault.", ["state", "fault"], registry=REGISTRY
)
_CALLS = Counter("agentsite_tool_calls", "Tool calls that reached a state.", ["state"], registry=REGISTRY)
_TOKENS = Counter("agentsite_tokens", "Tokens as the model's server counted them.", ["kind"], registry=REGISTRY)
_FIRST_TOKEN_S = Histogram(
    "agentsite_first_token_seconds",
    "From the request to the model until its first token.",
    buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
    registry=REGISTRY,
)
_ANSWER_S = Histogram(
    "agentsite_answer_seconds",
    "From the request to the model until the end of its answer.",
    buckets=(0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800),
    registry=REGISTRY,
)
_STOP_S = Histogram(
    "agentsite_stop_seconds",
    "From a person's Stop until nothing of the run is performed any more.",
    buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10),
    registry=REGISTRY,
)

_stops: dict[ConversationId, float] = {}


def count(announcement: Announcement) -> None:
    """One commit of this process."""
    _EVENTS.labels(announcement.event_type).inc()
    for message in announcement.messages:
        if message.role is not Role.ASSISTANT or message.state is MessageState.STREAMING:
            continue
        _ANSWERS.labels(message.state.value, message.failure.fault if message.failure else "").inc()
        took = message.telemetry
        _TOKENS.labels("prompt").inc(took.prompt_tokens or 0)
        _TOKENS.labels("completion").inc(took.completion_tokens or 0)
        if took.first_token_ms is not None:
            _FIRST_TOKEN_S.observe(took.first_token_ms / 1000)
        if took.total_ms is not None:
            _ANSWER_S.observe(took.total_ms / 1000)
    for call in announcement.calls:
        _CALLS.labels(call.state.value).inc()
    if announcement.event_type == "stop_requested" and isinstance(announcement.state.phase, Stopping):
        if len(_stops) >= STOPS_WATCHED_MAX:
            _stops.clear()
        _stops[announcement.state.conversation_id] = time.monotonic()


def watch(announcement: Announcement) -> None:
    """One commit of any process, as far as this one hears of it: a Stop that was pressed here may end elsewhere."""
    if _stops and not isinstance(announcement.state.phase, Stopping):
        pressed_at_s = _stops.pop(announcement.state.conversation_id, None)
        took_s = math.inf if pressed_at_s is None else time.monotonic() - pressed_at_s
        if took_s <= STOP_WATCHED_S:
            _STOP_S.observe(took_s)


def gauge(name: str, words: str, read: Callable[[], float]) -> None:
    """A figure of this process that is read whenever it is asked for. The newest reader of a name counts."""
    known = _gauges.get(name)
    if known is None:
        known = _gauges[name] = Gauge(f"agentsite_{name}", words, registry=REGISTRY)
    known.set_function(read)


_gauges: dict[str, Gauge] = {}


def total(name: str, words: str, read: Callable[[], float]) -> None:
    """The same of a figure that only grows."""
    _totals[name] = (words, read)


_totals: dict[str, tuple[str, Callable[[], float]]] = {}


class _Totals:
    """What others count, as the registry wants it."""

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Each of them, as it is now."""
        for name, (words, read) in _totals.items():
            yield CounterMetricFamily(f"agentsite_{name}", words, value=read())


REGISTRY.register(_Totals())


def text() -> bytes:
    """Everything, in Prometheus' own form."""
    return generate_latest(REGISTRY)
