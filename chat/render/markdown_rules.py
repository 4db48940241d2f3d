"""Our dialect of Markdown, as rules of markdown-it: math, pictures as links, nesting without loss, safe links.

Knows: markdown-it's parser states and tokens. Must not know: who calls, streams, the page.

Each block rule decides on the lines that it is given and never needs a later line to take back an earlier
decision: the stream settles blocks on the strength of that.
"""

import html
import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.ruler import RuleOptionsType
from markdown_it.rules_block import StateBlock, table
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from chat.render import highlight, math

# A list is two levels, a quote one. Deeper text is shown without its structure.
MAX_BLOCK_DEPTH: Final = 18
# Above what blocks can use, so that markdown-it never drops text; bounds how often inline rules call themselves.
MAX_NESTING: Final = 20

# Cells that a table may lack on top of as many as it has. Each missing cell is drawn: two characters could become
# a thousand.
MAX_MISSING_CELLS: Final = 256
# Longer addresses stay text: looking for the end of each costs its length.
MAX_BARE_LINK_CHARS: Final = 2_000

_PROTOCOL = re.compile(r"(?<![a-z0-9.+-])https?$", re.IGNORECASE)
_SAFE_LINK = re.compile(r"(?:https?://[^\s/\\]|mailto:[^\s/\\])[^\s\x00-\x1f\x7f\\]*", re.IGNORECASE)
_CLOSERS = {"$$": "$$", "\\[": "\\]", "\\(": "\\)"}
_DIRECTED = frozenset(("p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "th", "td"))
# The page's own outline ends with the heading of a message, which is of level 2. Beyond 6 screen readers disagree.
_HEADING_LEVELS: Final = {"h1": 3, "h2": 4, "h3": 5, "h4": 6, "h5": 6, "h6": 6}
# Of a longer host the end is shown, which says whose it is.
MAX_HOST_CHARS: Final = 60
_LINK_ATTRIBUTES: Final = {"rel": "noopener noreferrer nofollow", "target": "_blank"}


def is_safe_link(url: str) -> bool:
    """Whether `url`, as markdown-it has normalised it, is absolute and http, https or mailto."""
    return _SAFE_LINK.fullmatch(url) is not None and _host(url) != ""


def _host(url: str) -> str:
    """Where a link leads: a host, or an address of mail; empty when a browser could make nothing of it."""
    parts = urlsplit(url)
    return parts.hostname or (parts.path if parts.scheme == "mailto" else "")


def install(md: MarkdownIt) -> None:
    # Python looks up a name on the instance first, which is how markdown-it documents to replace this function.
    md.validateLink = is_safe_link  # type: ignore[method-assign]
    interrupts: RuleOptionsType = {"alt": ["paragraph", "reference", "blockquote", "list"]}
    md.block.ruler.at("table", _table, {"alt": ["paragraph", "reference"]})
    md.block.ruler.before("table", "too_deep", _too_deep)
    md.block.ruler.after("too_deep", "math_block", _math_block, interrupts)
    md.inline.ruler.before("escape", "math_inline", _math_inline)
    md.inline.ruler.at("linkify", _bare_link)
    md.core.ruler.push("finish", _finish)


def _too_deep(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """What lies too deep becomes one paragraph; markdown-it itself would drop it."""
    if silent or state.level < MAX_BLOCK_DEPTH:
        return False
    last = start + 1
    while last < end and state.sCount[last] >= state.blkIndent:
        last += 1
    _push_paragraph(state, start, last)
    return True


def _table(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """A table, up to the row that would make it mostly missing cells."""
    if silent or not table(state, start, end, True):
        return silent and table(state, start, end, True)
    columns = _line(state, start + 1).strip("|").count("|") + 1
    missing = 0
    present = 0
    for row in range(start + 2, end):
        cells = min(_line(state, row).count("|") + 1, columns)
        present += cells
        missing += columns - cells
        if missing > MAX_MISSING_CELLS + present:
            end = row
        if row == end or state.isEmpty(row):
            break
    return table(state, start, end, False)


def _push_paragraph(state: StateBlock, start: int, end: int) -> None:
    opening = state.push("paragraph_open", "p", 1)
    content = state.push("inline", "", 0)
    content.content = state.getLines(start, end, state.blkIndent, False).strip()
    content.children = []
    state.push("paragraph_close", "p", -1)
    opening.map = content.map = [start, end]
    state.line = end


def _math_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    """`$$` or `\\[` at the start of a line, up to a line that ends in the closer.

    The first line alone decides that a block begins. It ends at the closer or at a blank line; without a closer it is a
    paragraph of the same lines. So no line ever waits for a later one.
    """
    if state.is_code_block(start):
        return False
    first = _line(state, start)
    closer = _CLOSERS.get(first[:2]) if first[:2] != "\\(" else None
    if closer is None:
        return False
    rest = first[2:].strip()
    # Formula and text on one line are a paragraph, and so is an empty formula.
    if closer in rest and (rest == closer or rest.find(closer) != len(rest) - 2):
        return False
    if silent:
        return True
    last = start
    closed = rest.endswith(closer)
    while not closed and last + 1 < end:
        if state.isEmpty(last + 1) or state.sCount[last + 1] < state.blkIndent:
            break
        last += 1
        closed = _line(state, last).endswith(closer)
    tex = "\n".join(_line(state, line) for line in range(start, last + 1))[2:-2] if closed else ""
    if not tex.strip():
        _push_paragraph(state, start, last + 1)
        return True
    token = state.push("math_block", "math", 0)
    token.content = tex
    token.map = [start, last + 1]
    state.line = last + 1
    return True


def _line(state: StateBlock, line: int) -> str:
    return state.src[state.bMarks[line] + state.tShift[line] : state.eMarks[line]].strip()


def _bare_link(state: StateInline, silent: bool) -> bool:
    """`http://…` in running text, before its underscores and stars are taken for emphasis."""
    if state.linkLevel > 0 or not state.src.startswith("://", state.pos) or state.md.linkify is None:
        return False
    protocol = _PROTOCOL.search(state.src[max(state.pos - 6, 0) : state.pos])
    if protocol is None or not state.pending.endswith(protocol[0]):
        return False
    start = state.pos - len(protocol[0])
    link = state.md.linkify.match_at_start(state.src[start : start + MAX_BARE_LINK_CHARS])
    if link is None:
        return False
    url = link.url.rstrip("*")
    href = state.md.normalizeLink(url)
    if not state.md.validateLink(href):
        return False
    if not silent:
        state.pending = state.pending[: -len(protocol[0])]
        opening = state.push("link_open", "a", 1)
        opening.attrs, opening.info = {"href": href}, "auto"
        state.push("text", "", 0).content = state.md.normalizeLinkText(url)
        state.push("link_close", "a", -1)
    state.pos = start + len(url)
    return True


def _math_inline(state: StateInline, silent: bool) -> bool:
    found = _find_math(state.src, state.pos, state.posMax)
    if found is None:
        return False
    content_start, content_end, end, display = found
    if not silent:
        token = state.push("math_inline", "math", 0)
        token.content = state.src[content_start:content_end]
        token.meta = {"display": display}
    state.pos = end
    return True


def _find_math(src: str, pos: int, limit: int) -> tuple[int, int, int, bool] | None:
    """Start and end of the TeX, end of the whole, whether it is displayed; None when no formula begins at `pos`."""
    opener = src[pos : pos + 2]
    limit = min(limit, pos + math.MAX_TEX_CHARS)
    if opener in _CLOSERS:
        end = src.find(_CLOSERS[opener], pos + 2, limit)
        if end < 0 or not src[pos + 2 : end].strip():
            return None
        return pos + 2, end, end + 2, opener != "\\("
    if opener[:1] != "$" or opener[1:].isspace() or (pos and (src[pos - 1].isalnum() or src[pos - 1] == "$")):
        return None
    # The next dollar decides alone: "$5 and $10" is money, and a text full of dollars stays linear.
    end = src.find("$", pos + 1, limit)
    while end > 0 and src[end - 1] == "\\":
        end = src.find("$", end + 1, limit)
    if end <= pos + 1 or src[end - 1].isspace() or "\n" in src[pos:end]:
        return None
    after = src[end + 1 : end + 2]
    return None if after.isalnum() or after == "$" else (pos + 1, end, end + 1, False)


def _finish(state: StateCore) -> None:
    """What tokens need before they are drawn: direction, level, safe links, no picture, no link in a link."""
    for token in state.tokens:
        if token.nesting == 1 and token.tag in _DIRECTED:
            align = str(token.attrs.pop("style", ""))
            if align:
                token.attrs["class"] = align.replace("text-align:", "align-")
            token.attrs["dir"] = "auto"
        if token.type == "heading_open":
            token.attrs["aria-level"] = _HEADING_LEVELS[token.tag]
        if token.children:
            token.children = _safe_inline(token.children)


def _safe_inline(children: Sequence[Token]) -> list[Token]:
    out: list[Token] = []
    depth = 0
    for token in children:
        if token.type == "link_open":
            depth += 1
            if depth > 1:
                continue
            token.attrs |= _link_attributes(str(token.attrs["href"]), is_shown=token.info == "auto")
        elif token.type == "link_close":
            depth -= 1
            if depth > 0:
                continue
        elif token.type == "image":
            out.extend(_picture(token, linked=depth > 0))
            continue
        out.append(token)
    return out


def _picture(token: Token, *, linked: bool) -> list[Token]:
    """A picture is never fetched: a link to it, named by its alternative text."""
    url = str(token.attrs["src"])
    alternative = _alternative(token).strip()
    text = Token("text", "", 0, content=alternative or url)
    if linked:
        return [text]
    attributes = _link_attributes(url, is_shown=not alternative)
    return [Token("link_open", "a", 1, attrs={"href": url, **attributes}), text, Token("link_close", "a", -1)]


def _link_attributes(url: str, *, is_shown: bool) -> dict[str, str | int | float]:
    """A link opens safely, and says where it leads: the model may have been told to hide that behind other words.

    is_shown: its text is the URL itself. That does not do where the text can be misread: a name before an `@`, or
    letters that look like others.
    """
    host = _host(url)
    if is_shown and "xn--" not in host and "@" not in urlsplit(url).netloc:
        return dict(_LINK_ATTRIBUTES)
    return {**_LINK_ATTRIBUTES, "data-host": host if len(host) <= MAX_HOST_CHARS else f"…{host[-MAX_HOST_CHARS:]}"}


def _alternative(token: Token) -> str:
    """The text of a picture, or of what is in its text; markdown-it bounds how deep that goes."""
    return token.content if not token.children else "".join(map(_alternative, token.children))


class Renderer(RendererHTML):
    """Tokens to HTML. Its public methods are named after the tokens that they draw, as markdown-it wants it."""

    def fence(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return highlight.figure(tokens[idx].content, highlight.language_of(tokens[idx].info))

    def code_block(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return highlight.figure(tokens[idx].content, "text")

    def math_block(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return f'<div class="math">{math.to_html(tokens[idx].content, display=True)}</div>\n'

    def math_inline(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return math.to_html(tokens[idx].content, display=bool(tokens[idx].meta["display"]))

    def table_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return '<div class="table">' + self.renderToken(tokens, idx, options, env)

    def table_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return self.renderToken(tokens, idx, options, env).rstrip() + "</div>\n"

    def definition(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return ""

    def text(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return html.escape(tokens[idx].content, quote=False)

    def code_inline(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return f"<code>{html.escape(tokens[idx].content, quote=False)}</code>"

    def drawn(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return tokens[idx].content
