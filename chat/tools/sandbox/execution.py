"""What one execution has said so far: checked, cut to size, and handed on as it comes.

Knows limits and what is left out, in words. Must not know where the messages come from.
"""

from __future__ import annotations

import logging
import re

from chat.tools.sandbox import images
from chat.tools.sandbox.messages import (
    TRACEBACK_LINES_MAX,
    Content,
    Display,
    Raised,
    Reply,
    Result,
    Shown,
    State,
    Stream,
)
from chat.tools.sandbox.values import Html, Image, Limits, OnOutput
from chat.tools.sandbox.values import Stream as StreamName

logger = logging.getLogger(__name__)

# Colours and cursor movements (CSI), titles and links (OSC), other two-character sequences.
_ESCAPES = re.compile(r"\x1b\[[0-?]{0,32}[ -/]{0,4}[@-~]|\x1b\][^\x07\x1b]{0,2000}(?:\x07|\x1b\\)|\x1b[@-Z\\^_=>]")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\x80-\x9f]")
_HTML_MAX = 20


def plain(text: str) -> str:
    """Text without control sequences and control characters, other than line breaks and tabs; always valid Unicode."""
    text = _ESCAPES.sub("", text).replace("\r\n", "\n").replace("\r", "\n")
    return _CONTROLS.sub("", text).encode(errors="replace").decode()


class Collector:
    """Gathers one execution's output within its limits."""

    def __init__(self, limits: Limits, on_output: OnOutput) -> None:
        self._limits = limits
        self._on_output = on_output
        self._output_chars = 0
        self.result = ""
        self.error = ""
        self.has_raised = False
        self._html_chars = 0
        self.html: list[Html] = []
        self.images: list[Image] = []
        # In the order of their first appearance, each once.
        self.notes: dict[str, None] = {}

    def note(self, sentence: str) -> None:
        """Say that something was left out."""
        self.notes[sentence] = None

    def say(self, stream: StreamName, text: str) -> None:
        """Hand on a piece of output, as far as there is room."""
        room = self._limits.output_max_chars - self._output_chars
        if len(text) > room:
            self.note(f"Output was cut after {self._limits.output_max_chars:,} characters.")
            text = text[:room]
        self._output_chars += len(text)
        text = plain(text)
        if text:
            try:
                self._on_output(stream, text)
            except Exception:
                # Whoever listens must not be able to leave a process behind.
                logger.exception("A listener to the sandbox's output failed")

    def take(self, content: Content) -> None:
        """Take in what the kernel says."""
        match content:
            case Stream(name=name, text=text):
                self.say(name, text)
            case Display(data=data):
                self._show(data, is_result=False)
            case Result(data=data):
                self._show(data, is_result=True)
            case Raised():
                self.has_raised = True
                self.error = self._bounded("\n".join(content.traceback[-TRACEBACK_LINES_MAX:]), "The traceback")
                self.error = self.error or f"{plain(content.ename)}: {plain(content.evalue)}"[:1000]
            case State() | Reply():
                pass

    def _show(self, data: Shown, *, is_result: bool) -> None:
        is_picture = False
        for encoded in filter(None, (data.png, data.jpeg)):
            if len(self.images) == self._limits.images_max:
                self.note(f"Only the first {self._limits.images_max} images are shown.")
                break
            try:
                self.images.append(images.from_base64(encoded, max_bytes=self._limits.image_max_bytes))
                is_picture = True
            except images.NoImageError as fault:
                self.note(f"An image was left out: {fault}.")
        if data.html and not is_picture:
            self._keep_html(data.html)
        if is_result:
            self.result = self._bounded(data.text, "The result")
        elif data.text and not is_picture:
            # Of what has HTML, too: the model reads text.
            self.say("stdout", f"{data.text}\n")

    def _keep_html(self, html: str) -> None:
        room = self._limits.html_max_chars - self._html_chars
        if room < 1 or len(self.html) == _HTML_MAX:
            self.note("There was more HTML than can be shown: of the rest, only its text is there.")
            return
        # A table without its end is shown as far as it goes, and says so.
        html = html[:room]
        self._html_chars += len(html)
        self.html.append(Html(untrusted=html.encode(errors="replace").decode()))

    def _bounded(self, text: str, what: str) -> str:
        if len(text) > self._limits.result_max_chars:
            self.note(f"{what} was cut after {self._limits.result_max_chars:,} characters.")
            text = text[: self._limits.result_max_chars]
        return plain(text)
