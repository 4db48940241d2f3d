"""Answers that a scripted model writes in pieces of the test's choice. Knows the wire of the dialect, not the page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from random import Random

from chat.llm.scripted_steps import Gate, Pause, Raw, Say, Script, ScriptedRequest, Step, Wait, Wire

WIRE = Wire(number=0, model="scripted", created_s=0)
# Long enough for the site to draw each piece by itself, most of the time.
BETWEEN_PIECES_S = 0.003


def chunk(text: str, field: str = "content") -> Raw:
    """This text as one piece of the answer, or of another field."""
    return Raw(data=WIRE.delta({"role": "assistant", field: text}))


def written(pieces: Iterable[str], *, pause_s: float = BETWEEN_PIECES_S) -> Iterator[Step]:
    """The pieces one after another. A text is an iterable of its characters."""
    for piece in pieces:
        yield chunk(piece)
        yield Pause(seconds=pause_s)


def torn(text: str, seed: int, *, longest: int = 30) -> Iterator[str]:
    """The text in random pieces, the same for the same seed."""
    random = Random(seed)
    while text:
        length = random.randint(1, longest)
        yield text[:length]
        text = text[length:]


def busy_until(gate: Gate) -> Script:
    """A model that answers "busy" until the gate opens, and anything else at once."""

    def script(request: ScriptedRequest) -> Sequence[Step]:
        if request.last_user_text == "busy":
            return chunk("I am"), Wait(gate=gate), chunk(" done.")
        return (Say(text=f"re: {request.last_user_text}"),)

    return script
