"""Frames of clients as the contract has them."""

from __future__ import annotations

from typing import Any

ID = "123e4567-e89b-42d3-a456-426614174000"

# For each type its smallest frame, and one with every field of the contract.
SHAPES: list[dict[str, Any]] = [
    {"type": "user_message", "content": "x"},
    {"type": "user_message", "content": "x", "id": ID, "delivery": "steer", "attachments": [ID]},
    {"type": "user_message", "content": "x", "delivery": "queue"},
    {"type": "user_message", "content": "x", "delivery": "interrupt", "id": None},
    {"type": "stop"},
    {"type": "stop", "run_id": ID},
    {"type": "stop", "run_id": None},
    {"type": "approve", "call_id": ID, "digest": "d"},
    {"type": "approve", "call_id": ID, "digest": "d", "arguments": {"a": [1, None]}, "scope": "conversation"},
    {"type": "approve", "call_id": ID, "digest": "d", "arguments": None, "scope": "once"},
    {"type": "reject", "call_id": ID},
    {"type": "reject", "call_id": ID, "reason": "no"},
    {"type": "queue_edit", "id": ID, "content": "x"},
    {"type": "queue_hold", "id": ID, "held": True},
    {"type": "queue_remove", "id": ID},
    {"type": "queue_move", "id": ID, "position": 0},
    {"type": "queue_clear"},
    {"type": "queue_resume"},
    {"type": "retry"},
    {"type": "resolve_unknown", "call_id": ID, "choice": "run_again"},
    {"type": "resolve_unknown", "call_id": ID, "choice": "continue"},
    {"type": "tool_revoke", "tool": "execute_python"},
    {"type": "sync", "after": 0},
    {"type": "sync", "after": 2**53},
]
