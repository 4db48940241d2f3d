"""Markdown that is still being written, as HTML that is appended and replaced.

Knows: what of the page is up to date, and which operations bring the rest. Must not know: Markdown, who writes,
who reads, time, sockets, templates; the caller names the elements.

A page drawn afresh in mid-stream is the page that was built step by step.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from chat.render.blocks import Blocks
from chat.render.markdown import normalize
from chat.render.open_block import View


@dataclass(frozen=True, slots=True, kw_only=True)
class Append:
    """Put `html` at the end of the element of `place`."""

    place: str
    html: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Replace:
    """Make `html` the inside of the element of `place`."""

    place: str
    html: str


Operation = Append | Replace


@dataclass(slots=True, kw_only=True)
class _Shown:
    """What the page shows of one view."""

    key: str
    head: str
    # How many pieces of what grows.
    grown: int
    live: "str | _Shown"


class MarkdownStream:
    """A text that grows.

    Places: "settled" and "tail" are the caller's elements; "grown-1", "live-1", "grown-2" and so on are inside the
    tail. The element of a place has the id `f"{prefix}-{place}"`.
    """

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._blocks = Blocks()
        # A carriage return at the end of the last text: the next may begin with its newline.
        self._held_return = False
        self._shown = _Shown(key="", head="", grown=0, live="")

    @property
    def settled(self) -> Sequence[str]:
        """HTML of finished top-level blocks; only ever appended to."""
        return self._blocks.settled

    @property
    def is_stale(self) -> bool:
        """Whether a link was used before it was defined: the end result is then `render` of the whole text."""
        return self._blocks.is_stale

    @property
    def tail_cost(self) -> int:
        """Characters that the next flush may have to parse again: flush less often while it is large."""
        return self._blocks.cost

    def feed(self, text: str) -> None:
        """The text goes on with `text`."""
        if self._held_return:
            text = "\r" + text
        self._held_return = text.endswith("\r")
        self._blocks.feed(normalize(text[:-1] if self._held_return else text))

    def flush(self) -> tuple[Operation, ...]:
        """What brings a page that had everything up to the last flush up to date."""
        whole = _Whole(grown=self._blocks.settled, live=self._blocks.view())
        return tuple(self._update(whole, self._shown, 0))

    def tail(self) -> str:
        """HTML of what is not settled, as far as it was fed. For a page that joins now; `flush` to the others first."""
        return self._html(self._blocks.view(), 1)

    def finish(self) -> tuple[Operation, ...]:
        """The text is complete: settle the rest. Look at `is_stale` afterwards."""
        if self._held_return:
            self._held_return = False
            self._blocks.feed("\n")
        self._blocks.finish()
        return self.flush()

    def _update(self, view: "_Level", shown: _Shown, level: int) -> Iterator[Operation]:
        if len(view.grown) > shown.grown:
            yield Append(place=_place("grown", level), html="".join(view.grown[shown.grown :]))
            shown.grown = len(view.grown)
        live, old = view.live, shown.live
        if isinstance(live, View):
            if isinstance(old, _Shown) and old.key == live.key and old.head == live.head:
                yield from self._update(live, old, level + 1)
            else:
                yield Replace(place=_place("live", level), html=self._html(live, level + 1))
                shown.live = _shown(live)
            return
        if isinstance(old, str) and old and live.startswith(old):
            if len(live) > len(old):
                yield Append(place=_place("live", level), html=live[len(old) :])
        elif live != old:
            yield Replace(place=_place("live", level), html=live)
        shown.live = live

    def _html(self, view: str | View, level: int) -> str:
        if isinstance(view, str):
            return view
        opening, closing = f'<{view.tag}{view.attributes} id="{self._prefix}-', f"</{view.tag}>"
        grown = f'{opening}{_place("grown", level)}">{"".join(view.grown)}{closing}'
        live = f'{opening}{_place("live", level)}">{self._html(view.live, level + 1)}{closing}'
        return view.head + grown + live + view.foot


class _Level(Protocol):
    """What has a place that grows and a place that is drawn again: a view, and the whole."""

    @property
    def grown(self) -> Sequence[str]: ...

    @property
    def live(self) -> str | View: ...


class _Whole(NamedTuple):
    grown: Sequence[str]
    live: str | View


def _place(name: str, level: int) -> str:
    if level == 0:
        return "settled" if name == "grown" else "tail"
    return f"{name}-{level}"


def _shown(view: View) -> _Shown:
    live = _shown(view.live) if isinstance(view.live, View) else view.live
    return _Shown(key=view.key, head=view.head, grown=len(view.grown), live=live)
