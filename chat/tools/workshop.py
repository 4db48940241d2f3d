"""The sandbox of this process, for the tools that execute code, and what they make of its outcomes.

Knows how outcomes become results for the model and files for the person. Must not know conversations or approvals.
"""

from __future__ import annotations

import asyncio
import mimetypes
from collections.abc import Sequence

from chat.tools.registry import ToolContext, ToolFailedError, ToolFile, ToolResult
from chat.tools.sandbox.availability import Unavailable
from chat.tools.sandbox.folder import NoSuchFileError
from chat.tools.sandbox.pool import Sandbox
from chat.tools.sandbox.values import Outcome, Status, Stream

# Files above this stay in the work folder, where code can still read them.
FILE_KEPT_MAX_BYTES = 32 << 20

_sandbox: Sandbox | None = None


def open_for(sandbox: Sandbox | None) -> None:
    """From now on tools execute here; None: nowhere."""
    global _sandbox  # noqa: PLW0603 - one for the process, opened and closed by its wiring
    _sandbox = sandbox


def sandbox() -> Sandbox:
    """Where code is executed. Raises ToolFailedError, which says why and what to install, when it can't be."""
    if _sandbox is None:
        raise ToolFailedError("Code can't be executed: the site is not running.")
    available = _sandbox.availability
    if isinstance(available, Unavailable):
        raise ToolFailedError(f"Code execution is off. {available.reason} {available.remedy}")
    return _sandbox


class Listener:
    """Passes output on as it comes, and keeps it for the model."""

    def __init__(self, context: ToolContext) -> None:
        self._context = context
        self._pieces: list[str] = []

    def __call__(self, stream: Stream, text: str) -> None:
        """More output."""
        self._pieces.append(text)
        self._context.output(text, stream=stream)

    @property
    def text(self) -> str:
        """All of it."""
        return "".join(self._pieces)


async def result_of(context: ToolContext, outcome: Outcome, heard: Listener) -> ToolResult:
    """What the model is told, and the files for the person."""
    files = [
        ToolFile(name=f"image-{number}.{image.mime.partition('/')[2]}", mime=image.mime, data=image.content)
        for number, image in enumerate(outcome.images, start=1)
    ]
    files += await asyncio.to_thread(_read, str(context.conversation_id), [file.name for file in outcome.files])
    parts = [heard.text.rstrip(), outcome.result, outcome.error.rstrip(), *outcome.notes]
    if outcome.exit_code:
        parts.append(f"Exit code {outcome.exit_code}.")
    if not outcome.has_kept_variables:
        parts.append("The kernel was restarted: its variables are gone.")
    if files:
        parts.append(f"Shown to the user: {', '.join(file.name for file in files)}")
    text = "\n".join(part for part in parts if part)
    return ToolResult(text=text, files=tuple(files), has_failed=outcome.status is not Status.SUCCEEDED)


def _read(conversation: str, names: Sequence[str]) -> list[ToolFile]:
    folder = sandbox().folder(conversation)
    files: list[ToolFile] = []
    for name in names:
        try:
            opened, size = folder.open(name)
        except NoSuchFileError:
            # Gone again, or something that is no file.
            continue
        with opened:
            if size <= FILE_KEPT_MAX_BYTES:
                kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
                files.append(ToolFile(name=name, mime=kind, data=opened.read(FILE_KEPT_MAX_BYTES)))
    return files
