"""Addresses of parts, as they may be shown."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit


def without_login(uri: str) -> str:
    """Return an address without user, password and query."""
    scheme, colon, rest = uri.partition("?")[0].partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{colon}{authority.rpartition('@')[2]}{slash}{path}"


def is_loopback(uri: str) -> bool:
    """Tell whether only this machine can reach an address."""
    host = urlsplit(uri).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
