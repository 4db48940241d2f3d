"""A fast stream into a long conversation. Prints what it cost the page; only that it arrives is asserted."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from chat.llm.scripted import ScriptedServer
from chat.llm.scripted_steps import Say
from tests.browser.conftest import serving
from tests.browser.test_fresh_page import EVERYTHING
from tests.browser.visitor import Visitor
from tests.server import ServerProcess

MESSAGES = 200
TOKENS_PER_SECOND = 300
STREAM = (EVERYTHING + "\n```\n\n" + "Some words of a paragraph, and some more of them.\n\n" * 5) * 8


@pytest.fixture(scope="module")
def long_server(model: ScriptedServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A site that shows many messages at once."""
    yield from serving(
        ServerProcess(tmp_path_factory.mktemp("long"), upstream=model.base_url, AGENT_PAGE_MESSAGES=str(2 * MESSAGES))
    )


def test_a_fast_stream_into_a_long_conversation_arrives(
    arrive: Callable[..., Visitor],
    long_server: ServerProcess,
    upstream: ScriptedServer,
    capsys: pytest.CaptureFixture[str],
) -> None:
    upstream.script = lambda request: (Say(text=EVERYTHING),)
    visitor = arrive(long_server)
    conversation = visitor.person.new_conversation()
    visitor.converse(conversation, map(str, range(MESSAGES // 2)))
    upstream.script = lambda request: (Say(text=STREAM, delay_s=1 / TOKENS_PER_SECOND),)
    tab = visitor.open(conversation)
    assert tab.articles().count() == MESSAGES
    tab.page.evaluate(
        """() => {
          window.tasks = [];
          window.gaps = [];
          new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map((one) => one.duration)))
            .observe({ type: "longtask" });
          let last = performance.now();
          const note = (now) => { window.gaps.push(now - last); last = now; requestAnimationFrame(note); };
          requestAnimationFrame(note);
        }"""
    )
    began_s = time.monotonic()
    tab.say("stream")
    tab.page.wait_for_function(
        "n => document.querySelectorAll('[data-state=complete][data-role=assistant]').length === n",
        arg=MESSAGES // 2 + 1,
        polling=200,
        timeout=60_000,
    )
    took_s = time.monotonic() - began_s
    tasks = tab.page.evaluate("window.tasks")
    gaps = sorted(tab.page.evaluate("window.gaps"))
    with capsys.disabled():
        print(  # noqa: T201 - shown while the tests run
            f"\n{MESSAGES} messages, {len(STREAM)} characters at {TOKENS_PER_SECOND} tokens/s in {took_s:.1f} s: "
            f"{len(tasks)} long tasks (over 50 ms), longest {max(tasks, default=0):.0f} ms; "
            f"frames: median {gaps[len(gaps) // 2]:.0f} ms, 99 % under {gaps[int(len(gaps) * 0.99)]:.0f} ms"
        )
    assert tab.answer.locator("figure").count() > 0
