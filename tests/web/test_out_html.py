"""What a page is told that no event tells."""

from __future__ import annotations

from chat.conf import Conf
from chat.render.state_parts import NO_PERFORMERS
from chat.web.out_html import HtmlOut
from chat.web.reader import Reader
from tests.core.talk import Talk, delayed, started
from tests.test_bus import a_bus, announced, opened, reader


async def test_a_page_says_once_that_nobody_is_there_to_go_on_and_that_somebody_is() -> None:
    bus, talk = a_bus(), Talk()
    page = HtmlOut(frames_per_second_max=30, has_performers=lambda: bus.has_performers)
    way = Reader(await reader(bus, talk), page, Conf())
    bus.note_performers(are_there=False)
    assert await way.take() == []
    talk.send("a")
    bus.announce(announced(talk, seq=1))
    assert NO_PERFORMERS in "".join(await way.take())
    bus.note_performers(are_there=False)
    assert await way.take() == []
    bus.note_performers(are_there=True)
    [frame] = await way.take()
    assert "AI is responding…" in frame
    assert NO_PERFORMERS not in frame


async def test_an_answer_is_drawn_as_it_begins_once_and_again_when_it_has_text_that_does_not_count() -> None:
    bus, talk = a_bus(), Talk()
    way = Reader(await reader(bus, talk), HtmlOut(frames_per_second_max=30), Conf())
    talk.send("a")
    bus.announce(announced(talk, seq=1))
    bubble = f'data-message-id="{talk.run.answer.message_id}"'
    assert bubble in "".join(await way.take())
    talk.take(started(talk.run))
    bus.announce(announced(talk, seq=2))
    said = "".join(await way.take())
    assert 'data-seq="2"' in said
    assert bubble not in said
    live = opened(bus, talk)
    talk.take(delayed(talk.run))
    bus.announce(announced(talk, seq=3))
    live.append("Half of")
    assert "Half of" in "".join(await way.take())
    talk.lose()
    bus.announce(announced(talk, seq=4))
    assert bubble in "".join(await way.take())
