"""EXPOSE: `PORT[-PORT][/PROTOCOL]`; an address and a host's port before it are allowed, and dropped."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from corten.spec.dockerfile.texts import quoted

_PROTOCOLS = ("tcp", "udp", "sctp")
_NUMBER = re.compile(r"[0-9]{1,9}")
_HIGHEST = 65535
_MOST = 3 * (_HIGHEST + 1)


@dataclass(frozen=True, slots=True)
class Port:
    """What one word names, from the first to the last. `protocol` is as written, "" for none; `mapped`: with an address
    or a host's port."""

    first: int
    last: int
    protocol: str
    mapped: bool

    @property
    def exposed(self) -> Iterator[str]:
        """Each as NUMBER/PROTOCOL."""
        protocol = (self.protocol or "tcp").lower()
        return (f"{number}/{protocol}" for number in range(self.first, self.last + 1))


def exposed(words: Iterable[str]) -> tuple[str, ...]:
    """Those of an EXPOSE that is expanded, as an image's configuration has them, each once. Raises ValueError in
    BuildKit's words."""
    found = [port(word) for word in dict.fromkeys(words)]
    if sum(each.last - each.first for each in found) > _MOST:
        raise ValueError(f"more than {_MOST} ports")
    return tuple(dict.fromkeys(name for each in found for name in each.exposed))


def port(word: str) -> Port:
    """Raises ValueError."""
    head, _, inner = word.rpartition(":")
    address, _, outer = head.rpartition(":")
    number, _, protocol = inner.partition("/")
    if not number:
        raise ValueError(f"invalid port: {quoted(word)}: no port specified")
    if protocol and protocol.lower() not in _PROTOCOLS:
        raise ValueError(f"invalid port: {quoted(word)}: invalid proto: {protocol}")
    _check_address(address)
    first, last = _range(number, "containerPort")
    if outer:
        low, high = _range(outer, "hostPort")
        if last - first != high - low and last != first:
            raise ValueError(f"invalid ranges specified for container and host Ports: {number} and {outer}")
    return Port(first, last, protocol, bool(address or outer))


def _check_address(address: str) -> None:
    inner = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    try:
        if inner:
            ipaddress.ip_address(inner)
    except ValueError:
        raise ValueError(f"invalid IP address: {inner}") from None


def _range(text: str, what: str) -> tuple[int, int]:
    begin, dash, end = text.partition("-")
    numbers = [int(part) for part in (begin, end if dash else begin) if _NUMBER.fullmatch(part)]
    if len(numbers) != 2 or not numbers[0] <= numbers[1] <= _HIGHEST:
        raise ValueError(f"invalid {what}: {text}")
    return numbers[0], numbers[1]
