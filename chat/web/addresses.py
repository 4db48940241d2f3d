"""Where a request or a socket comes from, as far as that can be known."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.http import HttpRequest

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

# What one household or machine has of the new kind of addresses.
IPV6_PREFIX_BITS = 64
UNKNOWN = "unknown"


def of_request(request: HttpRequest) -> str:
    """The client's address, to count by."""
    return _to_count_by(_of_request(request))


def in_full(request: HttpRequest) -> str | None:
    """The client's whole address, to be noted; None when there is none."""
    address = _of_request(request)
    return None if address is None else str(address)


def of_scope(scope: Mapping[str, Any]) -> str:
    """The same of a socket."""
    forwarded = b",".join(value for name, value in scope["headers"] if name == b"x-forwarded-for")
    client = scope.get("client")
    return _to_count_by(_believed(client[0] if client else "", forwarded.decode("latin-1")))


def _of_request(request: HttpRequest) -> Address | None:
    return _believed(request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_X_FORWARDED_FOR", ""))


def _believed(peer: str, forwarded: str) -> Address | None:
    """Each of our own proxies has added one address at the end; what is before those is the client's own word."""
    proxies: int = settings.AGENTSITE.agent_proxies
    hops = [hop.strip() for hop in forwarded.split(",") if hop.strip()]
    try:
        parsed = ipaddress.ip_address(hops[-proxies] if 0 < proxies <= len(hops) else peer)
    except ValueError:
        return None
    return (isinstance(parsed, ipaddress.IPv6Address) and parsed.ipv4_mapped) or parsed


def _to_count_by(address: Address | None) -> str:
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, IPV6_PREFIX_BITS), strict=False))
    return UNKNOWN if address is None else str(address)
