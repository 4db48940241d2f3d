"""Somebody with a browser, and the tabs that they have open.

Knows the page by the selectors that it offers to scripts. Must not know how the server is made.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Dialog, Error, Locator, Page, Request, WebSocket, expect

from tests.server import Person

# No test waits for it; it only ends a test that would hang. Two cores may be shared with others.
FAR_MS = 20_000
LOOK_AGAIN_MS = 20
expect.set_options(timeout=FAR_MS)

# What the browser and htmx say when nobody listens at the other end.
_UNREACHABLE = re.compile(
    r"WebSocket connection to .* failed|net::ERR_(CONNECTION|EMPTY|SOCKET|NETWORK|INTERNET)|^\[object Event\]$"
)


def _elsewhere(work: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on a thread of its own: the browser's loop runs on this one."""
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, work).result()


class Visitor:
    """A person with a context of their own: cookies, storage, tabs.

    faults: whatever should never happen, in words: dialogs, errors on the console, requests to elsewhere.
    may_lose_server: whether it is no fault when the server can't be reached.
    """

    def __init__(self, browser: Browser, base: str, *, name: str = "", **options: Any) -> None:
        self.base = base
        self.name = name or f"visitor-{uuid.uuid4().hex[:12]}"
        self.person = Person(base).sign_up(self.name)
        self.context = browser.new_context(base_url=base, **options)
        self.context.set_default_timeout(FAR_MS)
        self.faults: list[str] = []
        self.may_lose_server = False
        self._opened: set[str] = set()
        self.take_cookies()
        self.context.on("page", self._watch)
        self.context.on("request", self._note_request)
        self.context.on("console", self._note_console)

    def take_cookies(self) -> None:
        """Be logged in as the person is."""
        self.context.add_cookies(
            [{"name": cookie.name, "value": cookie.value or "", "url": self.base} for cookie in self.person.cookies]
        )

    def open(self, conversation: str | None = None) -> Tab:
        """A tab on a conversation: a fresh one unless its id is given."""
        tab = Tab(self.context.new_page(), conversation or self.person.new_conversation())
        self._opened.add(tab.conversation)
        tab.load()
        return tab

    def converse(self, conversation: str, texts: Iterable[str]) -> None:
        """Send messages over a socket, the next when the one before was answered; faster than by hand."""

        async def talk() -> None:
            async with self.person.socket(f"/ws/c/{conversation}/?format=json") as wire:
                await wire.receive()
                for text in texts:
                    message_id = await wire.say(text)
                    frame = await wire.receive()
                    while frame.get("phase") != "idle":
                        assert frame["type"] != "error", f"{text!r} was refused: {frame['message']}"
                        frame = await wire.receive()
                    assert message_id in wire.messages

        _elsewhere(talk())

    def close(self) -> None:
        """Leave, and see that nothing happened that should not."""
        self.context.close()
        for conversation in self._opened:
            self.person.post(f"/c/{conversation}/delete/")
        assert not self.faults, "\n".join(self.faults)

    def _watch(self, page: Page) -> None:
        page.on("dialog", self._note_dialog)
        page.on("pageerror", lambda error: self.faults.append(f"error in the page: {error}"))
        page.on("websocket", self._note_socket)

    def _note_dialog(self, dialog: Dialog) -> None:
        self.faults.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def _note_console(self, message: ConsoleMessage) -> None:
        if message.type not in {"error", "warning"}:
            return
        if self.may_lose_server and _UNREACHABLE.search(message.text):
            return
        self.faults.append(f"{message.type} on the console: {message.text}")

    def _note_request(self, request: Request) -> None:
        # The clipboard and icons inside style sheets are data: addresses, which ask nobody.
        if not request.url.startswith((f"{self.base}/", "data:", "blob:")):
            self.faults.append(f"a request to elsewhere: {request.url}")

    def _note_socket(self, socket: WebSocket) -> None:
        if urlsplit(socket.url).netloc != urlsplit(self.base).netloc:
            self.faults.append(f"a socket to elsewhere: {socket.url}")


class Tab:
    """One tab on one conversation."""

    def __init__(self, page: Page, conversation: str) -> None:
        self.page = page
        self.conversation = conversation
        self.root = page.locator("#conversation")
        self.composer = page.locator("#composer textarea[name=content]")
        self.stop = page.locator("#stop")
        self.status = page.locator("#status")
        self.queued = page.locator("#queue [data-queued-id] .item-text")
        self.unsent = page.locator("#unsent .item-text")
        self.connection = page.locator("#connection")

    @property
    def path(self) -> str:
        """Of its page."""
        return f"/c/{self.conversation}/"

    def load(self) -> None:
        """Open the page, or open it anew; returns when it is connected."""
        response = self.page.goto(self.path)
        assert response is not None
        assert response.ok, f"{self.path} answered {response.status}: {response.text()[:500]}"
        self.expect_connection("online")

    def say(self, text: str, *, key: str = "Enter") -> None:
        """Write a message and send it; returns at once."""
        self.composer.fill(text)
        self.composer.press(key)

    def ask(self, text: str) -> None:
        """Send a message and wait until its answer has ended and nothing runs."""
        before = self.articles("assistant").count()
        self.say(text)
        self.expect_count(self.articles("assistant"), before + 1)
        self.expect_phase("idle")

    def look(self) -> None:
        """Bring this tab to the front: the browser paints the others once a second at most."""
        self.page.bring_to_front()

    def articles(self, role: str = "", state: str = "") -> Locator:
        """Messages of a role, in a state."""
        of_role = f'[data-role="{role}"]' if role else ""
        of_state = f'[data-state="{state}"]' if state else ""
        return self.page.locator(f"#messages article[data-message-id]{of_role}{of_state}")

    @property
    def answer(self) -> Locator:
        """The text of the newest answer."""
        return self.articles("assistant").last.locator(".content")

    def expect_phase(self, phase: str) -> None:
        """Wait until the page is in this phase."""
        self._expect(phase, lambda: self.root.get_attribute("data-phase"))

    def expect_connection(self, state: str) -> None:
        """Wait until the connection is in this state."""
        self._expect(state, lambda: self.connection.get_attribute("data-state"))

    def expect_queue(self, *texts: str) -> None:
        """Wait until exactly this is queued."""
        self._expect(list(texts), self.queued.all_text_contents)

    def expect_texts(self, role: str, *texts: str) -> None:
        """Wait until exactly these messages of a role are there."""
        content = self.articles(role).locator(".content")
        self._expect(list(texts), lambda: [text.strip() for text in content.all_inner_texts()])

    def expect_count(self, locator: Locator, count: int) -> None:
        """Wait until there are so many."""
        self._expect(count, locator.count)

    def _expect(self, wanted: object, look: Callable[[], object]) -> None:
        """Looks more often than Playwright's own `expect`, which waits up to a second between two looks."""
        deadline = time.monotonic() + FAR_MS / 1000
        while (seen := _unless_it_leaves(look)) != wanted:
            if time.monotonic() > deadline:
                raise AssertionError(f"expected {wanted!r}, saw {seen!r} for {FAR_MS} ms")
            self.page.wait_for_timeout(LOOK_AGAIN_MS)

    def control(self, text: str, action: str) -> Locator:
        """A control of a queued message."""
        item = self.page.locator("#queue [data-queued-id]").filter(has_text=text)
        return item.locator(f"[data-action={action}]")

    def until(self, expression: str, argument: Any = None) -> None:
        """Wait until an expression is true in the page."""
        self.page.wait_for_function(expression, arg=argument, polling=LOOK_AGAIN_MS)

    @property
    def is_focused(self) -> bool:
        """Whether one writes into the composer."""
        return bool(self.composer.evaluate("element => document.activeElement === element"))


def _unless_it_leaves(look: Callable[[], object]) -> object:
    """What is seen; nothing while the page is being left for another."""
    try:
        return look()
    except Error as fault:
        if "context was destroyed" not in fault.message:
            raise
        return None
