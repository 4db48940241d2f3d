"""The first program inside the sandbox: reads its orders, takes every right away from itself, becomes kernel or shell.

Knows the form of the orders (one JSON object on standard input, from the server, trusted). Everything after
`filter_system_calls` is foreign territory: nothing that this process says may be trusted from there on.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import signal
import sys
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import confine  # type: ignore[import-not-found,unused-ignore]  # beside this file, which is a script

# How often the supervisor kills again while something is still being born.
KILL_AGAIN_MS = 5


def main() -> None:
    """Obey one order; returns only as the kernel's end."""
    orders = json.loads(sys.stdin.buffer.read())
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.close(nothing)
    confine.give_up_privileges()
    for unneeded in orders["unneeded"]:
        os.close(unneeded)
    supervised = orders.get("supervised")
    if supervised:
        _supervise(orders["lifeline"])
        read, write, devices = supervised["read"], supervised["write"], supervised["devices"]
    else:
        _end_with_the_server(orders["lifeline"])
    confine.offer_to_the_oom_killer()
    os.chdir(orders["folder"])
    confine.limit(orders["limits"])
    if supervised:
        confine.restrict_files(read=read, write=write, devices=devices)
    confine.filter_system_calls(base64.b64decode(orders["filter"]))
    if orders["run"] == "shell":
        os.execv("/bin/bash", ["bash", "--noprofile", "--norc", "-c", orders["command"]])  # noqa: S606
    _become_kernel(orders["kernel"])


def _become_kernel(orders: dict[str, Any]) -> None:
    import kernel_app  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415 - needs the sandbox's packages

    kernel_app.run(orders)


def _end_with_the_server(lifeline: int) -> None:
    """Where there is a process namespace: from here on it ends with the server, which may have ended while it was made.

    Then bubblewrap was not told, and nobody would end what is started now.
    """
    poll = select.poll()
    poll.register(lifeline, select.POLLIN | select.POLLHUP)
    if poll.poll(0):
        sys.exit("the server has ended")
    os.close(lifeline)


def _supervise(lifeline: int) -> None:
    """Where there is no process namespace: fork, go on as the child, and let the parent end the whole tree.

    The parent adopts every orphan, so nothing gets away from it. When the first child ends, or the server closes the
    other end of `lifeline` (by dying, too), it kills all that its signals reach, which is its own descendants, until
    there are none.
    """
    confine.adopt_orphans()
    confine.keep_signals_in()
    try:
        os.kill(os.getppid(), 0)
    except PermissionError:
        pass
    else:
        sys.exit("Landlock does not keep signals in here, so a whole tree can't be ended safely")
    child = os.fork()
    if child == 0:
        os.close(lifeline)
        os.setsid()
        confine.die_with_parent()
        return
    os.closerange(0, 1)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    os.set_blocking(woken, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    poll = select.poll()
    poll.register(lifeline, select.POLLIN | select.POLLHUP)
    poll.register(woken, select.POLLIN)
    code = 0
    is_alive = True
    while is_alive:
        for file, _ in poll.poll():
            if file == lifeline:
                is_alive = False
            else:
                os.read(woken, 4096)
        while is_alive and (ended := _reap()) is not None:
            if ended[0] == child:
                code, is_alive = ended[1], False
    while _kill_all():
        select.select([], [], [], KILL_AGAIN_MS / 1000)
    os._exit(code if 0 <= code < 256 else 128 - code)


def _reap() -> tuple[int, int] | None:
    try:
        pid, status = os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return None
    return (pid, os.waitstatus_to_exitcode(status)) if pid else None


def _kill_all() -> bool:
    """Whether there was still somebody."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(-1, signal.SIGKILL)
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return False
    return True


if __name__ == "__main__":
    main()
