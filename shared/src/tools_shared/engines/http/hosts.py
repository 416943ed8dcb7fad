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


def foreign_request(host: str, origin: str | None, names: Iterable[str]) -> tuple[int, str] | None:
    """The status and the reason to refuse a request with this Host header and, where there is one, Origin header: one
    to a name that is not this service's (DNS rebinding), or from a page of another origin. None where it is taken."""
    name = host_name(host)
    if not is_known_host(name, names):
        return 421, "this server does not go by that host's name; start it with --allowed-host NAME"
    if origin is not None and host_name(urlsplit(origin).netloc) != name:
        return 403, "asked by a page of another origin"
    return None
