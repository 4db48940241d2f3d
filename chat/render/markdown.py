"""Markdown to safe HTML.

Knows: the dialect (GFM, a newline is a line break, math, no raw HTML, no picture from elsewhere) and how to parse and
draw blocks. Must not know: who wrote the text, streams, the page, sockets, models.

Whatever goes in, text comes out as text: only the elements and attributes that the renderer writes reach the page.
"""

import re
from collections.abc import MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from linkify_it import LinkifyIt
from markdown_it import MarkdownIt
from markdown_it.rules_core import StateCore
from markdown_it.rules_inline import StateInline
from markdown_it.token import Token

from chat.render import markdown_rules, math
from chat.render.simple_inline import simple_html

# markdown-it's `env`: under "references", the link definitions found so far, by normalised label.
Environment = MutableMapping[str, Any]

_NEWLINE = re.compile(r"\r\n?")
# Text without any of these is its own rendering, apart from escapes.
_MARKED = re.compile(r"[\\`*_~\[<&$@\n]|:/")


class Definitions(dict[str, Any]):
    """Link definitions; remembers the labels that were looked up in vain."""

    def __init__(self) -> None:
        super().__init__()
        # An empty set would take three times the memory, and each answer that streams has a few.
        self.missed: dict[str, None] = {}

    def get(self, key: str, default: Any = None) -> Any:
        if key not in self:
            self.missed[key] = None
        return super().get(key, default)


class _Links(LinkifyIt):  # type: ignore[misc]
    """What is a link without being marked as one: what names its protocol, or is an e-mail address.

    By name alone, `setup.py` and `README.md` are hosts in Paraguay and Moldova.
    """

    def __init__(self) -> None:
        super().__init__({"ftp:": None, "//": None}, {"fuzzy_link": False, "fuzzy_email": True})

    def pretest(self, text: str) -> bool:
        """Whether there may be one. The library's own look costs a seventh of all Markdown: it tries every host."""
        return ":" in text or "@" in text


def _inline(state: StateCore) -> None:
    """The library's rule, but for text that does not take it."""
    for token in state.tokens:
        if token.type != "inline":
            continue
        drawn = simple_html(token.content)
        if drawn is None:
            token.children = state.md.inline.parse(token.content, state.md, state.env, [])
        else:
            token.children = [Token("drawn", "", 0, content=drawn)]


def _parser() -> MarkdownIt:
    options = {
        "html": False,
        "breaks": True,
        "linkify": True,
        "xhtmlOut": False,
        "tasklists": True,
        "inline_definitions": True,
        "maxNesting": markdown_rules.MAX_NESTING,
    }
    md = MarkdownIt("commonmark", options, renderer_cls=markdown_rules.Renderer)
    md.enable("strikethrough").disable(["html_block", "html_inline"])
    md.linkify = _Links()
    md.core.ruler.at("inline", _inline)
    markdown_rules.install(md)
    md.enable(["table", "linkify"])
    return md


_MD: Final = _parser()
_RULES: Final = dict(zip(_MD.core.ruler.get_active_rules(), _MD.core.ruler.getRules(""), strict=True))
_AFTER_BLOCKS: Final = tuple(_RULES[name] for name in _RULES if name not in ("normalize", "block"))
_AFTER_INLINE: Final = tuple(_RULES[name] for name in _RULES if name not in ("normalize", "block", "inline"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Inline:
    """The inside of a paragraph, rendered."""

    html: str
    # Whether no text after it can change `html`: nothing that it opens waits for its end.
    is_closed: bool


def render(text: str) -> str:
    """Safe HTML for a whole text. Never raises, whatever the text."""
    env: Environment = {}
    return render_blocks(parse_blocks(normalize(text), env), env)


def normalize(text: str) -> str:
    """`text` with every line ending as a newline, and without NUL."""
    return _NEWLINE.sub("\n", text).replace("\0", "\ufffd")


def parse_blocks(text: str, env: Environment) -> list[Token]:
    """The blocks of a normalised text; their insides are not parsed yet. Adds the text's link definitions to `env`."""
    tokens: list[Token] = []
    _MD.block.parse(text, _MD, env, tokens)
    return tokens


def first_tokens(tokens: Sequence[Token]) -> list[Token]:
    """The token that begins each top-level block."""
    return [token for token in tokens if token.level == 0 and token.nesting >= 0]


def first_line(token: Token) -> int:
    """The line on which the block of a token begins."""
    return token.map[0] if token.map else 0


def first_mark(text: str, end: int) -> int:
    """Where the first character before `end` stands that may mean more than itself; -1 when there is none."""
    mark = _MARKED.search(text, 0, end)
    return -1 if mark is None else mark.start()


def render_blocks(tokens: Sequence[Token], env: Environment) -> str:
    """HTML of what `parse_blocks` gave. Changes the tokens: call it once for each."""
    state = StateCore("", _MD, env, list(tokens))
    for rule in _AFTER_BLOCKS:
        rule(state)
    return str(_MD.renderer.render(state.tokens, _MD.options, env))


def render_inline(text: str, env: Environment) -> Inline:
    """A run of text inside a block, beginning at the block's start or after white space."""
    drawn = simple_html(text)
    if drawn is not None:
        return Inline(html=drawn, is_closed=True)
    inline = StateInline(text, _MD, env, [])
    _MD.inline.tokenize(inline)
    for rule in _MD.inline.ruler2.getRules(""):
        rule(inline)
    is_closed = _is_closed(inline)
    state = StateCore("", _MD, env, [Token("inline", "", 0, content=text, children=inline.tokens)])
    for core_rule in _AFTER_INLINE:
        core_rule(state)
    return Inline(html=str(_MD.renderer.render(state.tokens, _MD.options, env)), is_closed=is_closed)


def _is_closed(state: StateInline) -> bool:
    if any(delimiter.open and delimiter.end < 0 for delimiter in state.delimiters):
        return False
    # A dollar can only close on its own line, and not too far away.
    if "$" in state.src[-math.MAX_TEX_CHARS :].rsplit("\n", 1)[-1]:
        return False
    depth = 0
    for token in state.tokens:
        if token.type == "text_special" and token.content in ("(", "["):
            return False
        if token.type != "text":
            continue
        # An image's or a link's destination may still close after a title with spaces.
        if "`" in token.content or "$$" in token.content or "](" in token.content:
            return False
        for character in token.content:
            if character == "[":
                depth += 1
            elif character == "]":
                depth = max(depth - 1, 0)
    return depth == 0
