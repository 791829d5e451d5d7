"""Bandwidth limits of containers: "10mbit", or "egress=10mbit,ingress=1gbit", seen from the container.

A token bucket at each end of the container's device: what it sends is held back inside, what it receives outside. The
one inside can be taken away by a container with CAP_NET_ADMIN, which Docker's default profile does not give.
"""

from __future__ import annotations

import errno
import re
from typing import NamedTuple

from corten.errors import Invalid, Unsupported
from corten.kernel.netlink import Request, Socket
from corten.kernel.qdisc import no_queue, token_bucket

_RATE = re.compile(r"(\d{1,12})(k|m|g|t)?bit(?:/s)?", re.ASCII)
_UNITS = {None: 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_LEAST = 8_000  # bits a second; less cannot carry a TCP connection
_NETEM = frozenset(("delay", "latency", "jitter", "loss"))


class Rate(NamedTuple):
    """Bits a second; 0 is no limit."""

    egress: int = 0
    ingress: int = 0


def parse(text: str) -> Rate:
    """The empty text and "none" are no limit. Invalid; Unsupported for latency, which takes netem."""
    if text in ("", "none"):
        return Rate()
    if "=" not in text:
        both = _bits(text)
        return Rate(both, both)
    found: dict[str, int] = {}
    for field in text.split(","):
        key, _, value = field.partition("=")
        if key in _NETEM:
            raise Unsupported(f"net rate {text!r}: {key} would take the kernel's netem; only rates can be given")
        if key not in Rate._fields or key in found:
            raise Invalid(f"invalid net rate {text!r}: egress=RATE,ingress=RATE is needed")
        found[key] = _bits(value)
    return Rate(**found)


def _bits(text: str) -> int:
    if text in ("0", "none"):
        return 0
    match = _RATE.fullmatch(text.lower())
    if not match:
        raise Invalid(f"invalid net rate {text!r}: a number with bit, kbit, mbit, gbit or tbit is needed")
    bits = int(match[1]) * _UNITS[match[2]]
    if not _LEAST <= bits <= 10**13:
        raise Invalid(f"invalid net rate {text!r}: from 8kbit to 10tbit is possible")
    return bits


def apply(route: Socket, index: int, bits: int) -> None:
    """Limit what leaves through a device; 0 takes the limit away. Unsupported without tbf in the kernel."""
    try:
        route.request(bucket(index, bits) if bits else no_queue(index))
    except OSError as error:
        if not bits and error.errno in (errno.ENOENT, errno.EINVAL):
            return  # there was no limit
        if error.errno in (errno.ENOENT, errno.EOPNOTSUPP):
            raise Unsupported("this kernel cannot limit a network's rate: it has no sch_tbf") from error
        raise


def bucket(index: int, bits: int) -> Request:
    """10 ms of traffic at once, so that a slow timer loses nothing; 50 ms more may wait."""
    rate = bits // 8
    burst = max(rate // 100, 16 * 1024)
    return token_bucket(index, rate, min(burst, 0xFFFFFFF), min(burst + max(rate // 20, 16 * 1024), 0xFFFFFFF))
