"""TeX to MathML.

Knows: how to turn one formula into MathML that is safe to put into a page. Must not know: where the formula
stood, Markdown, the page.

The converter is not trusted: it copies text and attributes from the formula into its output as they are
(`\\text{<script>}`, `\\href`, `\\class`, `\\style`). So its element tree is written out here, and only what is
listed here comes through.
"""

import html
import re
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert_to_element

# Longer formulas are shown as source: the converter works on the event loop, and none that people write is longer.
MAX_TEX_CHARS = 2_000
# The converter calls itself once or twice for each level of nesting.
MAX_TEX_DEPTH = 40

# fmt: off
ELEMENTS = frozenset((
    "math", "menclose", "mfrac", "mi", "mmultiscripts", "mn", "mo", "mover", "mpadded", "mphantom", "mprescripts",
    "mroot", "mrow", "mspace", "msqrt", "mstyle", "msub", "msubsup", "msup", "mtable", "mtd", "mtext", "mtr", "munder",
    "munderover", "none",
))
# fmt: on
_WORDS = re.compile(r"[a-z]{1,24}(?: [a-z]{1,24})*")
_LENGTHS = re.compile(r"[-+]?\d{0,2}(?:\.\d{1,4})?(?:em|ex|pt|px|mu)?(?: \d{0,2}(?:\.\d{1,4})?(?:em|ex|pt|px)){0,8}")
_COLOUR = re.compile(r"[a-zA-Z]{1,24}|#[0-9a-fA-F]{3,8}")
# By attribute, the values that come through.
ATTRIBUTES = {
    "accent": _WORDS,
    "accentunder": _WORDS,
    "columnalign": _WORDS,
    "columnlines": _WORDS,
    "columnspacing": _LENGTHS,
    "depth": _LENGTHS,
    "displaystyle": _WORDS,
    "fence": _WORDS,
    "form": _WORDS,
    "height": _LENGTHS,
    "linebreak": _WORDS,
    "linethickness": _LENGTHS,
    "lspace": _LENGTHS,
    "mathbackground": _COLOUR,
    "mathcolor": _COLOUR,
    "mathvariant": re.compile(r"[a-z-]{1,24}"),
    "maxsize": _LENGTHS,
    "minsize": _LENGTHS,
    "movablelimits": _WORDS,
    "notation": _WORDS,
    "rowlines": _WORDS,
    "rowspacing": _LENGTHS,
    "rspace": _LENGTHS,
    "scriptlevel": re.compile(r"[-+]?\d"),
    "separator": _WORDS,
    "stretchy": _WORDS,
    "symmetric": _WORDS,
    "voffset": _LENGTHS,
    "width": _LENGTHS,
}

# Definitions can expand without limit, and a link or a picture has no place in a formula.
_REFUSED = re.compile(
    r"\\(?:(?:re|provide)?new(?:command|environment)|renewcommand|providecommand|[egx]?def|let|DeclareMathOperator"
    r"|href|url|includegraphics|class|style|cssId|htmlData|require)(?![a-zA-Z])"
)
_OPENS = re.compile(r"\\.|[{}^_]|$", re.DOTALL)
# The converter knows these only under the name of the environment that they are a part of.
_ALIGNED = re.compile(r"\\(begin|end)\{(?:aligned|split|gathered|gather\*?|alignat\*?|eqnarray\*?|equation\*?|align)\}")


class _RefusedError(Exception):
    """The formula can't be shown as MathML."""


def to_html(tex: str, *, display: bool) -> str:
    """MathML for one formula without its delimiters; its source as `<code>` when it is not valid TeX."""
    source = tex.strip()
    try:
        tree = _convert(source, display=display)
        out: list[str] = []
        _write(tree, out)
    except _RefusedError:
        return f'<code class="math">{html.escape(source)}</code>'
    return "".join(out)


def _convert(tex: str, *, display: bool) -> Element:
    if not tex or len(tex) > MAX_TEX_CHARS or _REFUSED.search(tex) or not _is_shallow(tex):
        raise _RefusedError
    try:
        tree: Element = convert_to_element(_ALIGNED.sub(r"\\\1{align*}", tex), display="block" if display else "inline")
    except Exception as error:  # the converter raises its own errors for bad TeX, and many others by accident
        raise _RefusedError from error
    return tree


def _is_shallow(tex: str) -> bool:
    """Whether braces balance and neither they, \\left, \\begin nor chains of ^ and _ nest too deeply."""
    depth = 0
    for match in _OPENS.finditer(tex):
        if match[0] == "{":
            depth += 1
        elif match[0] == "}":
            depth -= 1
        if not 0 <= depth <= MAX_TEX_DEPTH:
            return False
    return depth == 0 and max(tex.count(r"\left"), tex.count(r"\begin")) <= MAX_TEX_DEPTH


def _write(element: Element, out: list[str]) -> None:
    tag = element.tag
    if tag not in ELEMENTS:
        raise _RefusedError
    out.append(f"<{tag}")
    if tag == "math":
        out.append(f' display="{"block" if element.get("display") == "block" else "inline"}"')
    for name, value in element.attrib.items():
        allowed = ATTRIBUTES.get(name)
        if allowed is not None and allowed.fullmatch(value):
            out.append(f' {name}="{value}"')
    out.append(">")
    # The converter writes characters as references into its text, so that they would be escaped twice.
    text = html.unescape(element.text or "")
    if tag != "mtext" and text.startswith("\\") and len(text) > 1:
        raise _RefusedError  # a command that the converter does not know
    out.append(html.escape(text, quote=False))
    for child in element:
        _write(child, out)
    out.append(f"</{tag}>")
