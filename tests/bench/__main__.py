"""`make bench`: what a token costs on its way from the model to a reader, measured from outside.

The server under test is pinned to one core; upstream and readers share the others. Each row is a number of chats
with the built-in pace of 50 tokens/s, read as JSON and as HTML. Latency is from the moment in which the upstream
sends a token to the moment in which a reader has it, so it holds the load generator's own delay: compare rows of
one run with each other, not with another machine.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

from tests.bench.upstream import STAMP_CHARACTERS
from tests.processes import wait_until
from tests.server import Person, ServerProcess, free_port

TOKENS_PER_SECOND = 50
WARM_UP_S = 1.0
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
STAMP = re.compile(rf"t(\d{{{STAMP_CHARACTERS - 2}}})")


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One measurement. Latencies in milliseconds, CPU in microseconds a token, memory in MiB."""

    chats: int
    frames: str
    tokens: int
    latency_p50_ms: float
    latency_p99_ms: float
    first_token_ms: float
    cpu_us_per_token: float
    core_percent: float
    others_percent: float
    bytes_per_token: float
    memory_mib: float


class Load:
    """What the readers of one row see."""

    def __init__(self) -> None:
        self.latencies_ns: list[int] = []
        self.first_ns: list[int] = []
        self.bytes = 0
        self.ended = 0


async def read_along(person: Person, conversation: str, frames: str, tokens: int, load: Load) -> None:
    """One chat with one reader: send a message, and note when each token came."""
    path = f"/ws/c/{conversation}/" + ("?format=json" if frames == "json" else "")
    async with person.socket(path) as wire:
        await wire.connection.recv()
        await asyncio.sleep(WARM_UP_S)
        sent_ns = time.monotonic_ns()
        await wire.send(type="user_message", content=f"{tokens} {TOKENS_PER_SECOND}")
        newest = 0
        while True:
            frame = await wire.connection.recv()
            now_ns = time.monotonic_ns()
            assert isinstance(frame, str)
            load.bytes += len(frame)
            is_end = '"llm_response_completed"' in frame or 'data-state="complete" data-position="2"' in frame
            if is_end:
                load.ended += 1
                return
            for stamp in STAMP.findall(frame):
                at_ns = int(stamp)
                if at_ns > newest:
                    if not newest:
                        load.first_ns.append(now_ns - sent_ns - 1_000_000_000 // TOKENS_PER_SECOND)
                    newest = at_ns
                    load.latencies_ns.append(now_ns - at_ns)


async def measure(server: ServerProcess, person: Person, *, chats: int, frames: str, seconds: float) -> Row:
    """One row."""
    conversations = [person.new_conversation() for _ in range(chats)]
    tokens = int(seconds * TOKENS_PER_SECOND)
    load = Load()
    gc.collect()
    gc.disable()
    before, busy_before, started = cpu_seconds(server.pid), core_busy_seconds(), time.monotonic()
    await asyncio.gather(*(read_along(person, one, frames, tokens, load) for one in conversations))
    took = time.monotonic() - started
    used, busy = cpu_seconds(server.pid) - before, core_busy_seconds() - busy_before
    gc.enable()
    if load.ended != chats:
        raise SystemExit(f"{chats - load.ended} of {chats} chats did not end")
    latencies = sorted(load.latencies_ns)
    return Row(
        chats=chats,
        frames=frames,
        tokens=len(latencies),
        latency_p50_ms=latencies[len(latencies) // 2] / 1e6,
        latency_p99_ms=latencies[len(latencies) * 99 // 100] / 1e6,
        first_token_ms=statistics.median(load.first_ns) / 1e6,
        cpu_us_per_token=used / len(latencies) * 1e6,
        core_percent=used / took * 100,
        others_percent=max(0.0, busy - used) / took * 100,
        bytes_per_token=load.bytes / len(latencies),
        memory_mib=peak_memory_mib(server.pid),
    )


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_SECOND


def core_busy_seconds() -> float:
    """CPU time that anybody has used of the first core so far."""
    line = next(line for line in Path("/proc/stat").read_text().splitlines() if line.startswith("cpu0 "))
    user, nice, system, _, _, *interrupts = (int(field) for field in line.split()[1:])
    return (user + nice + system + sum(interrupts[:2])) / TICKS_PER_SECOND


def peak_memory_mib(pid: int) -> float:
    """The most that a process has had in memory."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def table(rows: list[Row]) -> str:
    """The rows for people."""
    lines = [
        "| chats | frames | p50 ms | p99 ms | first token ms | CPU µs/token | core % | others % | bytes/token | MiB |",
        "|--:|:--|--:|--:|--:|--:|--:|--:|--:|--:|",
    ]
    lines += [
        f"| {row.chats} | {row.frames} | {row.latency_p50_ms:.1f} | {row.latency_p99_ms:.1f} "
        f"| {row.first_token_ms:.1f} | {row.cpu_us_per_token:.0f} | {row.core_percent:.0f} "
        f"| {row.others_percent:.0f} | {row.bytes_per_token:.0f} | {row.memory_mib:.0f} |"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--chats", type=int, nargs="+", default=[1, 20, 100])
    parser.add_argument("--seconds", type=float, default=10, help="how long each chat streams")
    parser.add_argument("--json", type=Path, default=Path("var/bench.json"), help="where to write the figures")
    options = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    port = free_port()
    os.sched_setaffinity(0, set(cores[1:]) or set(cores))
    upstream = subprocess.Popen([sys.executable, "-m", "tests.bench.upstream", str(port)])
    with tempfile.TemporaryDirectory() as folder:
        server = ServerProcess(Path(folder), upstream=f"http://127.0.0.1:{port}/v1", AGENT_SOCKETS_MAX_PER_USER="10000")
        try:
            server.start()
            os.sched_setaffinity(server.pid, {cores[0]})
            person = Person(server.base).log_in()
            wait_until(lambda: upstream.poll() is None, within_s=5, what="the upstream")
            rows = []
            for chats in options.chats:
                for frames in ("json", "html"):
                    print(f"{chats} chats, {frames} …", file=sys.stderr, flush=True)  # noqa: T201 - progress
                    rows.append(
                        asyncio.run(measure(server, person, chats=chats, frames=frames, seconds=options.seconds))
                    )
        finally:
            server.close()
            upstream.terminate()
            upstream.wait()
    print(table(rows))  # noqa: T201 - the result
    names = ("Django", "channels", "daphne", "openai")
    report = {
        "python": platform.python_version(),
        "versions": {name: version(name) for name in names},
        "cores": len(cores),
        "rows": [asdict(row) for row in rows],
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(report, indent=2) + "\n")


if __name__ == "__main__":
    main()
