"""Finds out whether code can be executed safely on this machine, by which means, and otherwise says why not.

Knows what has to be installed for it. The answer comes from a trial: a sandbox that holds is started, not guessed.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import assert_never

from chat.tools.sandbox import install, syscalls
from chat.tools.sandbox.command import USER_ID_FIRST, USER_IDS, Build, Confinement, Order
from chat.tools.sandbox.confined import ConfinedProcess
from chat.tools.sandbox.inside.confine import LANDLOCK_ABI_MIN, landlock_abi
from chat.tools.sandbox.values import Limits, SandboxStartError

TRIAL_TIMEOUT_S = 20
# The network and a file that everybody outside may read must be out of reach; the work folder must not.
TRIAL = "! (exec 3<>/dev/tcp/127.0.0.1/9) && ! cat {secret} && echo >written && echo it-holds"


@dataclass(frozen=True, kw_only=True, slots=True)
class Available:
    """Code can be executed."""

    build: Build

    @property
    def confinement(self) -> Confinement:
        """What holds it in."""
        return self.build.confinement


@dataclass(frozen=True, kw_only=True, slots=True)
class Unavailable:
    """Code execution is off."""

    # One sentence each, for the person who runs the site.
    reason: str
    remedy: str


Availability = Available | Unavailable


async def find_out(venv: Path) -> Availability:
    """Bubblewrap when it works here, else Landlock when it works here, else the reasons of both."""
    if sys.platform != "linux":
        return Unavailable(reason="The sandbox needs Linux.", remedy="Run Agentsite on Linux, or in a Linux container.")
    if not install.is_installed(venv):
        return Unavailable(
            reason=f"The sandbox's own Python is not installed in {venv}.",
            remedy="Run: python -m chat.tools.sandbox.install",
        )
    try:
        await asyncio.to_thread(syscalls.compiled, has_own_namespaces=True)
    except syscalls.SeccompMissingError as fault:
        return Unavailable(
            reason=f"System calls can't be filtered: {fault}.", remedy="Install it: apt-get install libseccomp2"
        )
    reasons = []
    for confinement in Confinement:
        found = await _try(confinement, venv)
        if isinstance(found, Build):
            return Available(build=found)
        reasons.append(found)
    return Unavailable(
        reason=" ".join(reasons),
        remedy="Install bubblewrap (apt-get install bubblewrap) and let it make user namespaces, or use Linux 6.12 "
        "or newer.",
    )


def new_user_id(taken: frozenset[int]) -> int | None:
    """Whom root becomes for one more sandbox; None for an ordinary user.

    Nobody whom a process of this machine is already: sandboxes of another server would count against its tasks.
    """
    if os.getuid() != 0:
        return None
    taken |= _users_with_processes()
    return next(number for number in range(USER_ID_FIRST, USER_ID_FIRST + USER_IDS) if number not in taken)


def _users_with_processes() -> set[int]:
    found = set()
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            # It may have ended since.
            with suppress(FileNotFoundError, ProcessLookupError):
                found.add(entry.stat().st_uid)
    return found


async def _try(confinement: Confinement, venv: Path) -> Build | str:
    """What to build sandboxes of, or a sentence why not."""
    bwrap = None
    match confinement:
        case Confinement.BUBBLEWRAP:
            found = shutil.which("bwrap")
            if not found:
                return "bubblewrap is not installed."
            bwrap = Path(found)
        case Confinement.LANDLOCK:
            if landlock_abi() < LANDLOCK_ABI_MIN:
                return f"This Linux has Landlock {landlock_abi()}; version {LANDLOCK_ABI_MIN} is needed (Linux 6.12)."
        case _:
            assert_never(confinement)
    build = Build(confinement=confinement, bwrap=bwrap, venv=venv, python_home=install.python_home(venv))
    try:
        async with asyncio.timeout(TRIAL_TIMEOUT_S):
            said = await _trial(build)
    except (SandboxStartError, OSError) as fault:
        return f"{confinement.value} does not work here: {fault}."
    except TimeoutError:
        return f"{confinement.value} did not answer within {TRIAL_TIMEOUT_S} s."
    if "it-holds" not in said:
        return f"{confinement.value} does not hold here: {said.strip()[:500]}."
    return build


async def _trial(build: Build) -> str:
    user_id = new_user_id(frozenset())
    with tempfile.TemporaryDirectory(prefix="agentsite-") as made:
        order = _trial_order(build, Path(made), user_id)
        process = await ConfinedProcess.start(build, order, is_heard=True)
        try:
            said = await asyncio.gather(*(stream.read(4000) for stream in process.output))
        finally:
            await process.kill()
    return b" ".join(said).decode(errors="replace")


def _trial_order(build: Build, place: Path, user_id: int | None) -> Order:
    place.chmod(0o711)
    secret = place / "secret"
    secret.write_text("")
    folder, scratch = place / "folder", place / "scratch"
    for path in (folder, scratch):
        path.mkdir(mode=0o700)
        if user_id is not None:
            os.chown(path, user_id, user_id)
    return Order(
        folder=folder,
        scratch=scratch if build.confinement is Confinement.LANDLOCK else None,
        limits=Limits(),
        run={"run": "shell", "command": TRIAL.format(secret=secret)},
        user_id=user_id,
    )
