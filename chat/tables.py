"""Tables and text in HTML that foreign code made, so that they can be kept and shown on the page.

Two steps, in this order. What is there is written anew: tables, rows, cells and a few marks in text, within an extent,
never deep, in time that grows with its length alone. Then nh3 has the last word on what a browser may be given.
Knows HTML. Must not know who made it or where it is shown. Call it in a thread when the text may be long.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import nh3

MARKS = frozenset({"b", "strong", "i", "em", "u", "s", "sub", "sup", "small", "code", "kbd"})
_SECTIONS = frozenset({"thead", "tbody", "tfoot"})
_CELLS = frozenset({"td", "th"})
_SCOPES = frozenset({"row", "col", "rowgroup", "colgroup"})
# Marks within each other.
_MARKS_DEPTH_MAX = 8
CELL_MAX_CHARACTERS = 1_000

# Each begins where the one before ended, and none looks at a character more than a few times.
_TOKEN = re.compile(
    r"""
    <!--.*?(?:-->|\Z)
  | <(?P<unseen>script|style|title|template|noscript|svg|math|iframe|object|select|textarea|button|video|audio|canvas)
    \b.*?(?:</(?P=unseen)\s*>|\Z)
  | <(?P<end>/?)(?P<name>[a-z][a-z0-9]*)(?P<attributes>[^<>]*)>
  | <[!?/][^<>]*>
  | (?P<text>[^<]+|<)
    """,
    re.DOTALL | re.IGNORECASE | re.VERBOSE,
)
_ATTRIBUTE = re.compile(r"\b(colspan|rowspan|scope)\s*=\s*[\"']?\s*(\w{1,8})", re.IGNORECASE)
_BARE_AMPERSAND = re.compile(r"&(?!#?\w{1,31};)")
_ENTITY_CUT_OFF = re.compile(r"&#?\w{0,31}\Z")
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_TAG = re.compile(r"<[^>]*>")
# They stand on lines of their own.
# fmt: off
_BLOCKS = frozenset((
    "address", "article", "aside", "blockquote", "center", "dd", "details", "div", "dl", "dt", "figcaption", "figure",
    "footer", "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre",
    "section", "summary", "ul",
))
# fmt: on


@functools.cache
def _cleaner() -> nh3.Cleaner:
    # Here, because most sites show no table for days, and it takes 1.7 MB.
    import nh3  # noqa: PLC0415

    return nh3.Cleaner(
        tags={*MARKS, *_SECTIONS, *_CELLS, "table", "caption", "colgroup", "col", "tr", "p", "br"},
        attributes={"td": {"colspan", "rowspan"}, "th": {"colspan", "rowspan", "scope"}},
        attribute_filter=lambda _, name, value: (
            value if value in _SCOPES or (name != "scope" and value.isdigit()) else None
        ),
        clean_content_tags={"script", "style"},
        link_rel=None,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Extent:
    """How much of each table is kept. characters_max: of all that is written; a last row may go beyond."""

    rows_max: int
    columns_max: int
    characters_max: int


# What a person looks through on the page.
INLINE = Extent(rows_max=200, columns_max=50, characters_max=50_000)
# What a person opens in a program for tables.
WHOLE = Extent(rows_max=100_000, columns_max=1_000, characters_max=5_000_000)
# The last row and the note below it fit, so that nothing is left out a second time.
_KEPT = Extent(rows_max=INLINE.rows_max, columns_max=INLINE.columns_max, characters_max=120_000)


def harmless(markup: str, extent: Extent = INLINE) -> str:
    """The tables and the text of some HTML, as HTML that can do nothing but be looked at; empty when there is nothing
    to see. What is left out of a table is counted below it.
    """
    writer = _Writer(extent)
    _read(_CONTROLS.sub("", markup.encode(errors="replace").decode()), writer)
    clean = _cleaner().clean(writer.finished())
    return clean if _TAG.sub("", clean).strip() else ""


@functools.lru_cache(maxsize=64)
def shown(kept: str) -> str:
    """The same for what was kept, which may not be what was written: whoever got at the database must not get at
    people's browsers.
    """
    return harmless(kept, _KEPT)


def _read(markup: str, writer: _Writer) -> None:
    for token in _TOKEN.finditer(markup):
        text, name = token["text"], token["name"]
        if text:
            writer.text(text)
        elif name and token["end"]:
            writer.end(name.lower())
        elif name:
            writer.start(name.lower(), token["attributes"])


class _Writer:
    """Writes HTML whose every tag it has opened and closed itself, as a browser would write it down again: what was
    written once comes out the same when it is read and written anew.
    """

    def __init__(self, extent: Extent) -> None:
        self._extent = extent
        self._out: list[str] = []
        self._length = 0
        self._marks: list[str] = []
        self._has_paragraph = False
        # The text that stands here has no room any more.
        self._is_cut = False
        self._table: _Table | None = None
        # Tables within cells are text.
        self._inner_tables = 0

    def text(self, text: str) -> None:
        """Some text, whose entities stay as they are."""
        if not self._opens_text(is_blank=not text.strip()) or self._is_cut:
            return
        text = _BARE_AMPERSAND.sub("&amp;", text).replace("<", "&lt;").replace(">", "&gt;").replace("\xa0", "&nbsp;")
        room = self._room()
        if len(text) > room:
            self._is_cut = True
            text = f"{_ENTITY_CUT_OFF.sub('', text[: max(room, 0)])}…"
        self._write(text)

    def start(self, name: str, attributes: str) -> None:
        """A start tag."""
        table = self._table
        if name in MARKS:
            if len(self._marks) < _MARKS_DEPTH_MAX and self._opens_text(is_blank=True) and self._room() > 0:
                self._marks.append(name)
                self._write(f"<{name}>")
        elif name == "br":
            if self._opens_text(is_blank=True) and self._room() > 0:
                self._write("<br>")
        elif name == "table" and table is None:
            self._close_paragraph()
            if self._length < self._extent.characters_max:
                self._table = _Table(self._extent)
                self._is_cut = False
                self._write("<table>")
        elif name == "table":
            self._inner_tables += 1
            self._break()
        elif table is None or self._inner_tables:
            if name in _BLOCKS or name in _CELLS or name == "tr":
                self._break()
        else:
            self._start_in_table(table, name, attributes)

    def end(self, name: str) -> None:
        """An end tag."""
        table = self._table
        if name in self._marks:
            self._close_marks(down_to=self._marks.index(name))
        elif name == "table" and table is not None:
            if self._inner_tables:
                self._inner_tables -= 1
                self._break()
            else:
                self._close_table(table, is_whole=True)
        elif table is None or self._inner_tables:
            if name in _BLOCKS:
                self._break()
        elif name in _CELLS or name == "caption":
            self._close_cell(table)
        elif name == "tr":
            self._close_row(table)
        elif name in _SECTIONS:
            self._close_section(table)
        elif name in _BLOCKS:
            self._break()

    def finished(self) -> str:
        """All of it."""
        if self._table is not None:
            self._close_table(self._table, is_whole=False)
        self._close_paragraph()
        return "".join(self._out)

    def _start_in_table(self, table: _Table, name: str, attributes: str) -> None:
        is_full = self._length >= self._extent.characters_max
        if name in _CELLS:
            self._close_cell(table)
            if not table.has_row:
                self._open_row(table, is_full=is_full)
            opened = table.open_cell(name, dict(_ATTRIBUTE.findall(attributes.lower())))
            if opened:
                self._open_cell(table, opened)
        elif name == "tr":
            self._close_row(table)
            self._open_row(table, is_full=is_full)
        elif name in _SECTIONS:
            self._close_section(table)
            if not is_full:
                table.section = name
                self._write(f"<{name}>")
        elif name == "caption" and not table.has_begun and not table.cell:
            table.cell = name
            self._open_cell(table, "<caption>")
        elif name in _BLOCKS:
            self._break()

    def _opens_text(self, *, is_blank: bool) -> bool:
        """Whether text can stand here; outside of tables it makes itself a paragraph."""
        if self._table is not None:
            return bool(self._table.cell)
        if not self._has_paragraph and not is_blank and self._room() > 0:
            self._has_paragraph = True
            self._write("<p>")
        return self._has_paragraph

    def _room(self) -> int:
        """Characters that still fit here."""
        if self._is_cut:
            return 0
        if self._table is not None:
            return self._table.cell_from + CELL_MAX_CHARACTERS - self._length
        return self._extent.characters_max - self._length

    def _break(self) -> None:
        """What follows stands apart from what was before."""
        if self._table is None:
            self._close_paragraph()
        elif self._table.cell and self._room() > 0:
            self._write(" ")

    def _write(self, piece: str) -> None:
        self._out.append(piece)
        self._length += len(piece)

    def _close_marks(self, down_to: int = 0) -> None:
        while len(self._marks) > down_to:
            self._write(f"</{self._marks.pop()}>")

    def _close_paragraph(self) -> None:
        self._close_marks()
        if self._has_paragraph:
            self._has_paragraph = False
            self._write("</p>")

    def _open_row(self, table: _Table, *, is_full: bool) -> None:
        if table.open_row(is_full=is_full):
            if not table.section:
                table.section = "tbody"
                self._write("<tbody>")
            self._write("<tr>")

    def _open_cell(self, table: _Table, tag: str) -> None:
        self._write(tag)
        table.cell_from = self._length
        self._is_cut = False

    def _close_cell(self, table: _Table) -> None:
        self._close_marks()
        if table.cell:
            self._write(f"</{table.cell}>")
            table.cell = ""

    def _close_row(self, table: _Table) -> None:
        self._close_cell(table)
        if table.has_row and table.is_row_shown:
            self._write("</tr>")
        table.has_row = False

    def _close_section(self, table: _Table) -> None:
        self._close_row(table)
        if table.section:
            self._write(f"</{table.section}>")
            table.section = ""

    def _close_table(self, table: _Table, *, is_whole: bool) -> None:
        self._close_section(table)
        self._write("</table>")
        note = table.note(is_whole=is_whole)
        if note:
            self._write(f"<p>{note}</p>")
        self._table = None
        self._inner_tables = 0


class _Table:
    """Where the writer is in a table, and what of it is left out.

    section, cell: names of what is open; empty when nothing is, or nothing that is shown.
    """

    def __init__(self, extent: Extent) -> None:
        self._extent = extent
        self.section = self.cell = ""
        self.cell_from = 0
        self.has_row = self.is_row_shown = False
        self._rows = self._rows_shown = 0
        self._columns = self._columns_max = self._columns_shown = 0
        # The width of cells that reach into rows to come, and how much of it ends before which row.
        self._hanging = 0
        self._ending: dict[int, int] = {}

    @property
    def has_begun(self) -> bool:
        """Whether there was a row."""
        return self._rows > 0

    def open_row(self, *, is_full: bool) -> bool:
        """Whether it is shown. is_full: there is no room for it."""
        self.has_row = True
        self._rows += 1
        self.is_row_shown = not is_full and self._rows_shown < self._extent.rows_max
        if self.is_row_shown:
            self._rows_shown += 1
        self._hanging -= self._ending.pop(self._rows, 0)
        self._columns = self._hanging
        return self.is_row_shown

    def open_cell(self, name: str, attributes: dict[str, str]) -> str:
        """Its start tag; empty when it is not shown."""
        width, height = (_span(attributes.get(span, "")) for span in ("colspan", "rowspan"))
        at = self._columns
        self._columns += width
        self._columns_max = max(self._columns_max, self._columns)
        width = min(width, self._extent.columns_max - at)
        if not self.is_row_shown or width < 1:
            return ""
        self._columns_shown = max(self._columns_shown, at + width)
        height = min(height, self._extent.rows_max)
        if height > 1:
            self._hanging += width
            self._ending[self._rows + height] = self._ending.get(self._rows + height, 0) + width
        self.cell = name
        spans = "".join(f' {kind}="{span}"' for kind, span in (("colspan", width), ("rowspan", height)) if span > 1)
        scope = attributes.get("scope", "")
        return f'<{name}{spans} scope="{scope}">' if name == "th" and scope in _SCOPES else f"<{name}{spans}>"

    def note(self, *, is_whole: bool) -> str:
        """How much is left out, in words; empty when nothing is. is_whole: the end of the table was seen."""
        parts = []
        at_least = "" if is_whole else "at least "
        if self._rows_shown < self._rows or (self._rows and not is_whole):
            parts.append(f"{self._rows_shown:,} of {at_least}{self._rows:,} rows")
        if self._columns_shown < self._columns_max:
            parts.append(f"{self._columns_shown:,} of {self._columns_max:,} columns")
        return f"Shown: {', '.join(parts)}." if parts else ""


def _span(text: str) -> int:
    """At most what browsers take."""
    return min(max(int(text), 1), 1_000) if text.isascii() and text.isdigit() else 1
