"""Which faults are the database's own, such as a full disk or a server that is away, and pass once somebody helps it.

The others lie in what it was asked to keep: it would refuse that each time.
"""

from __future__ import annotations

from django.db import DataError, Error, IntegrityError


def is_of_database(fault: BaseException) -> bool:
    """Whether the same may be kept later."""
    return isinstance(fault, Error) and not isinstance(fault, DataError | IntegrityError)


def in_a_line(fault: BaseException) -> str:
    """What the database said, without what it quotes."""
    return str(fault).strip().partition("\n")[0]
