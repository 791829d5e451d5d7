"""Where the API is to listen, as texts say it: what `-H` and `hosts` may be. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from corten.errors import Invalid

_PORT = 2376  # Docker's with TLS, and there is none without
_TCP = re.compile(r"(?:(?P<host>[A-Za-z0-9_.-]+)|\[(?P<six>[0-9A-Fa-f:.]+)\])?(?::(?P<port>[0-9]+))?")


@dataclass(frozen=True, slots=True)
class UnixHost:
    path: Path


@dataclass(frozen=True, slots=True)
class TcpHost:
    """`name` is a name or an address."""

    name: str
    port: int


class PassedSockets:
    """Those that systemd opened."""


Host = UnixHost | TcpHost | PassedSockets


def parse(text: str) -> Host:
    """unix://PATH, tcp://HOST:PORT, HOST:PORT, fd://. As for dockerd, HOST is localhost and PORT 2376 where they are
    missing. Invalid."""
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "tcp", text
    if scheme == "unix" and rest:
        return UnixHost(Path(rest))
    if scheme == "fd" and rest in ("", "*"):
        return PassedSockets()
    if scheme == "fd":
        raise Invalid(f"cannot listen on {text!r}: there is only fd://, for all sockets that systemd passes")
    if scheme != "tcp":
        raise Invalid(f"cannot listen on {text!r}: unix://PATH, tcp://HOST:PORT, HOST:PORT or fd:// is needed")
    match = _TCP.fullmatch(rest)
    port = int(match["port"] or _PORT) if match is not None else 0
    if match is None or not (separator or rest) or not 0 < port < 65536:
        raise Invalid(f"cannot listen on {text!r}: no HOST:PORT, as in 127.0.0.1:2376 or [::1]:2376")
    return TcpHost(match["host"] or match["six"] or "localhost", port)
