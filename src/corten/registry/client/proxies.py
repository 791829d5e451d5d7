"""Which proxy a request goes through: HTTP_PROXY, HTTPS_PROXY and NO_PROXY as Go's programs read them.

NO_PROXY is a list, separated by commas: `*`, addresses, networks in CIDR form, `.example.com` (everything below it),
`example.com` (and everything below it), each but the networks with a port where only that one is meant. localhost and
loopback addresses are never asked through a proxy.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from corten.errors import Invalid
from corten.registry.client.endpoints import is_loopback
from corten.registry.client.urls import completed, is_url


@dataclass(frozen=True, slots=True)
class Proxies:
    """URLs as they were configured; "" for none."""

    http: str = ""
    https: str = ""
    none: str = ""

    def __post_init__(self) -> None:
        for url in (self.http, self.https):
            if url:
                _checked(url)

    def of(self, url: str) -> str | None:
        """The URL of the proxy for `url`; None when it is asked directly."""
        parts = urlsplit(url)
        proxy = self.https if parts.scheme == "https" else self.http
        host = (parts.hostname or "").lower().rstrip(".")
        port = parts.port or {"http": 80, "https": 443}.get(parts.scheme, 0)
        if not proxy or is_loopback(host) or any(_exempt(entry, host, port) for entry in self.none.split(",")):
            return None
        return _checked(proxy)

    def shown(self) -> tuple[str, str, str]:
        """The three of them without passwords."""
        return _hidden(self.http), _hidden(self.https), self.none


def from_environment(environ: Mapping[str, str]) -> Proxies:
    """As the daemon was started with; upper case goes first."""
    found = [environ.get(name) or environ.get(name.lower()) or "" for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")]
    return Proxies(*found)


def _checked(proxy: str) -> str:
    url = completed(proxy)
    if not is_url(url):
        raise Invalid(f"proxy {_hidden(proxy)!r} is no http:// or https:// URL of a host")
    return url


def _exempt(entry: str, host: str, port: int) -> bool:
    entry = entry.strip().lower()
    if entry in ("", "*"):
        return entry == "*"
    if "/" in entry:
        return _inside(entry, host)
    name, only = _split(entry)
    if only and only != str(port):
        return False
    name = name.removeprefix("*")
    if name.startswith("."):
        return host.endswith(name)
    return host == name or (host.endswith("." + name) and not _is_address(host))


def _inside(network: str, host: str) -> bool:
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _split(entry: str) -> tuple[str, str]:
    """Host and port, without brackets."""
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        return name, rest.removeprefix(":")
    if entry.count(":") > 1:
        return entry, ""
    name, _, port = entry.partition(":")
    return name, port


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _hidden(url: str) -> str:
    head, at, host = url.rpartition("@")
    scheme, separator, _ = head.partition("://")
    return f"{scheme}{separator}xxxxx:xxxxx@{host}" if at and separator else f"xxxxx:xxxxx@{host}" if at else url
