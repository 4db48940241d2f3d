"""Scenarios about pages: a long conversation, and the lists of staff."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import time
import urllib.request

from tests.bench.bench import Bench, Found, scenario
from tests.bench.chats import ENDS_WITHIN_S
from tests.bench.report import Figure, percentile
from tests.bench.served import Seat, SiteUnderTest
from tests.browser import chromium
from tests.server import ROOT

STREAMED_TOKENS = 400
LIST_LINE = re.compile(r"^(.+?)\s+([\d.]+) ms, worst\s+([\d.]+) ms, ([\d,]+) listed$", re.MULTILINE)
# Before anything of the page: when it can be used, and what holds it up.
WATCHING = """
  window.tasks = [];
  new PerformanceObserver((list) => window.tasks.push(...list.getEntries().map((one) => one.duration)))
    .observe({ type: "longtask", buffered: true });
  const look = () => {
    const area = document.querySelector("#composer textarea[name=content]");
    const isOnline = document.querySelector("#connection[data-state=online]");
    if (!area || !isOnline) return requestAnimationFrame(look);
    window.usableAt = performance.now();
    document.documentElement.dataset.usable = "";
  };
  requestAnimationFrame(look);
"""


@scenario("page")
async def page(bench: Bench) -> Found:
    """Opening a conversation of 1,000 messages: the server's time, and the browser's, and a stream into it."""
    site = await bench.site()
    messages = 200 if bench.is_quick else 1_000
    (seat,) = await site.seats(1)
    await site.fill("replies", seat.conversation, str(messages // 2))
    watch = bench.watch(site)
    rounds = 15
    times_ms = await asyncio.to_thread(_first_bytes_ms, site, seat, rounds)
    spent = watch.read()
    figures = [
        Figure(
            scenario="page",
            name="first byte of a long conversation",
            value=percentile(times_ms, 50),
            unit="ms",
            others_percent=spent.others_percent,
            note=f"{messages:,} messages",
        ),
        Figure(scenario="page", name="CPU of that page", value=spent.cpu_s / rounds * 1000, unit="ms"),
    ]
    path = chromium.executable()
    if path is None:
        bench.disturbed.append(f"page: {chromium.WHAT_TO_INSTALL}")
        return figures
    usable_ms, tasks_ms = await asyncio.to_thread(_in_browser, path, site, seat)
    return [
        *figures,
        Figure(scenario="page", name="a long conversation can be used after", value=usable_ms, unit="ms"),
        Figure(
            scenario="page",
            name="longest task of the browser while text streams into it",
            value=max(tasks_ms, default=0.0),
            unit="ms",
            note=f"{len(tasks_ms)} over 50 ms",
        ),
    ]


def _first_bytes_ms(site: SiteUnderTest, seat: Seat, rounds: int) -> list[float]:
    times_ms = []
    for _ in range(rounds):
        request = urllib.request.Request(f"{site.server.base}/c/{seat.conversation}/", headers={"Cookie": seat.cookie})
        began_s = time.perf_counter()
        with urllib.request.urlopen(request, timeout=30) as response:
            response.read(1)
            times_ms.append((time.perf_counter() - began_s) * 1000)
            assert response.status == 200
    return sorted(times_ms)


def _in_browser(path: str, site: SiteUnderTest, seat: Seat) -> tuple[float, list[float]]:
    name, _, value = seat.cookie.partition("=")
    with chromium.launched(path) as browser:
        context = browser.new_context()
        context.add_cookies([{"name": name, "value": value, "url": site.server.base}])
        context.add_init_script(WATCHING)
        usable_ms = []
        for _ in range(3):
            tab = context.new_page()
            tab.goto(f"{site.server.base}/c/{seat.conversation}/")
            # The page's policy lets nothing be evaluated, so a mark on it says when.
            tab.wait_for_selector("html[data-usable]")
            usable_ms.append(float(tab.evaluate("window.usableAt")))
        before = int(tab.evaluate("window.tasks.length"))
        tab.locator("#composer textarea[name=content]").fill(f"bench:page {STREAMED_TOKENS} 50")
        tab.keyboard.press("Enter")
        tab.wait_for_selector("#conversation[data-phase=generating]")
        tab.wait_for_selector("#conversation[data-phase=idle]", timeout=ENDS_WITHIN_S * 1000)
        tasks_ms = [float(task) for task in tab.evaluate("window.tasks")][before:]
    # The first fills the browser's own caches.
    return min(usable_ms[1:]), tasks_ms


@scenario("admin")
async def admin(bench: Bench) -> Found:
    """Each list of staff with 100,000 conversations and 5 million events. The file is filled once, and kept."""
    size = ("1000", "20000") if bench.is_quick else ("100000", "5000000")
    words = [sys.executable, "-m", "tests.admin.scale", *size]
    program = await asyncio.create_subprocess_exec(*words, cwd=ROOT, env=bench.environ, stdout=subprocess.PIPE)
    said, _ = await program.communicate()
    lines = LIST_LINE.findall(said.decode())
    assert program.returncode == 0, said.decode()
    assert lines, said.decode()
    note = f"{int(size[0]):,} conversations"
    slowest = max(lines, key=lambda line: float(line[1]))
    figures = [
        Figure(scenario="admin", name=f"list of staff: {what}", value=float(median_ms), unit="ms", note=note)
        for what, median_ms, _, _ in lines
        if what in ("conversations", "events", "tool calls")
    ]
    worst = Figure(
        scenario="admin", name="slowest list of staff", value=float(slowest[1]), unit="ms", note=f"{slowest[0]}; {note}"
    )
    return [*figures, worst]
