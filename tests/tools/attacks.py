"""What hostile code may try in the sandbox, as cells. Each says ESCAPED when it got what it must not get.

They run against our own sandbox on this machine only. Names like `secret` and `server` are set before each cell: the
server's things that are to be reached.
"""

from __future__ import annotations

from dataclasses import dataclass

from chat.tools.sandbox.values import Status

LIVES = frozenset({Status.SUCCEEDED, Status.FAILED})
FAILS = frozenset({Status.FAILED})
DIES = frozenset({Status.DIED})
LASTS = frozenset({Status.TIMED_OUT})
ENDS = DIES | LASTS


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One cell, and how it may end."""

    name: str
    code: str
    ends_as: frozenset[Status] = LIVES
    # A word that the outcome's error or notes must hold.
    says: str = ""
    timeout_s: float = 10


PRELUDE = '''
import base64, ctypes, errno, glob, json, os, resource, signal, socket, stat, struct, subprocess, sys, threading, time

libc = ctypes.CDLL(None, use_errno=True)


def attempt(what, *arguments, **named):
    try:
        got = what(*arguments, **named)
    except BaseException as fault:
        print("contained:", type(fault).__name__, str(fault)[:80])
    else:
        print("ESCAPED", getattr(what, "__name__", what), str(got)[:200])


def must_fail(result):
    print("ESCAPED" if result >= 0 else "contained:", result, os.strerror(ctypes.get_errno()))


def read(path, size=100):
    with open(path, "rb") as file:
        return file.read(size)


def kernel():
    from ipykernel.kernelapp import IPKernelApp

    return IPKernelApp.instance()


def parent():
    return kernel().kernel.get_parent("shell")


def forge(kind, content, up=None):
    """A message with the kernel's own signature, past everything that Jupyter checks."""
    header = json.dumps({"msg_id": "m", "msg_type": kind}).encode()
    above = json.dumps({"msg_id": up or parent()["header"]["msg_id"]}).encode()
    parts = [header, above, b"{}", content.encode()]
    app = kernel()
    app.iopub_socket.send_multipart([b"<IDS|MSG>", app.session.sign(parts), *parts])
'''
