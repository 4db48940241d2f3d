"""Reads HTML as a browser would, and refuses what has no business on the page."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from chat.render import math

SAFE_URL = re.compile(r"(?i)(?:https?://|mailto:)")
ELEMENTS = math.ELEMENTS | {
    *("a", "blockquote", "br", "button", "code", "del", "div", "em", "figcaption", "figure", "h1", "h2", "h3", "h4"),
    *("h5", "h6", "hr", "input", "li", "ol", "p", "pre", "s", "span", "strong", "table", "tbody", "td", "th", "thead"),
    *("tr", "ul"),
}
ATTRIBUTES = set(math.ATTRIBUTES) | {
    *(
        "aria-level",
        "checked",
        "class",
        "data-action",
        "data-host",
        "data-language",
        "dir",
        "disabled",
        "display",
        "href",
        "rel",
        "start",
    ),
    *("start", "target", "title", "type"),
}


class Audit(HTMLParser):
    """Fails on any element, attribute or address that has no business on the page."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ELEMENTS
        for name, value in attrs:
            assert name in ATTRIBUTES
            if name == "href":
                assert SAFE_URL.match(value or "")
                assert not re.search(r"[\s\x00-\x1f\x7f]", value or "")
                assert ("target", "_blank") in attrs
                assert ("rel", "noopener noreferrer nofollow") in attrs
        if tag not in ("br", "hr", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"comment: {data!r}")

    def handle_decl(self, decl: str) -> None:
        raise AssertionError(f"declaration: {decl!r}")

    def unknown_decl(self, data: str) -> None:
        raise AssertionError(f"declaration: {data!r}")

    def handle_pi(self, data: str) -> None:
        raise AssertionError(f"instruction: {data!r}")


def text_of(html: str) -> str:
    return "".join(Audit(html).words)
