"""The least that Channels and daphne can do: a consumer that sends each token as a frame, read from the raw stream.

No conversation, no database, no Markdown, no second tab: what the site adds is what it costs more than this.
"""

from __future__ import annotations

import asyncio
import json
import os

import httpx2
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.conf import settings

settings.configure()

from django.urls import path  # noqa: E402 - needs settings

LIMITS = httpx2.Limits(max_connections=2000)


class Relay(AsyncWebsocketConsumer):  # type: ignore[misc]
    """One socket."""

    channel_layer_alias = ""
    client: httpx2.AsyncClient | None = None

    async def connect(self) -> None:
        """Everybody may come in."""
        self.asking: set[asyncio.Task[None]] = set()
        await self.accept()
        await self.send("ready")

    async def receive(self, text_data: str = "", bytes_data: bytes | None = None) -> None:
        """Ask the model server."""
        asking = asyncio.create_task(self.ask(text_data))
        self.asking.add(asking)
        asking.add_done_callback(self.asking.discard)

    async def ask(self, content: str) -> None:
        """Send each token on."""
        if Relay.client is None:
            Relay.client = httpx2.AsyncClient(limits=LIMITS, timeout=60, trust_env=False)
        body = {"stream": True, "messages": [{"role": "user", "content": content}]}
        url = f"{os.environ['OPENAI_BASE_URL']}/chat/completions"
        async with Relay.client.stream("POST", url, json=body) as response:
            async for line in response.aiter_lines():
                if not line.startswith("data: "):
                    continue
                if line == "data: [DONE]":
                    break
                text = json.loads(line[6:])["choices"][0]["delta"].get("content")
                if text:
                    await self.send(text)
        await self.send("[DONE]")


application = ProtocolTypeRouter({"websocket": URLRouter([path("ws", Relay.as_asgi())])})
