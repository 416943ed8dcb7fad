"""Which names a service on this machine answers to: a page elsewhere may have given its own name our address."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from urllib.parse import urlsplit


def host_name(host: str) -> str:
    """The name in a Host header, in lower case, without the port and an IPv6 address's brackets; empty for none."""
    try:
        return (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def is_known_host(host: str, names: Iterable[str]) -> bool:
    """Whether a `host_name` is this machine's, one of `names`, or an address, which cannot be rebound; '*': any."""
    known = [name.lower() for name in names]
    if host in ("localhost", *known) or "*" in known:
        return True
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
