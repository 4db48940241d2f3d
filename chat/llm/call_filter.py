"""Brings the calls of both dialects together: those in their own field, and those inside of the text.

Knows what both may say about one answer. Must not know the network, or how either is decoded.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

from chat.llm.call_ids import CallIds
from chat.llm.port import Chunk, Ended, Notice, Text, ToolCall
from chat.llm.text_calls import CallParser


class CallFilter:
    """Takes the chunks of a decoder and passes them on, with the calls of the text in the place of their words.

    Some servers leave a call in the text and give it in its own field too: that is one call, not two.
    """

    __slots__ = ("_ids", "_in_text", "_parser")

    def __init__(self, parser: CallParser | None, ids: CallIds) -> None:
        """parser: None when the model was told of no tools; its text is then nothing but text. ids: of all calls."""
        self._parser = parser
        self._ids = ids
        self._in_text: Counter[tuple[str, str]] = Counter()

    def take(self, fresh: Iterable[Chunk], chunks: list[Chunk]) -> None:
        """Append what follows from fresh chunks."""
        texts: list[str] = []
        for chunk in fresh:
            if isinstance(chunk, Text) and self._parser is not None:
                texts.append(chunk.text)
                continue
            self._read(texts, chunks)
            if isinstance(chunk, ToolCall | Notice | Ended):
                # A decoder says these when no text comes any more.
                if self._parser is not None:
                    self._append(self._parser.end(), chunks)
                if not isinstance(chunk, ToolCall):
                    chunks.append(chunk)
                elif not self._is_repeated(chunk):
                    chunks.append(replace(chunk, call_id=self._ids.take(chunk.call_id)))
            else:
                chunks.append(chunk)
        self._read(texts, chunks)

    def _read(self, texts: list[str], chunks: list[Chunk]) -> None:
        """Look through texts that came together as one; with many tokens at a time, a look costs more than the text."""
        if texts and self._parser is not None:
            self._append(self._parser.feed("".join(texts)), chunks)
            texts.clear()

    def abandon(self, chunks: list[Chunk]) -> None:
        """The answer broke off: append the text that was held back."""
        if self._parser is not None:
            self._append(self._parser.abandon(), chunks)

    def _append(self, parsed: list[Chunk], chunks: list[Chunk]) -> None:
        for chunk in parsed:
            if isinstance(chunk, ToolCall):
                self._in_text[_meaning(chunk)] += 1
        chunks += parsed

    def _is_repeated(self, call: ToolCall) -> bool:
        if not self._in_text:
            return False
        meaning = _meaning(call)
        if not self._in_text[meaning]:
            return False
        self._in_text[meaning] -= 1
        return True


def _meaning(call: ToolCall) -> tuple[str, str]:
    """What two calls have in common that are the same."""
    try:
        return call.name, json.dumps(json.loads(call.arguments or "{}", strict=False), sort_keys=True)
    except (ValueError, RecursionError):
        return call.name, call.arguments
