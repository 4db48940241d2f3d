"""The sandbox of this process, for the tools that execute code, and what they make of its outcomes.

Knows how outcomes become results for the model and files for the person. Must not know conversations or approvals.
"""

from __future__ import annotations

import asyncio
import mimetypes
import re
from collections.abc import Sequence

from chat.tables import WHOLE, harmless
from chat.tools.registry import ToolContext, ToolFailedError, ToolFile, ToolResult
from chat.tools.sandbox import images
from chat.tools.sandbox.availability import Unavailable
from chat.tools.sandbox.folder import NoSuchFileError, WorkFolder
from chat.tools.sandbox.pool import Sandbox
from chat.tools.sandbox.values import Html, Outcome, Status, Stream

# Files above this stay in the work folder, where code can still read them.
FILE_KEPT_MAX_BYTES = 32 << 20

# Of pictures whose structure is not checked any further.
_BEGINNINGS = {"image/gif": re.compile(rb"GIF8[79]a"), "image/webp": re.compile(rb"RIFF.{4}WEBP", re.DOTALL)}

_sandbox: Sandbox | None = None


def open_for(sandbox: Sandbox | None) -> None:
    """From now on tools execute here; None: nowhere."""
    global _sandbox  # noqa: PLW0603 - one for the process, opened and closed by its wiring
    _sandbox = sandbox


def why_off() -> str:
    """Why code can't be executed in this process, and what to do about it; empty when it can, or that is not known."""
    available = _sandbox.availability if _sandbox is not None else None
    return f"{available.reason} {available.remedy}" if isinstance(available, Unavailable) else ""


async def sandbox() -> Sandbox:
    """Where code is executed. Raises ToolFailedError, which says why and what to install, when it can't be."""
    found = _sandbox
    if found is None:
        raise ToolFailedError("Code can't be executed: the site is not running.")
    # A call may come while the site still comes up.
    available = await found.known_availability()
    if isinstance(available, Unavailable):
        raise ToolFailedError(f"Code execution is off. {available.reason} {available.remedy}")
    return found


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


async def result_of(folder: WorkFolder, outcome: Outcome, heard: Listener) -> ToolResult:
    """What the model is told, and the files for the person. folder: where the outcome's files lie."""
    files = [
        ToolFile(name=f"image-{number}.{image.mime.partition('/')[2]}", mime=image.mime, data=image.content)
        for number, image in enumerate(outcome.images, start=1)
    ]
    tables = await asyncio.to_thread(_tables, outcome.html)
    files += tables
    files += await asyncio.to_thread(_read, folder, [file.name for file in outcome.files])
    parts = [heard.text.rstrip(), outcome.result, outcome.error.rstrip(), *outcome.notes]
    if len(tables) < len(outcome.html):
        parts.append("Some HTML is not shown: without its scripts, styles and pictures there is nothing to see.")
    if outcome.exit_code:
        parts.append(f"Exit code {outcome.exit_code}.")
    if not outcome.has_kept_variables:
        parts.append("The kernel was restarted: its variables are gone.")
    if files:
        parts.append(f"Shown to the user: {', '.join(file.name for file in files)}")
    text = "\n".join(part for part in parts if part)
    return ToolResult(text=text, files=tuple(files), has_failed=outcome.status is not Status.SUCCEEDED)


def _tables(found: Sequence[Html]) -> list[ToolFile]:
    """Tables for the card, and as files that open anywhere."""
    files: list[ToolFile] = []
    for html in found:
        whole = harmless(html.untrusted, WHOLE)
        if whole:
            data = f'<!doctype html>\n<meta charset="utf-8">\n{whole}\n'.encode()
            name = f"table-{len(files) + 1}.html"
            files.append(ToolFile(name=name, mime="text/html", data=data, html=html.untrusted))
    return files


def _read(folder: WorkFolder, names: Sequence[str]) -> list[ToolFile]:
    files: list[ToolFile] = []
    for name in names:
        try:
            opened, size = folder.open(name)
        except NoSuchFileError:
            # Gone again, or something that is no file.
            continue
        with opened:
            if size <= FILE_KEPT_MAX_BYTES:
                data = opened.read(FILE_KEPT_MAX_BYTES)
                files.append(ToolFile(name=name, mime=_kind(name, data), data=data))
    return files


def _kind(name: str, data: bytes) -> str:
    """What a file is by its name, unless that says picture and it is none: that would be shown, and broken."""
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
    beginning = _BEGINNINGS.get(kind)
    if beginning is not None:
        return kind if beginning.match(data) else "application/octet-stream"
    if kind in {"image/png", "image/jpeg"}:
        try:
            return images.verified(data).mime
        except images.NoImageError:
            return "application/octet-stream"
    return kind
