"""Servers for a test or a module, that are seen to end well."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from tests.server import ServerProcess

# What nobody should find in the log of a server to which nothing happened.
TROUBLE = re.compile(r"Traceback|\bERROR\b|\bCRITICAL\b|Exception|Warning:")


@contextmanager
def serving(server: ServerProcess) -> Iterator[ServerProcess]:
    """Start a server, and see at the end that it goes when it is asked to and complained of nothing."""
    try:
        server.start()
        yield server
        code = server.stop(signal.SIGTERM)
        assert code == 0, f"it ended with {code}:\n{server.log_text}"
        assert [line for line in server.log_text.splitlines() if TROUBLE.search(line)] == []
    finally:
        server.close()
