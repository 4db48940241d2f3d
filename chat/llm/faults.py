"""What went wrong, in the words of a person.

Knows the codes, types and sentences with which servers of the OpenAI dialect refuse, and sorts them into
`ModelFault`. Must not know how an error arrived: as an HTTP status, inside a stream, or from the network.
"""

from __future__ import annotations

import math
import re
from email.utils import parsedate_to_datetime
from typing import Final

from chat.llm.port import ModelError, ModelFault

# The port promises no more than 300 characters of what the server said.
MAX_SAID_CHARACTERS: Final = 300

# Nobody's page should count down from a number that a broken proxy invented.
MAX_RETRY_AFTER_S: Final = 86_400.0

# Servers quote the key that they refuse, sometimes whole.
_KEY: Final = re.compile(r"\b(?:sk|pk|rk|key|api|gsk|xai|hf|org|proj)[-_][\w*.-]{6,}|\bBearer\s+\S+", re.IGNORECASE)
_STATUS: Final = re.compile(r"[0-9]{3}")
_BLANK: Final = re.compile(r"[\s\x00-\x1f\x7f]+")

# Words of `code` and `type`, compared as substrings. They are surer than the status: OpenAI says "no money
# left" with the status of a rate limit, and an unknown model with that of a bad request.
_SURE_MARKERS: Final = (
    (
        ModelFault.CONTEXT_TOO_LONG,
        ("context_length_exceeded", "exceed_context_size", "string_above_max_length"),
    ),
    (
        ModelFault.QUOTA,
        ("insufficient_quota", "insufficient_credits", "billing", "quota_exceeded", "payment_required"),
    ),
    (
        ModelFault.AUTH,
        ("invalid_api_key", "authentication", "permission", "unauthorized", "forbidden", "account_deact"),
    ),
    (ModelFault.NOT_FOUND, ("model_not_found", "not_found", "deploymentnotfound")),
    (ModelFault.RATE_LIMIT, ("rate_limit", "ratelimit", "too_many_requests", "slow_down")),
    (ModelFault.TIMEOUT, ("timeout", "timed_out")),
    (
        ModelFault.UNAVAILABLE,
        ("overloaded", "unavailable", "server_error", "internal_error", "engine_", "api_error"),
    ),
)
_SURE_SENTENCES: Final = (
    (
        ModelFault.CONTEXT_TOO_LONG,
        (
            "maximum context length",
            "context length",
            "context window",
            "prompt is too long",
            "input is too long",
        ),
    ),
    (ModelFault.QUOTA, ("exceeded your current quota", "insufficient credits", "insufficient balance")),
)
_BY_STATUS: Final = {
    401: ModelFault.AUTH,
    402: ModelFault.QUOTA,
    403: ModelFault.AUTH,
    404: ModelFault.NOT_FOUND,
    408: ModelFault.TIMEOUT,
    409: ModelFault.UNAVAILABLE,
    413: ModelFault.CONTEXT_TOO_LONG,
    425: ModelFault.UNAVAILABLE,
    429: ModelFault.RATE_LIMIT,
    504: ModelFault.TIMEOUT,
    524: ModelFault.TIMEOUT,
}

_WORDS: Final = {
    ModelFault.AUTH: "The model server refused the API key. Check OPENAI_API_KEY.",
    ModelFault.QUOTA: "The account of this API key has no quota left. Check its plan and billing.",
    ModelFault.RATE_LIMIT: "The model server gets too many requests at the moment.",
    ModelFault.CONTEXT_TOO_LONG: "The conversation is too long for this model. Start a new one.",
    ModelFault.NOT_FOUND: "The model server knows no such model or address. Check both settings.",
    ModelFault.BAD_REQUEST: "The model server did not accept the request.",
    ModelFault.TIMEOUT: "The model server gave up waiting for its own answer.",
    ModelFault.UNAVAILABLE: "The model server is not available at the moment.",
    ModelFault.BROKEN_STREAM: "The answer broke off.",
    ModelFault.UNKNOWN: "The model server reported an error.",
}


def server_error(
    error: object, *, status: int | None = None, retry_after_s: float | None = None, secret: str = ""
) -> ModelError:
    """The ModelError for what a server called an error.

    error: the value of its `error` field, or the whole body: an object, a string, or anything else.
    status: the HTTP status, where the error came as one.
    secret: what must not be repeated even if the server did.
    """
    code, kind, message = _fields(error)
    if status is None and _STATUS.fullmatch(code):
        # Gateways put the status that they got from behind them where others put a word.
        status = int(code)
    fault = _fault(f"{code} {kind}".lower(), message.lower(), status)
    words = _WORDS[fault]
    said = quotable(message, secret=secret)
    if said:
        words = f"{words} It said: {said}"
    elif status is not None:
        words = f"{words} (HTTP {status})"
    return ModelError(fault=fault, words=words, retry_after_s=retry_after_s)


def _fields(error: object) -> tuple[str, str, str]:
    """Code, type and message, each possibly empty."""
    if isinstance(error, str):
        return "", "", error
    if not isinstance(error, dict):
        return "", "", ""
    inner = error.get("error")
    if isinstance(inner, dict | str):
        return _fields(inner)
    code, kind, message = error.get("code"), error.get("type"), error.get("message", error.get("detail"))
    return (
        str(code) if isinstance(code, str | int) else "",
        kind if isinstance(kind, str) else "",
        message if isinstance(message, str) else "",
    )


def _fault(marker: str, message: str, status: int | None) -> ModelFault:
    for fault, parts in _SURE_MARKERS:
        if any(part in marker for part in parts):
            return fault
    for fault, sentences in _SURE_SENTENCES:
        if any(sentence in message for sentence in sentences):
            return fault
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status is not None and status >= 500:
        return ModelFault.UNAVAILABLE
    if (status is not None and 400 <= status < 500) or "invalid_request" in marker:
        return ModelFault.BAD_REQUEST
    return ModelFault.UNKNOWN


def quotable(text: str, *, secret: str = "") -> str:
    """What a person may be shown of a server's words: one line, bounded, no key; empty for a web page."""
    if secret:
        text = text.replace(secret, "[key]")
    # Cut before the search for keys, so that a huge body costs nothing, but late: no key may be cut in two.
    text = _BLANK.sub(" ", text[: 10 * MAX_SAID_CHARACTERS]).strip()
    if text.startswith("<"):
        return ""
    text = _KEY.sub("[key]", text).encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= MAX_SAID_CHARACTERS else text[: MAX_SAID_CHARACTERS - 1] + "…"


def retry_after_s(retry_after_ms: str | None, retry_after: str | None, *, now_s: float) -> float | None:
    """The delay that a server asked for, in seconds; None when it asked for none or wrote nonsense.

    retry_after_ms: the header `retry-after-ms`, milliseconds. retry_after: the header `Retry-After`, seconds
    or an HTTP date. now_s: seconds since the epoch, for the date.
    """
    delay_s = _number(retry_after_ms, 0.001)
    if delay_s is None:
        delay_s = _number(retry_after, 1.0)
    if delay_s is None and retry_after:
        try:
            delay_s = parsedate_to_datetime(retry_after).timestamp() - now_s
        except (ValueError, OverflowError):
            return None
    if delay_s is None or math.isnan(delay_s):
        return None
    return min(max(delay_s, 0.0), MAX_RETRY_AFTER_S)


def _number(text: str | None, unit: float) -> float | None:
    try:
        return float(text or "") * unit
    except ValueError:
        return None
