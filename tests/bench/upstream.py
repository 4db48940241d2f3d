"""A model server that stamps each token with the time at which it was sent: `python -m tests.bench.upstream PORT`.

The prompt's last message says what to send: `<tokens> <tokens per second>`. Must not do anything that costs, since
what it costs is counted as if the server under test had added it.
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time

STAMP_CHARACTERS = 20


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Serve one connection, one request after another."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(re.search(rb"content-length: (\d+)", head.lower())[1])  # type: ignore[index]
            body = json.loads(await reader.readexactly(length))
            count, rate = (float(word) for word in body["messages"][-1]["content"].split())
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            due = time.monotonic()
            for _ in range(int(count)):
                due += 1 / rate
                await asyncio.sleep(due - time.monotonic())
                token = f"t{time.monotonic_ns():0{STAMP_CHARACTERS - 2}d} "
                _chunk(writer, {"choices": [{"index": 0, "delta": {"content": token}}]})
                await writer.drain()
            _chunk(writer, {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
            writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


def _chunk(writer: asyncio.StreamWriter, chunk: dict[str, object]) -> None:
    data = b"data: " + json.dumps(chunk).encode() + b"\n\n"
    writer.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")


async def main() -> None:
    """Listen until the end."""
    server = await asyncio.start_server(answer, "127.0.0.1", int(sys.argv[1]), backlog=2048)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
