"""Templates that are filled in again and again with other words.

Django's engine walks a template's nodes each time, which takes ten times as long as putting the words in their places.
Here that is done once for each shape: a template with everything that it decides by. Must not know what is filled in.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Hashable
from typing import Any

from django.template.loader import get_template

SHAPES_KEPT = 256


class Stencil:
    """One template, as it looks in each shape that was asked for."""

    def __init__(self, template: str) -> None:
        self._template = template
        # Nothing that anybody writes can look like a place.
        self._mark = secrets.token_hex(8)
        self._shapes: dict[Hashable, list[str]] = {}

    def filled(
        self, shape: Hashable, words: dict[str, str], context: Callable[[dict[str, str]], dict[str, Any]]
    ) -> str:
        """The template in a shape with these words in it.

        words: HTML by name, of what the template prints and decides nothing by, except whether it is empty. context:
        makes the context, in which a name stands for what it is given. shape: all else that the context says.
        """
        key = (shape, *[name for name, html in words.items() if html])
        pieces = self._shapes.get(key)
        if pieces is None:
            if len(self._shapes) >= SHAPES_KEPT:
                self._shapes.clear()
            places = {name: f"{self._mark}{name}{self._mark}" if html else "" for name, html in words.items()}
            pieces = self._shapes[key] = self.drawn(context(places)).split(self._mark)
        return "".join([words[piece] if number % 2 else piece for number, piece in enumerate(pieces)])

    def drawn(self, context: dict[str, Any]) -> str:
        """The template as the engine makes it."""
        html: str = get_template(self._template).render(context)
        return html


def part(name: str, **context: Any) -> str:
    """A template of the page, as the engine makes it."""
    html: str = get_template(f"chat/{name}.html").render(context)
    return html
