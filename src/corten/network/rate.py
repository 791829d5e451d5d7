"""Bandwidth limits of containers, and delays: "10mbit", or "egress=10mbit,ingress=1gbit,delay=5ms,jitter=1ms", seen
from the container; a delay is of what it sends.

A token bucket at each end of the container's device: what it sends is held back inside, what it receives outside. The
one inside can be taken away by a container with CAP_NET_ADMIN, which Docker's default profile does not give.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from corten.errors import Invalid, Unsupported
from corten.kernel import rtnetlink
from corten.kernel.netlink import Request, Socket
from corten.kernel.qdisc import delay, ingress, no_ingress, no_queue, redirect, redirect_own, stay, token_bucket
from corten.kernel.rtnetlink import IPAddress

_RATE = re.compile(r"(\d{1,12})(k|m|g|t)?bit(?:/s)?", re.ASCII)
_UNITS = {None: 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_LEAST = 8_000  # bits a second; less cannot carry a TCP connection
_TIME = re.compile(r"(\d{1,9})(us|ms|s)", re.ASCII)
_NANOSECONDS = {"us": 10**3, "ms": 10**6, "s": 10**9}
_LONGEST = 60 * 10**9


class Rate(NamedTuple):
    """Bits a second, and nanoseconds; 0 is no limit."""

    egress: int = 0
    ingress: int = 0
    delay: int = 0
    jitter: int = 0


def parse(text: str) -> Rate:
    """The empty text and "none" are no limit. Invalid."""
    if text in ("", "none"):
        return Rate()
    if "=" not in text:
        both = _bits(text)
        return Rate(both, both)
    found: dict[str, int] = {}
    for field in text.split(","):
        key, _, value = field.partition("=")
        if key not in Rate._fields or key in found:
            raise Invalid(f"invalid net rate {text!r}: egress=RATE,ingress=RATE,delay=TIME,jitter=TIME is needed")
        found[key] = _bits(value) if key in ("egress", "ingress") else _time(value)
    if found.get("jitter", 0) > found.get("delay", 0):
        raise Invalid(f"invalid net rate {text!r}: the jitter is longer than the delay")
    return Rate(**found)


def _time(text: str) -> int:
    match = _TIME.fullmatch(text)
    if text not in ("0", "none") and not match:
        raise Invalid(f"invalid delay {text!r}: a number with us, ms or s is needed")
    found = int(match[1]) * _NANOSECONDS[match[2]] if match else 0
    if found > _LONGEST:
        raise Invalid(f"invalid delay {text!r}: at most 60s is possible")
    return found


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


def send(route: Socket, index: int, limits: Rate) -> None:
    """Limit and delay what a container sends. Unsupported for a delay without netem in the kernel."""
    if not limits.delay:
        apply(route, index, limits.egress)
        return
    try:
        route.request(delay(index, limits.delay, limits.jitter, limits.egress // 8))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EOPNOTSUPP):
            raise Unsupported("this kernel cannot delay packets: it has no netem (CONFIG_NET_SCH_NETEM)") from error
        raise


def receive(inside: Socket, index: int, name: str, bits: int) -> None:
    """Limit what arrives at a device without another end on this host (macvlan, ipvlan): it takes the way through an
    ifb beside it, which can hold it back. 0 takes the limit away. Unsupported where the kernel lacks a part of that.
    """
    _led_by(
        inside, index, f"ifb-{name}"[:15], Rate(egress=bits) if bits else None, lambda made: [redirect(index, made)]
    )


def hold_back(
    route: Socket,
    index: int,
    other: str,
    limits: Rate,
    mac: str,
    addresses: Sequence[IPAddress],
    names: IPAddress | None = None,
) -> None:
    """What a machine sends arrives at its tap on this host: from these addresses of its own it takes the way through
    the ifb `other`, which limits and delays it; all else is left to what pins it (`pins`), and so is what it asks at
    `names`. Without such a limit that goes. Unsupported where the kernel lacks a part."""
    source = rtnetlink.mac_bytes(mac)
    staying = [] if names is None else [stay(index, names.packed)]
    _led_by(
        route,
        index,
        other,
        limits if limits.egress or limits.delay else None,
        lambda made: [
            *staying,
            *(one for address in addresses for one in redirect_own(index, made, source, address.packed)),
        ],
    )


def _led_by(
    route: Socket, index: int, other: str, limits: Rate | None, leading: Callable[[int], Sequence[Request]]
) -> None:
    found = next((link.ifindex for link in rtnetlink.links(route) if link.name == other), 0)
    if found:
        route.request(no_ingress(index), rtnetlink.delete_link(found))
    if limits is None:
        return
    try:
        route.request(rtnetlink.plain(other, "ifb"))
        made = next(link.ifindex for link in rtnetlink.links(route) if link.name == other)
        route.request(rtnetlink.up(made))
        send(route, made, limits)
        route.request(ingress(index), *leading(made))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.EOPNOTSUPP):
            raise Unsupported(
                "this kernel cannot limit what arrives there: it has no ifb, ingress or mirred"
            ) from error
        raise


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
