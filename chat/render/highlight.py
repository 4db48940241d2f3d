"""Code in a figure, highlighted with CSS classes.

Knows: Pygments, and the markup around a block of code. Must not know: Markdown, streams, the page.
"""

import functools
import html
import re

from pygments.lexer import Lexer
from pygments.lexers import get_lexer_by_name
from pygments.token import (
    STANDARD_TYPES,
    Whitespace,
    _TokenType,
)

from chat.render.lexing import quickened

# About 60 ms of work at Pygments' own speed, and 20 at ours; longer code is shown plain, so that one block can't hold
# up every other conversation.
MAX_HIGHLIGHTED_CHARS = 16_000
# A line this long is data or minified code; some lexers take quadratic time on it.
MAX_HIGHLIGHTED_LINE_CHARS = 2_000

# Names that a fence may carry. Not every lexer that Pygments has: some are slow on hostile text, and that of Python's
# tracebacks never returns from a text that ends in the middle of one.
# fmt: off
LANGUAGES = frozenset((
    "asm", "awk", "bash", "bat", "batch", "c", "c#", "c++", "clojure", "cmake", "cmd", "console", "cpp",
    "cs", "csharp", "css", "dart", "diff", "django", "docker", "dockerfile", "elixir", "elm", "erlang",
    "f#", "fish", "fortran", "fsharp", "go", "golang", "graphql", "groovy", "haskell", "hcl", "html",
    "http", "ini", "java", "javascript", "jinja", "js", "json", "jsonc", "jsx", "julia", "kotlin", "kt",
    "less", "lisp", "llvm", "lua", "make", "makefile", "markdown", "matlab", "md", "nginx", "nix",
    "objective-c", "ocaml", "octave", "pascal", "patch", "perl", "php", "pl", "postgresql",
    "powershell", "properties", "proto", "protobuf", "ps1", "py", "pycon", "python", "python3",
    "r", "rb", "rs", "rst", "ruby", "rust", "sass", "scala", "scheme", "scss", "sh", "shell",
    "solidity", "sql", "svelte", "swift", "tcl", "terraform", "tex", "latex", "tf", "toml", "ts", "tsx",
    "typescript", "vb", "verilog", "vhdl", "vim", "vue", "xml", "yaml", "yml", "zig", "zsh",
))
# fmt: on
_NAME = re.compile(r"[^\s{,:]{1,32}")


def prepare() -> None:
    """Load what most code is written in: under the first answer that has any, this would hold up all others."""
    for language in ("bash", "javascript", "json", "python"):
        figure("1", language)


def language_of(info: str) -> str:
    """The language that the info string of a fence names, "text" when it names none."""
    match = _NAME.match(info.strip())
    return match[0].lower() if match else "text"


def figure_open(language: str) -> str:
    """What stands before the code; `figure_close` ends it. The attribute holds one of our own names."""
    known = language if language in LANGUAGES else "text"
    return (
        f'<figure class="code" data-language="{html.escape(known)}">'
        f"<figcaption><span>{html.escape(language)}</span>"
        '<button type="button" data-action="copy-code">Copy</button></figcaption><pre dir="ltr"><code>'
    )


def figure_close() -> str:
    return "</code></pre></figure>\n"


def figure(code: str, language: str) -> str:
    """A block of code as HTML. `language` is what `language_of` gave."""
    # HTML drops one newline right after <pre>, but not after <code> in it: the text comes through as it is.
    return figure_open(language) + _highlighted(code, language) + figure_close()


def _highlighted(code: str, language: str) -> str:
    lexer = _lexer(language)
    if (
        lexer is None
        or len(code) > MAX_HIGHLIGHTED_CHARS
        or max(map(len, code.split("\n"))) > MAX_HIGHLIGHTED_LINE_CHARS
    ):
        return html.escape(code, quote=False)
    out: list[str] = []
    open_class, left_chars = "", len(code)
    # Some lexers leave out a last line that is not ended; what was added is cut off again.
    for _, kind, piece in lexer.get_tokens_unprocessed(code if code.endswith("\n") else code + "\n"):
        text = piece[:left_chars]
        left_chars -= len(text)
        css_class = _css_class(kind)
        if css_class != open_class:
            if open_class:
                out.append("</span>")
            if css_class:
                out.append(f'<span class="{css_class}">')
            open_class = css_class
        out.append(html.escape(text, quote=False))
    if open_class:
        out.append("</span>")
    # No color is worth a word that is lost.
    return "".join(out) if not left_chars else html.escape(code, quote=False)


@functools.cache
def _lexer(language: str) -> Lexer | None:
    if language not in LANGUAGES:
        return None
    return quickened(get_lexer_by_name(_ALIASES.get(language, language), stripnl=False, ensurenl=False))


@functools.cache
def _css_class(kind: _TokenType) -> str:
    """Pygments' short class of a token or of the nearest kind above it that has one; none for white space."""
    while kind not in STANDARD_TYPES and kind.parent is not None:
        kind = kind.parent
    return "" if kind is Whitespace else STANDARD_TYPES[kind]


# Names that people write and Pygments has not, or has a lexer for that would hang.
_ALIASES = {
    "cmd": "bat",
    "jsonc": "json",
    "kt": "kotlin",
    "patch": "diff",
    "pycon": "python",
    "svelte": "html",
    "vb": "vbnet",
}
