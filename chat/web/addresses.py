"""Where a request or a socket comes from, as far as that can be known."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.http import HttpRequest

# What one household or machine has of the new kind of addresses.
IPV6_PREFIX_BITS = 64
UNKNOWN = "unknown"


def of_request(request: HttpRequest) -> str:
    """The client's address, to count by."""
    return _believed(request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_X_FORWARDED_FOR", ""))


def of_scope(scope: Mapping[str, Any]) -> str:
    """The same of a socket."""
    forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
    client = scope.get("client")
    return _believed(client[0] if client else "", forwarded.decode("latin-1"))


def _believed(peer: str, forwarded: str) -> str:
    """Each of our own proxies has added one address at the end; what is before those is the client's own word."""
    proxies: int = settings.AGENTSITE.agent_proxies
    hops = [hop.strip() for hop in forwarded.split(",") if hop.strip()]
    address = hops[-proxies] if 0 < proxies <= len(hops) else peer
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return UNKNOWN
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, IPV6_PREFIX_BITS), strict=False))
    return str(parsed)
