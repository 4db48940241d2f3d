"""ipykernel, made to fit: listens on sockets that the server made, says no more than fits, is warm before it is ready.

Runs inside. What it does is courtesy towards honest code (a print of 100 MB becomes its first part, not the end of the
kernel); foreign code can undo all of it, so the server bounds everything again.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import io
import os
import select
import shutil
import struct
import sys
import termios
import threading
import time
from codecs import getincrementaldecoder
from pathlib import Path
from typing import Any

# How long the end of a cell waits for what child processes wrote to the standard streams.
DRAIN_TIMEOUT_S = 0.2
PIPE_READ_BYTES = 65536


def run(orders: dict[str, Any]) -> None:
    """Serve until the end. orders: listeners (channel to file descriptor), key, text_max_chars, image_max_chars."""
    _warm_matplotlib_cache(Path(sys.prefix) / "matplotlib")
    app: Any = importlib.import_module("ipykernel.kernelapp").IPKernelApp.instance()
    _listen_on(app, orders["listeners"])
    _read_standard_streams_whole()
    settings = {
        "Session": {"key": orders["key"].encode()},
        "IPKernelApp": {"transport": "ipc"},
        "HistoryManager": {"enabled": False},
        "InteractiveShell": {"colors": "nocolor"},
    }
    app.update_config(importlib.import_module("traitlets.config").Config(settings))
    app.initialize([])
    _keep_no_output(app.shell)
    _say_no_more_than_fits(app.session, orders["text_max_chars"], orders["image_max_chars"])
    app.shell.events.register("post_execute", _drain_standard_streams)
    # `!command` over a pipe: a terminal is not everywhere to be had, and nobody sits at it.
    app.shell.system = app.shell.system_raw
    os.register_at_fork(after_in_child=_write_plainly)
    _warm_up(app.shell)
    _stop_complaining()
    app.start()


def _listen_on(app: Any, listeners: dict[str, int]) -> None:
    """Bind each channel to its ready-made listening socket: nothing is looked up by a path that could be swapped."""
    zmq = importlib.import_module("zmq")
    iostream = importlib.import_module("ipykernel.iostream")

    def bind(socket: Any, port: int) -> int:
        channel = next(waiting)
        if channel in listeners:
            socket.setsockopt(zmq.USE_FD, listeners[channel])
            socket.bind(f"ipc:///nowhere/{channel}")
        else:
            socket.bind(f"inproc://{channel}")
        return port

    # The order in which ipykernel binds.
    waiting = iter(("shell", "stdin", "control", "iopub"))
    app._try_bind_socket = bind
    # The debugger's client would look for a path for ever.
    app._apply_curve_client_options = lambda socket: socket.setsockopt(zmq.RECONNECT_IVL, -1)
    for unneeded in ("init_connection_file", "write_connection_file", "init_heartbeat", "log_connection_info"):
        setattr(app, unneeded, lambda: None)
    app._ports = {}
    # Forked children would report over TCP; `_write_plainly` gives them the standard streams instead.
    iostream.IOPubThread._setup_pipe_in = lambda thread: setattr(thread, "_pipe_flag", False)


class _Forgetful(dict[Any, Any]):
    """IPython's record of outputs, of which nothing is kept."""

    def __missing__(self, _: Any) -> list[Any]:
        return []


def _keep_no_output(shell: Any) -> None:
    """IPython holds everything that was ever shown in memory; here the server has it."""
    shell._tee = lambda channel: contextlib.nullcontext()
    shell.history_manager.outputs = _Forgetful()


def _say_no_more_than_fits(session: Any, text_max_chars: int, image_max_chars: int) -> None:
    iostream = importlib.import_module("ipykernel.iostream")
    send, write = session.send, iostream.OutStream.write

    def bounded_send(stream: Any, kind: Any, content: Any = None, *args: Any, **kwargs: Any) -> Any:
        said = kind["content"] if isinstance(kind, dict) else content
        if isinstance(said, dict):
            _cut(said, text_max_chars, image_max_chars)
        return send(stream, kind, content, *args, **kwargs)

    def bounded_write(stream: Any, text: str) -> int:
        """What nobody would see is dropped here already: a child can write gigabytes while one message is made."""
        cell = stream.parent_header.get("msg_id")
        if cell != getattr(stream, "agentsite_cell", None):
            stream.agentsite_cell, stream.agentsite_said = cell, 0
        room = text_max_chars + 1 - stream.agentsite_said
        if room > 0 and isinstance(text, str):
            stream.agentsite_said += len(text)
            write(stream, text[:room])
        return len(text)

    session.send = bounded_send
    iostream.OutStream.write = bounded_write


def _cut(content: dict[str, Any], text_max_chars: int, image_max_chars: int) -> None:
    # One character more than fits, so that the server sees that there was more, and says so.
    end = text_max_chars + 1
    for name in ("text", "evalue"):
        if isinstance(content.get(name), str):
            content[name] = content[name][:end]
    if isinstance(content.get("traceback"), list):
        content["traceback"] = [line[:end] for line in content["traceback"][-200:]]
    data = content.get("data")
    if isinstance(data, dict):
        for kind, value in list(data.items()):
            if kind.startswith("text/") and isinstance(value, str):
                data[kind] = value[:end]
            elif isinstance(value, str | bytes) and len(value) > image_max_chars:
                del data[kind]
                data["text/plain"] = f"[{kind} of {len(value):,} characters: too large to show]"


def _read_standard_streams_whole() -> None:
    """Replace ipykernel's reader of the file descriptors 1 and 2: it cuts characters in two and is late at a cell's
    end.
    """
    iostream = importlib.import_module("ipykernel.iostream")

    def watch(stream: Any) -> None:
        decoder = getincrementaldecoder("utf-8")(errors="replace")
        stream.agentsite_lock = threading.Lock()
        while stream._should_watch:
            select.select([stream._fid], [], [])
            # What is in the pipe is said before the lock is free again: an empty pipe and a free lock mean "all said".
            with stream.agentsite_lock:
                stream.write(decoder.decode(os.read(stream._fid, PIPE_READ_BYTES)))

    iostream.OutStream._watch_pipe_fd = watch


def _drain_standard_streams() -> None:
    deadline = time.monotonic() + DRAIN_TIMEOUT_S
    for stream in (sys.stdout, sys.stderr):
        lock, file = getattr(stream, "agentsite_lock", None), getattr(stream, "_fid", None)
        while lock and file is not None and time.monotonic() < deadline:
            with lock:
                (waiting,) = struct.unpack("i", fcntl.ioctl(file, termios.FIONREAD, b"\0" * 4))
            if not waiting:
                break
            time.sleep(0.0005)


def _write_plainly() -> None:
    """In a forked child: the kernel's threads are not there, its standard streams are."""
    for name, file in (("stdout", 1), ("stderr", 2)):
        raw: Any = io.FileIO(file, "w", closefd=False)
        setattr(sys, name, io.TextIOWrapper(raw, encoding="utf-8", write_through=True))


def _stop_complaining() -> None:
    """Until here, what went wrong was for the server to read. From here on, these would be foreign words in its
    memory.
    """
    with open(os.devnull, "wb") as nothing:
        streams: tuple[Any, ...] = (sys.stdout, sys.stderr)
        for stream in streams:
            os.dup2(nothing.fileno(), stream._original_stdstream_copy)


def _warm_matplotlib_cache(made_at_install: Path) -> None:
    """Finding all fonts takes seconds; the list was made when the sandbox was installed."""
    if made_at_install.is_dir():
        shutil.copytree(made_at_install, os.environ["MPLCONFIGDIR"], dirs_exist_ok=True)


def _warm_up(shell: Any) -> None:
    """Import what nearly every cell wants, draw once, fail once: the first time of each takes ten times the second."""
    for name in ("numpy", "pandas"):
        importlib.import_module(name)
    pyplot: Any = importlib.import_module("matplotlib.pyplot")
    figure, axes = pyplot.subplots()
    axes.plot([0, 1])
    axes.set_title("Warm")
    figure.savefig(io.BytesIO(), format="png", bbox_inches="tight")
    pyplot.close(figure)
    with importlib.import_module("IPython.utils.capture").capture_output():
        shell.run_cell("1 / 0", store_history=False)
    for name in ("last_type", "last_value", "last_traceback"):
        setattr(sys, name, None)
