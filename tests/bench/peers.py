"""Other programs of the same kind, installed on demand into environments of their own under `var/peers/`.

Knows how each is installed, started and spoken to. Must not know what is measured.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

from tests.bench.served import Limit, Seat
from tests.bench.speech import Html
from tests.server import ROOT

FOLDER = ROOT / "var" / "peers"
CHAINLIT = "chainlit==2.12.*"
# What its own first example is, with its own streaming.
CHAINLIT_APP = """
import os
import chainlit as cl
from openai import AsyncOpenAI

client = AsyncOpenAI(base_url=os.environ["OPENAI_BASE_URL"], api_key="none", max_retries=0)


@cl.on_message
async def on_message(message: cl.Message):
    answer = cl.Message(content="")
    asked = [{"role": "user", "content": message.content}]
    stream = await client.chat.completions.create(model="bench", messages=asked, stream=True)
    async for chunk in stream:
        if chunk.choices and (token := chunk.choices[0].delta.content):
            await answer.stream_token(token)
    await answer.update()
"""


class SocketIo(Html):
    """Chainlit's page: socket.io over a WebSocket."""

    def __init__(self) -> None:
        self._session = str(uuid.uuid4())

    def answers(self, frame: bytes) -> tuple[str, ...]:
        if frame == b"2":
            return ("3",)
        if frame.startswith(b"0{"):
            return (f"40{json.dumps({'clientType': 'webapp', 'sessionId': self._session, 'userEnv': '{}'})}",)
        if frame.startswith(b"40"):
            return ('42["connection_successful"]',)
        return ()

    def is_ready(self, frame: bytes) -> bool:
        return frame.startswith(b"40")

    def says(self, content: str) -> str:
        message = {
            "threadId": "",
            "id": str(uuid.uuid4()),
            "name": "User",
            "type": "user_message",
            "output": content,
            "createdAt": "2026-01-01T00:00:00.000Z",
        }
        return f"42{json.dumps(['client_message', {'message': message, 'fileReferences': []}])}"

    def is_end(self, frame: bytes) -> bool:
        return True

    def newest(self, frame: bytes) -> int:
        # The first token comes with the beginning of the message.
        return super().newest(frame) if b'"stream_token"' in frame or b'"stream_start"' in frame else -1


class Chainlit(Limit):
    """Chainlit, serving its page to anybody."""

    async def seats(self, count: int, frames: str = "") -> list[Seat]:
        path = "/ws/socket.io/?EIO=4&transport=websocket"
        return [Seat(port=self.port, path=path, speech=SocketIo()) for _ in range(count)]


def chainlit(folder: Path, upstream: str) -> Chainlit:
    """Installed when it is not."""
    python = FOLDER / "chainlit" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(python.parent.parent)], check=True)
        uv = shutil.which("uv", path=str(Path(sys.executable).parent))
        install = [uv, "pip", "install", "--python", str(python)] if uv else [str(python), "-m", "pip", "install"]
        subprocess.run([*install, CHAINLIT, "openai"], check=True)
    place = folder / "chainlit"
    place.mkdir()
    application = place / "app.py"
    application.write_text(CHAINLIT_APP)
    command = [str(python), "-m", "chainlit", "run", str(application), "--headless", "--host", "127.0.0.1", "--port"]
    return Chainlit("Chainlit", folder, lambda port: [*command, str(port)], upstream, CHAINLIT_APP_ROOT=str(place))


PEERS: dict[str, Callable[[Path, str], Chainlit]] = {"chainlit": chainlit}
