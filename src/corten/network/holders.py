"""Which program has a port of this host: for the error of who wanted it too. Read from /proc, only after a refusal."""

from __future__ import annotations

import ipaddress
import os
import sys
from collections.abc import Iterator

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def holder(protocol: str, ip: IPAddress, port: int) -> str:
    """ "process nginx, pid 123", or empty: it is in another PID namespace, or gone by now."""
    sockets = set(_sockets(protocol, ip, port))
    if not sockets:
        return ""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if any(os.readlink(f"/proc/{pid}/fd/{fd}") in sockets for fd in os.listdir(f"/proc/{pid}/fd")):
                with open(f"/proc/{pid}/comm", errors="replace") as file:
                    return f"process {file.read().strip()}, pid {pid}"
        except OSError:  # it ended, or closed that descriptor, while we looked
            continue
    return ""


def _sockets(protocol: str, ip: IPAddress, port: int) -> Iterator[str]:
    """Links of the sockets that are bound to the port, on this address or on every one."""
    for suffix in ("", "6"):
        try:
            with open(f"/proc/thread-self/net/{protocol}{suffix}") as file:
                rows = file.read().splitlines()[1:]
        except FileNotFoundError:  # no such protocol here; sctp has other columns
            continue
        for words in map(str.split, rows):
            address, number = words[1].split(":")
            if int(number, 16) == port and _meets(_address(address), ip) and words[9] != "0":
                yield f"socket:[{words[9]}]"


def _address(text: str) -> IPAddress:
    """32-bit words in the machine's byte order, in hexadecimal."""
    words = [int(text[i : i + 8], 16).to_bytes(4, sys.byteorder) for i in range(0, len(text), 8)]
    return ipaddress.ip_address(b"".join(words))


def _meets(bound: IPAddress, wanted: IPAddress) -> bool:
    if bound.is_unspecified or wanted.is_unspecified:
        return bound.version == 6 or wanted.version == 4  # one for IPv6 may be for both
    mapped = getattr(bound, "ipv4_mapped", None)
    return wanted in (bound, mapped)


def in_use_by(protocol: str, ip: IPAddress, port: int, container: str) -> str:
    """What stands behind "port is already allocated"."""
    who = f"container {container}" if container else holder(protocol, ip, port)
    return f" (by {who})" if who else ""
