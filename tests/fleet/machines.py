"""Two machines on this one: network namespaces with addresses of their own, and a cable that can be pulled.

The tests reach each of them by another cable, which stays. Wants root and iproute2.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from tests.fleet.machine import Machine
from tests.needs import missing
from tests.server import ROOT

WHAT_TO_INSTALL = "The program ip is missing; install the package iproute2"
NO_ROOT = "network namespaces are made by root alone; run the tests as root"
# Processes on one machine tell by locks in this folder that another is dead; those on another machine can't.
LOCKS = ROOT / "var" / "processes"
ALONE = 'mount -t tmpfs tmpfs "$0" && exec "$@"'


@dataclass(frozen=True, kw_only=True, slots=True)
class Machines:
    """gateways: the addresses of the tests, as each machine sees them."""

    one: Machine
    other: Machine
    gateways: tuple[Machine, Machine]
    cable: tuple[str, str]

    def pull_the_cable(self) -> None:
        """Neither hears of the other any more."""
        _ip("-n", self.cable[0], "link", "set", self.cable[1], "down")

    def plug_it_in(self) -> None:
        """They hear each other again."""
        _ip("-n", self.cable[0], "link", "set", self.cable[1], "up")


def apart(machine: Machine) -> Machine:
    """The same, for a process that sees no other process's locks."""
    LOCKS.mkdir(parents=True, exist_ok=True)
    return replace(machine, within=(*machine.within, "sh", "-c", ALONE, str(LOCKS)))


@contextmanager
def two_machines() -> Iterator[Machines]:
    """Until the end of the block. Where that can't be, the test is skipped with the reason; with `CI=true` it fails."""
    if shutil.which("ip") is None:
        missing(WHAT_TO_INSTALL)
    if os.geteuid() != 0:
        missing(NO_ROOT)
    mark = f"{os.getpid() % 10_000}{random.randrange(10)}"
    spaces = [f"agentsite-{mark}-{name}" for name in "ab"]
    net = f"10.{random.randrange(64, 250)}"
    try:
        for number, space in enumerate(spaces, start=1):
            done = subprocess.run(["ip", "netns", "add", space], capture_output=True, text=True, check=False)
            if done.returncode:
                missing(f"this machine makes no network namespaces: {done.stderr.strip()}")
            _ip("-n", space, "link", "set", "lo", "up")
            _cable((None, f"as{mark}t{number}", f"{net}.{number}.1"), (space, "tests", f"{net}.{number}.2"))
        _cable((spaces[0], "cable", f"{net}.3.1"), (spaces[1], "cable", f"{net}.3.2"))
        one, other = (
            Machine(
                address=f"{net}.3.{number}",
                outside=f"{net}.{number}.2",
                within=("ip", "netns", "exec", space),
            )
            for number, space in enumerate(spaces, start=1)
        )
        gateways = (Machine(address=f"{net}.1.1"), Machine(address=f"{net}.2.1"))
        yield Machines(one=one, other=other, gateways=gateways, cable=(spaces[1], "cable"))
    finally:
        for space in spaces:
            # With a namespace go the ends of its cables, and with one end the other.
            subprocess.run(["ip", "netns", "delete", space], capture_output=True, check=False)


def _cable(one: tuple[str | None, str, str], other: tuple[str, str, str]) -> None:
    """Between two ends, each a namespace (None: where the tests are), a name and an address."""
    first = ("-n", one[0]) if one[0] else ()
    _ip(*first, "link", "add", "name", one[1], "type", "veth", "peer", "name", other[1], "netns", other[0])
    for space, name, address in (one, other):
        where = ("-n", space) if space else ()
        _ip(*where, "address", "add", f"{address}/24", "dev", name)
        _ip(*where, "link", "set", name, "up")


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(words)}: {done.stderr}"
