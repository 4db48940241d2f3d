"""Where a process of a fleet runs, and under which address others reach it there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True, slots=True)
class Machine:
    """address: for those on it and on other machines. outside: for the tests. within: what goes before a command so
    that it runs there.
    """

    address: str = "127.0.0.1"
    outside: str = "127.0.0.1"
    within: tuple[str, ...] = ()


HERE = Machine()
