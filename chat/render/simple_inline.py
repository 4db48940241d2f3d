"""The inside of a paragraph whose marks can mean one thing only, at a tenth of what the parser takes.

Knows: bold, slanted and code in a line, and line breaks. Must not know: blocks, the parser. Whatever leaves a doubt is
left to the parser, which draws the rest of the dialect, and this as well.
"""

import html
import re
from typing import Final

# Text that is its own rendering, apart from escapes.
_PLAIN: Final = r"(?:[^\\`*_~\[<&$@\n:]++|:(?!/))++"
# Between these, stars open before a letter or digit and close after one, and can do nothing else.
_BEFORE: Final = r"(?<![^ \n(])"
_BEHIND: Final = r"(?=[ \n.,;:!?)]|\Z)"
_PIECE: Final = re.compile(
    rf"(?P<plain>{_PLAIN})"
    rf"|{_BEFORE}(?P<stars>\*\*?)(?=[^\W_])(?P<marked>{_PLAIN})(?<=[^\W_])(?P=stars){_BEHIND}"
    r"|`(?P<code>[^`\s][^`\n]*+)`(?!`)"
    r"|(?<=\S)(?P<newline>\n)(?=\S)"
)


def simple_html(text: str) -> str | None:
    """HTML of a normalised text; None when it takes the parser."""
    out, end = [], 0
    for piece in _PIECE.finditer(text):
        if piece.start() != end:
            return None
        end = piece.end()
        kind = piece.lastgroup
        inside = html.escape(piece[kind], quote=False) if kind else ""
        if kind == "marked":
            tag = "strong" if piece["stars"] == "**" else "em"
            inside = f"<{tag}>{inside}</{tag}>"
        elif kind == "code":
            inside = f"<code>{inside}</code>"
        elif kind == "newline":
            inside = "<br>\n"
        out.append(inside)
    return "".join(out) if end == len(text) else None
