"""The snippet of the README does what the README says, as it stands there."""

from __future__ import annotations

import re
from collections.abc import Callable

from tests.browser.visitor import Visitor
from tests.server import ROOT, ServerProcess

SNIPPET = re.compile(r"<!-- console snippet.*?-->\s*```js\n(.*?)```", re.DOTALL)


def test_the_console_snippet_sends_three_messages_that_are_answered_in_turn(
    arrive: Callable[..., Visitor], demo_server: ServerProcess
) -> None:
    found = SNIPPET.search((ROOT / "README.md").read_text())
    assert found
    visitor = arrive(demo_server)
    tab = visitor.open()
    lines: list[str] = []
    tab.page.on("console", lambda message: lines.append(message.text))
    # As the console does it: at the top of the page's own world, not inside a function.
    session = tab.page.context.new_cdp_session(tab.page)
    answer = session.send("Runtime.evaluate", {"expression": found[1], "replMode": True, "awaitPromise": True})
    assert "exceptionDetails" not in answer, answer
    tab.expect_texts("user", "a short one, please", "another short one", "and a third short one")
    tab.expect_count(tab.articles("assistant", "complete"), 3)
    tab.expect_phase("idle")
    answers = [line for line in lines if line.startswith("answer:")]
    assert len(answers) == 3
    assert all("short answer" in line for line in answers)
    assert any(line.endswith("2 queued") for line in lines), "nothing was ever queued"
    numbers = [int(line.split()[0]) for line in lines if re.match(r"\d+ \w+ \w+ \d+ queued$", line)]
    assert numbers == sorted(numbers)
    session.send("Runtime.evaluate", {"expression": """socket.send('{"type": "stop"}')""", "replMode": True})
    tab.page.wait_for_event("console", predicate=lambda message: message.text.startswith("error"))
