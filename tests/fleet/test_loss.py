"""Redis loses and delays what is published, and says nothing of it: every socket still ends with identical text."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import Say, ScriptedRequest, Step
from tests.fleet.ground import Ground, ground
from tests.fleet.links import Loss
from tests.fleet.tab import Tab, fresh_picture
from tests.journeys import figures

SEED = int(os.environ.get("LOSS_SEED") or random.randrange(10**9))
LOSS = Loss(dropped=0.3, delayed=0.2, delay_max_s=0.3, seed=SEED)
CHATS, TABS_A_CHAT, TURNS = 6, 4, 3
# Characters of one to four bytes: offsets count characters.
ANSWER = "".join(f" Grüße-{number} 世界 🦜" for number in range(60))

pytestmark = pytest.mark.timeout(900)


@pytest.fixture(scope="module")
def site(upstream: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    """Two web processes and two workers, each with a lossy link to the Redis."""
    with ground(tmp_path_factory.mktemp("lossy"), upstream, {}, loss=LOSS) as made:
        yield made


async def test_what_redis_drops_and_delays_changes_no_text_on_any_socket(site: Ground) -> None:
    def script(request: ScriptedRequest) -> tuple[Step, ...]:
        return (Say(text=f"re: {request.last_user_text}{ANSWER}", delay_s=0.02),)

    site.upstream.script = script
    people = [site.person(web=number) for number in range(len(site.fleet.webs))]
    async with AsyncExitStack() as opened:
        chats: list[list[Tab]] = []
        for _ in range(CHATS):
            conversation = await asyncio.to_thread(people[0].new_conversation)
            tabs = [Tab(people[number % len(people)], conversation) for number in range(TABS_A_CHAT)]
            chats.append([await opened.enter_async_context(tab) for tab in tabs])
        for turn in range(TURNS):
            # From different tabs, so that announcements cross each other.
            await asyncio.gather(*(tabs[turn].say(f"question {turn}") for tabs in chats))
        for tabs in chats:
            for tab in tabs:
                await tab.until_idle()
                await tab.until(lambda tab, last=tabs[0]: tab.seq == last.seq, what="the newest event")  # type: ignore[misc]
            fresh = [await fresh_picture(person, tabs[0].conversation) for person in people]
            assert all(tab.picture() == picture for tab in tabs for picture in fresh)
            assert list(tabs[0].texts.values()) == [f"re: question {turn}{ANSWER}" for turn in range(TURNS)]
        gaps = sum(tab.gap_count for tabs in chats for tab in tabs)
    lossy = [link for (_, service), link in site.links.items() if service == "redis"]
    dropped, delayed = (sum(link.dropped_count for link in lossy), sum(link.delayed_count for link in lossy))
    figures.show(
        f"Redis that loses (LOSS_SEED={SEED}): {dropped} messages dropped, {delayed} delayed; {gaps} gaps seen by "
        f"{CHATS * TABS_A_CHAT} tabs identical; {site.check_replay()}"
    )
    assert dropped > 100
    assert max(site.questions().values()) == CHATS
