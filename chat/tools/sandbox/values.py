"""What goes into the sandbox and what comes out of it: limits, settings, outcomes, errors.

Knows no process and no file. Everything here is plain and frozen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Literal

from chat.errors import AgentsiteError

MIB = 1 << 20

Stream = Literal["stdout", "stderr"]
OnOutput = Callable[[Stream, str], None]
"""Gets each piece of text as it comes, on the event loop. Must return at once."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """What one conversation may use, all its processes together unless it says otherwise."""

    # Resident memory. What a process asks for beyond it in one piece is refused; what it gets past it by other ways
    # ends it.
    memory_max_bytes: int = 1024 * MIB
    # Processes and threads. A warm kernel has about 10.
    tasks_max: int = 64
    # Open files of each process. Buffers of pipes and sockets are bounded by it.
    open_files_max: int = 256
    # A single file in the work folder or in /tmp.
    file_max_bytes: int = 256 * MIB
    # The work folder: bytes on disk, entries, and folders within folders.
    folder_max_bytes: int = 512 * MIB
    folder_entries_max: int = 5000
    folder_depth_max: int = 32
    # /tmp, gone with the kernel. With bubblewrap it lies in memory, on top of memory_max_bytes.
    tmp_max_bytes: int = 64 * MIB
    # CPU time of each process in its life.
    cpu_max_s: int = 3600
    # CPU time that is used while nothing is executed: threads and processes left behind by an earlier cell.
    idle_cpu_max_s: float = 60
    # Text on stdout and stderr of one execution; the rest is dropped with a note.
    output_max_chars: int = 1_000_000
    # The text of one result, one traceback.
    result_max_chars: int = 200_000
    # All HTML of one execution. To make it harmless takes up to a second for each million.
    html_max_chars: int = 500_000
    image_max_bytes: int = 4 * MIB
    images_max: int = 20
    # What a kernel may send for one execution, dropped text included. More is not output but an attack.
    traffic_max_bytes: int = 64 * MIB
    # New or changed files that one execution reports.
    files_reported_max: int = 50


@dataclass(frozen=True, kw_only=True, slots=True)
class SandboxSettings:
    """How the sandbox is run."""

    # Holds one folder for each conversation.
    work_root: Path
    # Made by `python -m chat.tools.sandbox.install`.
    venv: Path
    limits: Limits = field(default_factory=Limits)
    # Kernels that are started before anybody needs them.
    warm_kernels: int = 1
    # Kernels at the same time, warm ones included. Past it, the kernel that has been idle longest goes.
    kernels_max: int = 16
    # A kernel that nobody has used for so long ends; its files stay, its variables don't.
    idle_timeout_s: float = 900
    # From the interrupt to the kill. Code that is stuck in a library longer than this loses its variables.
    interrupt_grace_s: float = 0.3
    # From the start of a kernel until it answers.
    start_timeout_s: float = 60
    # From the start of a cell or command, its turn come and its kernel there, until it is stopped.
    execution_timeout_s: float = 300


class Status(StrEnum):
    """How an execution ended."""

    SUCCEEDED = "succeeded"
    # The code raised, or the command's exit code is not 0.
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    INTERRUPTED = "interrupted"
    # The process is gone: a limit, a crash, its own doing. `Outcome.error` says which.
    DIED = "died"


@dataclass(frozen=True, kw_only=True, slots=True)
class Image:
    """A picture whose form and size were checked; nothing of it but pixels was kept."""

    mime: Literal["image/png", "image/jpeg"]
    content: bytes
    width_px: int
    height_px: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Html:
    """Markup as foreign code made it: unsafe until somebody has sanitised it."""

    untrusted: str


@dataclass(frozen=True, kw_only=True, slots=True)
class WorkFile:
    """A regular file in the work folder, named relative to it. Open it with `WorkFolder.open`, never by a path."""

    name: str
    size_bytes: int
    is_new: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What one execution came to. Text is without control sequences, bounded, and foreign."""

    status: Status
    # The value of the cell's last expression, as text; empty when there is none.
    result: str = ""
    # The traceback, or in words why it ended; empty when it succeeded.
    error: str = ""
    html: tuple[Html, ...] = ()
    images: tuple[Image, ...] = ()
    files: tuple[WorkFile, ...] = ()
    # What was left out and why, one sentence each, to show to the person and to the model.
    notes: tuple[str, ...] = ()
    # Whether the next execution finds the variables of this one.
    has_kept_variables: bool = True
    # Of a shell command; None for Python, and when it did not end by itself.
    exit_code: int | None = None
    duration_s: float = 0


class SandboxError(AgentsiteError):
    """The sandbox could not do it."""


class SandboxUnavailableError(SandboxError):
    """Code can't be executed safely on this machine."""


class SandboxStartError(SandboxError):
    """A kernel did not start."""


class SandboxFullError(SandboxError):
    """All kernels are busy; try again in a moment."""
