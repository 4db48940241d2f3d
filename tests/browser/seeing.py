"""Looks at a page as somebody does who needs contrast, names, or large targets. Each look returns faults, in words.

Knows what the guidelines ask for. Must not know the site, save for what on it may scroll.
"""

from __future__ import annotations

from pathlib import Path

from playwright.sync_api import Page

LOOKS = Path(__file__).with_suffix(".js").read_text()


def unnamed(page: Page) -> list[str]:
    """Controls without a name."""
    return _look(page, "unnamed")


def faint(page: Page) -> list[str]:
    """Texts and icons with less contrast than AA asks for."""
    return _look(page, "faint")


def small(page: Page, size_px: int) -> list[str]:
    """Targets of less than so many pixels."""
    return _look(page, "small", size_px)


def wide(page: Page) -> list[str]:
    """What makes the page, or a part that should not, scroll sideways."""
    return _look(page, "wide")


def _look(page: Page, name: str, argument: int | None = None) -> list[str]:
    faults: list[str] = page.evaluate(LOOKS, [name, argument])
    return faults
