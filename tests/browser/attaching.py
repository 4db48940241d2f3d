"""How a person brings files to the page: the ways in, and what the composer then shows of them.

Knows the composer's markup. Must not know what becomes of a file on the server.
"""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

from playwright.sync_api import FilePayload, Locator, expect

from tests.browser.visitor import Tab

# Where the composer says why nothing was sent.
NUDGE = "#length"

# Builds what the browser builds from a drag or from the clipboard, and lets it happen.
TRANSFER = """([kind, files, text]) => {
  const transfer = new DataTransfer();
  for (const { name, type, data } of files) {
    const bytes = Uint8Array.from(atob(data), (sign) => sign.charCodeAt(0));
    transfer.items.add(new File([bytes], name, { type }));
  }
  if (text) transfer.items.add(text, "text/plain");
  const target = document.querySelector("#composer textarea");
  const fire = (event) => target.dispatchEvent(event);
  const options = { bubbles: true, cancelable: true };
  if (kind === "paste") return fire(new ClipboardEvent("paste", { ...options, clipboardData: transfer }));
  return fire(new DragEvent(kind, { ...options, dataTransfer: transfer }));
}"""


def file(name: str, content: bytes = b"a,b\n1,2\n", kind: str = "") -> FilePayload:
    """A file as the browser has it."""
    return {"name": name, "mimeType": kind, "buffer": content}


def picture(width: int = 8, height: int = 8, colour: bytes = b"\x0c\x66\x70") -> bytes:
    """A PNG of one colour."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    rows = (b"\0" + colour * width) * height
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def pick(tab: Tab, files: Sequence[FilePayload] | Path) -> None:
    """By the button and the system's own dialog."""
    with tab.page.expect_file_chooser() as chooser:
        tab.page.locator("#attach").click()
    chooser.value.set_files(files if isinstance(files, Path) else list(files))


def drop(tab: Tab, *files: FilePayload) -> None:
    """By dragging over the page and letting go."""
    _transfer(tab, "dragover", files)
    assert tab.root.get_attribute("data-local-drop") is not None
    _transfer(tab, "drop", files)
    assert tab.root.get_attribute("data-local-drop") is None


def paste(tab: Tab, *files: FilePayload, text: str = "") -> None:
    """From the clipboard, with the text that lies beside the files."""
    _transfer(tab, "paste", files, text)


def _transfer(tab: Tab, kind: str, files: Sequence[FilePayload], text: str = "") -> None:
    sent = [
        {"name": each["name"], "type": each["mimeType"], "data": base64.b64encode(each["buffer"]).decode()}
        for each in files
    ]
    tab.page.evaluate(TRANSFER, [kind, sent, text])


def chips(tab: Tab, state: str = "") -> Locator:
    """The files beside the text that is written, in a state."""
    return tab.page.locator(f'#attachments li[data-state="{state}"]' if state else "#attachments li")


def expect_ready(tab: Tab, *names: str) -> None:
    """Wait until exactly these files are there and uploaded."""
    expect(chips(tab, "ready").locator(".file-name")).to_have_text(list(names))
    expect(chips(tab)).to_have_count(len(names))


def attached(tab: Tab) -> list[str]:
    """The names of the files on the user's messages."""
    return tab.articles("user").locator(".attached .file-name").all_text_contents()
