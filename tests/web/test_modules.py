"""The modules of the page are asked for at once, and not each when the one before it has been read."""

from __future__ import annotations

import re

from tests.server import ROOT

IMPORTED = re.compile(r'^(?:import|export)\b.*"\./(\w+\.js)"|^\} from "\./(\w+\.js)"', re.MULTILINE)
PRELOADED = re.compile(r"""<link rel="modulepreload" href="\{% static 'js/(\w+\.js)' %\}">""")


def test_the_page_preloads_just_the_modules_that_its_script_brings() -> None:
    brought: set[str] = set()
    waiting = {"main.js"}
    while waiting:
        text = (ROOT / "static" / "js" / waiting.pop()).read_text()
        found = {first or second for first, second in IMPORTED.findall(text)}
        waiting |= found - brought
        brought |= found
    page = (ROOT / "templates" / "chat" / "conversation.html").read_text()
    assert len(brought) > 20
    assert sorted(PRELOADED.findall(page)) == sorted(brought)
