"""Refuses cross-origin requests: a foreign web page must not reach the engine through a visitor's browser."""

from __future__ import annotations

import ipaddress
import socket
import urllib.parse

from aiohttp import web

from corten.errors import Forbidden


def refuse_browsers(request: web.BaseRequest, trusted_hosts: tuple[str, ...] = ()) -> None:
    """Raises Forbidden for a cross-origin request, and over TCP for a Host that any DNS server could point here.

    A request with an `Origin`, or one that a browser marks as cross-site, has to come from the address it is sent to.
    On a unix socket no browser can be the client, but a proxy before it can pass on what one sends.
    """
    headers = request.headers
    origin = headers.get("Origin")
    if origin is not None and not _same(origin, headers.get("Host", "")):
        raise Forbidden(f"requests from other origins are refused: {origin[:200]}")
    if headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
        raise Forbidden("cross-site requests are refused")
    transport = request.transport
    local = transport is None or isinstance(transport.get_extra_info("sockname"), str | bytes)  # a path, or none
    if not local and not _known_host(headers.get("Host", ""), trusted_hosts):
        raise Forbidden(f"this daemon is not known as {headers.get('Host', '')[:200]!r}: use its address or localhost")


def _same(origin: str, host: str) -> bool:
    try:
        return urllib.parse.urlsplit(origin).netloc.lower() == host.lower() != ""
    except ValueError:
        return False


def _known_host(host: str, trusted: tuple[str, ...]) -> bool:
    """An address, localhost, this machine's name, or one that the administrator named: no DNS name can be rebound."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
    name = name.strip("[]").lower()
    if name in ("", "localhost", socket.gethostname().lower()) or name in trusted:
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
