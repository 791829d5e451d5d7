"""The device that a container gets in a network: its name, MAC, addresses, and the messages that configure it. Pure."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from corten.kernel import rtnetlink
from corten.kernel.netlink import Request
from corten.kernel.rtnetlink import IPAddress

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


@dataclass(frozen=True, slots=True)
class InterfaceSpec:
    """The device in the container. `gateways` are empty when another network gives the container its default route;
    `mtu` 0 is the kernel's."""

    name: str
    mac: str
    interfaces: tuple[Interface, ...]
    gateways: tuple[IPAddress, ...] = ()
    mtu: int = 0


def interface(address: IPAddress, prefix: int) -> Interface:
    return ipaddress.ip_interface(f"{address}/{prefix}")


def mac_of(address: IPAddress) -> str:
    """02:42 and the address (the last four bytes of an IPv6 one).

    An address that is used again then keeps its MAC, and no ARP table becomes stale.
    """
    return (b"\x02\x42" + address.packed[-4:]).hex(":")


def link_local_of(mac: str) -> Interface:
    """fe80:: and the modified EUI-64 of a MAC (RFC 4291, appendix A)."""
    raw = rtnetlink.mac_bytes(mac)
    low = bytes((raw[0] ^ 2,)) + raw[1:3] + b"\xff\xfe" + raw[3:]
    return ipaddress.IPv6Interface((b"\xfe\x80" + bytes(6) + low, 64))


def configured(index: int, spec: InterfaceSpec, has_ipv6: bool, link_local: bool) -> list[Request]:
    """Addresses of a new device, in order; then it is up. Routes come behind them.

    An IPv4 network gives no IPv6 address, not even fe80::; with `link_local` it is given without the kernel's probing
    second.
    """
    requests = [rtnetlink.no_link_local(index)] if has_ipv6 else []
    if link_local:
        requests.append(rtnetlink.address(index, link_local_of(spec.mac)))
    requests += [rtnetlink.address(index, one) for one in spec.interfaces]
    return [*requests, rtnetlink.up(index)]
