"""What was drawn is not drawn again, and not kept for ever."""

from __future__ import annotations

from chat.render.kept_answers import ANSWERS_KEPT, KEPT_MAX_CHARACTERS, KEPT_S, KeptAnswers


class Press:
    """Draws, and notes what."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.drawn: list[str] = []
        self.kept = KeptAnswers(draw=self.draw, clock=lambda: self.now_s)

    def draw(self, text: str) -> str:
        self.drawn.append(text)
        return f"<p>{text}</p>"


def test_a_text_is_drawn_once() -> None:
    press = Press()
    assert [press.kept.drawn(text) for text in ("a", "b", "a")] == ["<p>a</p>", "<p>b</p>", "<p>a</p>"]
    assert press.drawn == ["a", "b"]


def test_after_a_while_nothing_of_it_is_left() -> None:
    press = Press()
    press.kept.drawn("a")
    press.now_s = KEPT_S
    press.kept.drawn("b")
    press.kept.drawn("a")
    assert press.drawn == ["a", "b", "a"]


def test_neither_long_ones_nor_too_many_are_kept() -> None:
    press = Press()
    long = "x" * (KEPT_MAX_CHARACTERS + 1)
    for text in (long, long, *map(str, range(ANSWERS_KEPT + 1)), "0"):
        press.kept.drawn(text)
    assert press.drawn.count(long) == 2
    assert press.drawn.count("0") == 2
