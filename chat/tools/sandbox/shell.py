"""One shell command: started confined, heard while it runs, ended with everything that it started.

Knows pipes and exit codes. Must not know pools, work folders, or limits in total.
"""

from __future__ import annotations

import asyncio
import codecs
from dataclasses import dataclass, replace

from chat.tools.sandbox.command import Build, Order
from chat.tools.sandbox.confined import ConfinedProcess, undisturbed
from chat.tools.sandbox.execution import Collector
from chat.tools.sandbox.values import Status, Stream

READ_BYTES = 64 * 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class ShellEnding:
    """How a command ended."""

    status: Status
    exit_code: int | None
    # In words, when something else ended it.
    reason: str = ""


class Shell:
    """One command, from its start to its end."""

    def __init__(self, process: ConfinedProcess, collector: Collector) -> None:
        self.process = process
        self._collector = collector
        self._stopped_as: Status | None = None
        self._reason = ""

    @classmethod
    async def start(cls, build: Build, order: Order, *, command: str, collector: Collector) -> Shell:
        """Start it. Raises SandboxStartError."""
        order = replace(order, run={"run": "shell", "command": command})
        return cls(await ConfinedProcess.start(build, order, is_heard=True), collector)

    async def run(self, *, timeout_s: float) -> ShellEnding:
        """Listen until it ends. When this is cancelled, the command is killed first."""
        stdout, stderr = self.process.output
        ears = [
            asyncio.create_task(self._hear(stdout, "stdout"), name="shell stdout"),
            asyncio.create_task(self._hear(stderr, "stderr"), name="shell stderr"),
        ]
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.gather(*map(asyncio.shield, ears))
                code = await self.process.ended()
        except TimeoutError:
            await self.stop(Status.TIMED_OUT)
        except asyncio.CancelledError:
            await self.stop(Status.INTERRUPTED)
            raise
        finally:
            await self.process.kill()
            # They end with the pipes, which nobody holds any more.
            await undisturbed(asyncio.ensure_future(asyncio.wait(ears)))
        if self._stopped_as:
            return ShellEnding(status=self._stopped_as, exit_code=None, reason=self._reason)
        return ShellEnding(status=Status.FAILED if code else Status.SUCCEEDED, exit_code=code)

    async def stop(self, how: Status = Status.INTERRUPTED, reason: str = "") -> None:
        """Kill it and everything that it started. Returns when all of it is dead and reaped."""
        if self._stopped_as is None:
            self._stopped_as, self._reason = how, reason
        await self.process.kill()

    async def _hear(self, stream: asyncio.StreamReader, name: Stream) -> None:
        decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
        while piece := await stream.read(READ_BYTES):
            self._collector.say(name, decoder.decode(piece))
            # Data that is always ready must not keep the loop for itself.
            await asyncio.sleep(0)
