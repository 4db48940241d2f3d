"""Where the blocks of a growing text begin and end.

Knows: lines, which blocks can't change any more, and which block is open. Must not know: how a page is kept up
to date, line endings other than a newline.

Blocks settle on complete lines only: a part of a line can still change what the lines before it are, unless it begins
with a letter after a blank one. They are then rendered once, for good. Everything here depends on the text so far
alone, never on how it was cut.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final

from markdown_it.token import Token

from chat.render.last_line import LastLine
from chat.render.markdown import Definitions, Environment, first_line, first_tokens, parse_blocks, render_blocks
from chat.render.open_block import (
    BLOCK_START,
    LETTER,
    LIST_ITEM,
    MARKS_ONLY,
    TEXT_ITEM,
    Fence,
    OpenBlock,
    Paragraph,
    Table,
    View,
    Whole,
    make_tight,
    preview,
)
from chat.render.open_list import List
from chat.render.open_quote import QUOTE_MARK, Quote

# A line that could have begun a block and did not costs a parse of the open block; a large one must grow by a
# quarter before the next such line is looked at.
_PATIENT_CHARS: Final = 8_000

# Blocks that a blank line ends.
_ENDED_BY_BLANK: Final = frozenset(
    ("paragraph_open", "heading_open", "table_open", "blockquote_open", "hr", "math_block", "definition")
)
# Blocks that are complete with their last line.
_COMPLETE: Final = frozenset(("heading_open", "hr", "math_block"))
# A short block of each kind: the parser is asked whether a line begins a new block after it.
_SAMPLES: Final = {
    "paragraph_open": "x\n",
    "definition": "x\n",
    "blockquote_open": "> x\n",
    "table_open": "a|b\n-|-\na|b\n",
    "code_block": "    x\n",
}
_OPENS_MATH: Final = re.compile(r"\s*(?:\$\$|\\\[)")
_BEGINS_WHOLE: Final = re.compile(r" {0,3}(?:#{1,6}(?:\s|$)|\$\$|\\\[)| {4}| {0,3}\t")
# From so many lines at once it is cheaper to look for the last block among them first.
_MANY_LINES: Final = 8
# After a blank line, what a list may take for its own.
_MAY_GO_ON: Final = re.compile(rf"[ \t]|{LIST_ITEM.pattern}")
# Whatever follows, a line that begins with a letter begins a paragraph where no block is open. After a blank line, it
# ends a list where nothing is before the letter.
_BEGINS_PARAGRAPH: Final = re.compile(rf" {{0,3}}{LETTER.pattern}")
# Lists and quotes in one another are drawn whole from this depth on: each level is two more elements in the tail.
_MAX_DEPTH: Final = 6


class Blocks:
    """A text as settled blocks and one that is open."""

    def __init__(self, *, depth: int = 0, is_tight: bool = False) -> None:
        # How many quotes and list items this text is in, and whether its paragraphs are bare text.
        self._depth = depth
        self._is_tight = is_tight
        # HTML of finished top-level blocks; append-only.
        self.settled: list[str] = []
        # Whether a link was used before it was defined.
        self.is_stale = False
        self._definitions = Definitions()
        self._env: Environment = {"references": self._definitions}
        # Complete lines of what is not settled yet, and the one after them.
        self._lines: list[str] = []
        self._lines_chars = 0
        self._last = LastLine()
        self._line_number = 0
        self._block: OpenBlock | None = None
        self._kind = ""
        self._is_after_blank = False
        # Whether the open block is a paragraph of which no line could have begun or become anything else.
        self._is_text_alone = False
        # Whether what settled last was one.
        self._has_settled_text_alone = False
        # No question to the parser before the open block has this many characters.
        self._patience_chars = 0
        # The block that the last line begins, before it is complete; with the HTML of the block before it.
        self._next: tuple[OpenBlock, str] | None = None
        # Whether the last line begins a block, and of how much of it that is known.
        self._known_split = ("", False)

    @property
    def cost(self) -> int:
        """Characters that the next view may have to parse again."""
        block = self._next[0] if self._next is not None else self._block
        if block is None:
            return 0
        return block.cost + (0 if isinstance(block, Paragraph | Fence | Quote | List) else self._last.length)

    def feed(self, text: str) -> None:
        """The text goes on with `text`, of which the only line endings are newlines."""
        first, *others = text.split("\n")
        self._add(first)
        # Else a large open block would be parsed again with each piece of it.
        if len(others) >= _MANY_LINES and self._lines_chars <= len(text):
            others = self._leap(others)
        for other in others:
            self._end_line()
            self._add(other)

    def _leap(self, others: list[str]) -> list[str]:
        """Settle at once what a long piece of text completes, up to a block that begins after a blank line.

        others: the lines after the last one; those that are left are returned. Line by line comes to the same, at twice
        the cost.
        """
        lines = [*self._lines, self._last.text, *others[:-1]]
        definitions: dict[str, Any] = {}
        tokens = parse_blocks(_text(lines), {"references": definitions})
        begins = [at for at, token in enumerate(tokens) if token.level == 0 and token.nesting >= 0]
        starts = [first_line(tokens[at]) for at in begins]
        is_patient = any(
            sum(map(len, lines[start:end])) > _PATIENT_CHARS for start, end in pairwise([*starts, len(lines)])
        )
        # What is defined here is known to what comes after it alone.
        if is_patient or definitions:
            return others
        for at, start in zip(reversed(begins), reversed(starts), strict=True):
            if start <= len(self._lines):
                break
            if not lines[start - 1].strip(" \t") and not _MAY_GO_ON.match(lines[start]):
                begun_at = self._line_number - len(self._lines)
                self._settle_tokens(tokens[:at], definitions)
                self._reset_line()
                self._restart([])
                self._line_number = begun_at + start
                self._add(lines[start])
                return [*lines[start + 1 :], others[-1]]
        return others

    def finish(self) -> None:
        """The text is complete: settle the rest."""
        if self._lines or self._last.length:
            self._settle("\n".join([*self._lines, self._last.text]))
            self._reset_line()
            self._restart([])

    def view(self) -> str | View:
        """What is not settled, as far as it is known."""
        if isinstance(self._block, Fence):
            return self._block.view(self._last.pieces)
        is_held = self._last.is_held
        if is_held or (self._block is not None and not self._splits_off()):
            self._next = None
        elif self._next is None:
            before = preview(_text(self._lines), self._env, is_tight=self._is_tight) if self._lines else ""
            self._next = (self._begun_block(), before)
        if self._next is not None:
            block, before = self._next
            view = block.view(self._last.pieces)
            return before + view if isinstance(view, str) else view._replace(head=before + view.head)
        if self._block is None:
            return ""
        return self._block.view(() if is_held else self._last.pieces)

    def _splits_off(self) -> bool:
        """Whether the last line, as far as it is known, begins a block after the open one."""
        known_head, answer = self._known_split
        if known_head != self._last.head:
            answer = self._asks_to_split()
            self._known_split = (self._last.head, answer)
        return answer

    def _asks_to_split(self) -> bool:
        if not self._may_begin_block(self._last.head):
            return False
        if self._kind == "paragraph_open" and any(_OPENS_MATH.match(line) for line in self._lines):
            return False
        sample = self._block.sample if isinstance(self._block, List) else _SAMPLES.get(self._kind, "")
        if self._is_after_blank:
            sample += "\n"
        firsts = first_tokens(parse_blocks(sample + self._last.head, {"references": {}}))
        return bool(firsts) and first_line(firsts[-1]) == sample.count("\n")

    def _add(self, text: str) -> None:
        if text and self._last.add(text):
            is_next = self._is_after_blank and LETTER.match(self._last.head) is not None
            # Where the list is in doubt, the end of the line asks the parser.
            if is_next and isinstance(self._block, List) and self._block.whole() is not None:
                self._settle_open()

    def _end_line(self) -> None:
        pieces = self._last.pieces
        line = "".join(pieces)
        begun = self._next[0] if self._next is not None and self._block is None else None
        self._reset_line()
        self._line_number += 1
        is_blank = not line.strip(" \t")
        if is_blank and not self._lines:
            return
        self._lines.append(line)
        self._lines_chars += len(line) + 1
        if isinstance(self._block, Fence):
            if self._block.is_closed_by(line):
                self._settle(_text(self._lines))
                self._restart([])
            else:
                self._block.end_line(pieces)
        elif is_blank and self._kind in _ENDED_BY_BLANK:
            self._evaluate(pieces)
        elif is_blank and self._block is not None:
            self._block.end_line(pieces)
            self._is_after_blank = True
        elif self._block is None or self._may_begin_block(line):
            self._is_text_alone = False
            self._evaluate(pieces, begun)
        else:
            self._block.end_line(pieces)
            self._is_after_blank = False

    def _reset_line(self) -> None:
        self._last = LastLine()
        self._next = None
        self._known_split = ("", False)

    def _may_begin_block(self, line: str) -> bool:
        """Cheap and generous: whether to ask the parser if `line` begins a block after the open one."""
        block = self._block
        if isinstance(block, List):
            if block.is_item(line) and not MARKS_ONLY.fullmatch(line):
                return False
            return self._is_after_blank or BLOCK_START.match(line) is not None
        if self._kind in ("paragraph_open", "definition", "table_open"):
            return BLOCK_START.match(line) is not None
        if self._kind == "blockquote_open":
            return not line.lstrip(" ").startswith(">") and BLOCK_START.match(line) is not None
        return True

    def _evaluate(self, pieces: Sequence[str], begun: OpenBlock | None = None) -> None:
        """Ask the parser where the last block begins; settle what is before it.

        begun: the block that `pieces` were shown as, where no other is open.
        """
        if self._lines_chars < self._patience_chars and self._block is not None:
            self._block.end_line(pieces)
            return
        if self._block is None and _BEGINS_PARAGRAPH.match(self._lines[0]):
            self._restart(self._lines, "paragraph_open", begun if isinstance(begun, Paragraph) else None, pieces)
            self._is_text_alone = True
            return
        if self._block is None and (item := TEXT_ITEM.match(self._lines[0])) is not None:
            kind = "bullet_list_open" if item[2] in "-+*" else "ordered_list_open"
            self._restart(self._lines, kind, begun if isinstance(begun, List) else None, pieces)
            return
        if self._is_text_alone:
            self._settle_open()
            return
        definitions: dict[str, Any] = {}
        tokens = parse_blocks(_text(self._lines), {"references": definitions})
        firsts = first_tokens(tokens)
        if not firsts:
            self._restart([])
            return
        last = len(firsts) - 1
        # A definition may still find its title on the next line.
        start = first_line(firsts[last])
        while last and firsts[last - 1].type == "definition" and self._lines[start - 1].strip():
            last -= 1
            start = first_line(firsts[last])
        kind = firsts[-1].type
        is_blank = not self._lines[-1].strip(" \t")
        # A line with a bar may still become the head of a table, whatever it looks like now.
        is_complete = kind in _COMPLETE and "|" not in self._lines[-1]
        if is_complete or (is_blank and kind in _ENDED_BY_BLANK):
            self._settle_tokens(tokens, definitions)
            self._restart([])
            return
        if start == 0 and kind == self._kind and not is_blank and self._block is not None:
            self._block.end_line(pieces)
            if self._lines_chars > _PATIENT_CHARS:
                self._patience_chars = self._lines_chars * 5 // 4
            return
        if start:
            self._settle(_text(self._lines[:start]))
        self._restart(self._lines[start:], firsts[last].type)
        self._is_after_blank = is_blank

    def text_alone(self) -> str | None:
        """The HTML of all of it, where it is one paragraph of complete lines and nothing else."""
        if self._is_text_alone and not self.settled and isinstance(self._block, Paragraph):
            return self._block.whole()
        return self.settled[0] if self._has_settled_text_alone and len(self.settled) == 1 and not self._lines else None

    def _settle_open(self) -> None:
        """Settle the open block, which has ended, as it was drawn; from its text where that may be another thing."""
        drawn = None
        if isinstance(self._block, List) or (self._is_text_alone and isinstance(self._block, Paragraph)):
            drawn = self._block.whole()
        if drawn is None:
            self._settle(_text(self._lines))
        else:
            self._has_settled_text_alone = self._is_text_alone
            self.settled.append(drawn)
        self._restart([])

    def _settle(self, text: str) -> None:
        definitions: dict[str, Any] = {}
        self._settle_tokens(parse_blocks(text, {"references": definitions}), definitions)

    def _settle_tokens(self, tokens: list[Token], definitions: Mapping[str, Any]) -> None:
        """The blocks are complete, and so are the definitions that are among them."""
        for label, definition in definitions.items():
            self.is_stale = self.is_stale or label in self._definitions.missed
            self._definitions.setdefault(label, definition)
        if self._is_tight:
            make_tight(tokens)
        html = render_blocks(tokens, self._env)
        if html:
            self.settled.append(html)

    def _restart(
        self, lines: list[str], kind: str = "", begun: OpenBlock | None = None, pieces: Sequence[str] = ()
    ) -> None:
        self._lines = lines
        self._lines_chars = sum(map(len, lines)) + len(lines)
        self._kind = kind
        key = f"{self._line_number - len(lines)}:{kind}"
        if begun is not None:
            begun.end_line(pieces)
            self._block = begun
        else:
            self._block = self._open_block(kind, key, lines) if lines else None
        self._is_after_blank = False
        self._is_text_alone = False
        self._patience_chars = 0

    def _open_block(self, kind: str, key: str, lines: Sequence[str]) -> OpenBlock:
        """The open block that `lines` are. `kind` is the type of its first token."""
        block: OpenBlock
        rest = lines
        match kind:
            case "paragraph_open":
                block = self._paragraph(key)
            case "fence" if "|" not in lines[0]:
                block = Fence(key, lines[0])
                rest = lines[1:]
            case "table_open":
                block = Table(key, self._env, lines[:2])
                rest = lines[2:]
            case "bullet_list_open" | "ordered_list_open" if LIST_ITEM.match(lines[0]) and not self._is_deep:
                block = List(key, self._env, lines[0], self._inside)
            case "blockquote_open" if not self._is_deep:
                block = Quote(key, self._inside(is_tight=False))
            case _:
                block = Whole(self._env)
        for line in rest:
            block.end_line((line,))
        return block

    def _begun_block(self) -> OpenBlock:
        """The block that the last line begins, of which more than marks is known."""
        item = LIST_ITEM.match(self._last.head)
        quote = QUOTE_MARK.match(self._last.head)
        if _BEGINS_WHOLE.match(self._last.head) or (self._is_deep and (item or quote)):
            return Whole(self._env)
        if item is not None:
            kind = "bullet_list_open" if item[2] in "-+*" else "ordered_list_open"
            return List(f"{self._line_number}:{kind}", self._env, self._last.head, self._inside)
        if quote is not None:
            return Quote(f"{self._line_number}:blockquote_open", self._inside(is_tight=False))
        return self._paragraph(f"{self._line_number}:paragraph_open")

    def _paragraph(self, key: str) -> Paragraph:
        if self._is_tight:
            return Paragraph(key, self._env, head="", foot="")
        return Paragraph(key, self._env)

    @property
    def _is_deep(self) -> bool:
        return self._depth >= _MAX_DEPTH

    def _inside(self, *, is_tight: bool) -> "Blocks":
        blocks = Blocks(depth=self._depth + 1, is_tight=is_tight)
        blocks._definitions.update(self._definitions)
        # What is drawn inside may stay as it is.
        blocks._definitions.missed = self._definitions.missed
        return blocks


def _text(lines: Sequence[str]) -> str:
    return "\n".join(lines) + "\n"
