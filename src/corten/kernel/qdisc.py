"""tc(8) over rtnetlink: the queue in front of a device, as requests for `netlink.Socket`.

A token bucket (tbf) lets `rate` bytes a second through, `burst` of them at once, and keeps what waits in a queue of
`limit` bytes; what does not fit is dropped. Source: include/uapi/linux/pkt_sched.h, tc-tbf(8).
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Sequence

from corten.kernel.netlink import NLM_F_CREATE, NLM_F_REPLACE, Request, attribute, nest, string, u32

RTM_NEWQDISC, RTM_DELQDISC, RTM_NEWTFILTER = 36, 37, 44
TC_H_INGRESS = 0xFFFFFFF1
TC_ACT_STOLEN, TCA_EGRESS_REDIR = 4, 1
TC_H_ROOT = 0xFFFFFFFF
TCA_KIND, TCA_OPTIONS = 1, 2
TCA_TBF_PARMS, TCA_TBF_RATE64, TCA_TBF_BURST = 1, 4, 6
TCA_NETEM_RATE, TCA_NETEM_RATE64, TCA_NETEM_LATENCY64, TCA_NETEM_JITTER64 = 6, 8, 10, 11
TC_LINKLAYER_ETHERNET = 1
_ETH_P_ALL, _ETH_P_IP, _ETH_P_IPV6 = 3, 0x0800, 0x86DD
_ALL = b"\xff\xff\xff\xff"
_NETEM_LIMIT = 10_000  # packets that may wait: 5 ms at 25 Gbit/s
_HANDLE, _OTHER_HANDLE = 0x10000, 0x20000  # 1: and 2:, because the kind of one that is there cannot change
_LARGEST = 0xFFFFFFFF

_NETEM = struct.Struct("=IIIIII")  # latency and jitter in ticks (given in ns below), limit, loss, gap, duplicate
_TCMSG = struct.Struct("=BxxxiIII")
_RATESPEC = struct.Struct("=BBHhHI")  # cell_log, link layer, overhead, cell_align, mpu, rate
_TBF = struct.Struct(f"={_RATESPEC.size}s{_RATESPEC.size}sIII")  # rate, peak rate, limit, buffer, mtu


def token_bucket(index: int, rate: int, burst: int, limit: int) -> Request:
    """Bytes a second, bytes, bytes. It takes the place of the queue that the device has."""
    spec = _RATESPEC.pack(0, TC_LINKLAYER_ETHERNET, 0, 0, 0, min(rate, _LARGEST))
    options = attribute(TCA_TBF_PARMS, _TBF.pack(spec, bytes(_RATESPEC.size), limit, 0, 0)) + u32(TCA_TBF_BURST, burst)
    if rate > _LARGEST:
        options += attribute(TCA_TBF_RATE64, struct.pack("=Q", rate))
    body = _TCMSG.pack(socket.AF_UNSPEC, index, _HANDLE, TC_H_ROOT, 0)
    body += string(TCA_KIND, "tbf") + nest(TCA_OPTIONS, options)
    return Request(f"set rate of {index} to {rate} bytes/s", RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, body)


def delay(index: int, latency: int, jitter: int, rate: int) -> Request:
    """netem: every packet waits `latency` ns, more or less by `jitter`; `rate` bytes a second unless 0. tc-netem(8).

    Fails with ENOENT where the kernel has no sch_netem.
    """
    options = _NETEM.pack(0, _NETEM_LIMIT, 0, 0, 0, 0)
    options += attribute(TCA_NETEM_LATENCY64, struct.pack("=q", latency))
    options += attribute(TCA_NETEM_JITTER64, struct.pack("=q", jitter))
    if rate:
        options += attribute(TCA_NETEM_RATE, struct.pack("=IiIi", min(rate, _LARGEST), 0, 0, 0))
    if rate > _LARGEST:
        options += attribute(TCA_NETEM_RATE64, struct.pack("=Q", rate))
    body = _TCMSG.pack(socket.AF_UNSPEC, index, _OTHER_HANDLE, TC_H_ROOT, 0)
    body += string(TCA_KIND, "netem") + attribute(TCA_OPTIONS, options)
    return Request(f"set delay of {index} to {latency} ns", RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, body)


def ingress(index: int) -> Request:
    """The qdisc for filters of what arrives at a device. Fails with EEXIST when it exists."""
    body = _TCMSG.pack(socket.AF_UNSPEC, index, TC_H_INGRESS & 0xFFFF0000, TC_H_INGRESS, 0) + string(
        TCA_KIND, "ingress"
    )
    return Request(f"add ingress of {index}", RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, body)


def no_ingress(index: int) -> Request:
    """Delete it with its filters. Fails with ENOENT or EINVAL when there is none."""
    body = _TCMSG.pack(socket.AF_UNSPEC, index, TC_H_INGRESS & 0xFFFF0000, TC_H_INGRESS, 0) + string(
        TCA_KIND, "ingress"
    )
    return Request(f"remove ingress of {index}", RTM_DELQDISC, 0, body)


def redirect(index: int, to: int) -> Request:
    """All that arrives at a device with `ingress` goes through another (an ifb), and on from there. tc-mirred(8)."""
    return _redirect(index, to, _ETH_P_ALL, [(0, bytes(4), bytes(4))])


def stay(index: int, address: bytes) -> Request:
    """UDP to port 53 of this IPv4 address takes no such way, whatever follows."""
    keys = [
        (16, address, _ALL),
        (8, bytes((0, socket.IPPROTO_UDP, 0, 0)), b"\0\xff\0\0"),
        (20, b"\0\0\0\x35", b"\0\0\xff\xff"),
    ]
    options = attribute(5, _selector(keys)) + u32(1, 0x10001)  # TCA_U32_CLASSID, of a class that is none: no action
    body = _TCMSG.pack(socket.AF_UNSPEC, index, 0, TC_H_INGRESS & 0xFFFF0000, 1 << 16 | socket.htons(_ETH_P_IP))
    body += string(TCA_KIND, "u32") + nest(TCA_OPTIONS, options)
    return Request(f"let questions that arrive at {index} stay", RTM_NEWTFILTER, NLM_F_CREATE, body)


def redirect_own(index: int, to: int, mac: bytes, address: bytes) -> list[Request]:
    """The same for IP packets that are sent from these alone; of IPv6 those of TCP and UDP. All others take no detour:
    what arrives again behind one passes no chains of nftables at that device (netdev, ingress)."""
    four = len(address) == 4
    kind = _ETH_P_IP if four else _ETH_P_IPV6
    sent = [(-8, mac[:4], _ALL), (-4, mac[4:] + struct.pack("!H", kind), _ALL)]  # of the Ethernet header
    start = 12 if four else 8
    sent += [(start + at, address[at : at + 4], _ALL) for at in range(0, len(address), 4)]
    if four:
        return [_redirect(index, to, kind, sent)]
    protocols = (socket.IPPROTO_TCP, socket.IPPROTO_UDP)
    return [
        _redirect(index, to, kind, [*sent, (4, bytes((0, 0, protocol, 0)), b"\0\0\xff\0")]) for protocol in protocols
    ]


def _redirect(index: int, to: int, kind: int, keys: Sequence[tuple[int, bytes, bytes]]) -> Request:
    """`keys`: offset from the network header, four bytes that are there, and the mask of those that count."""
    mirred = struct.pack("=IIiiiiI", 0, 0, TC_ACT_STOLEN, 0, 0, TCA_EGRESS_REDIR, to)
    action = nest(1, string(1, "mirred"), nest(2, attribute(2, mirred)))
    options = nest(TCA_OPTIONS, attribute(5, _selector(keys)), nest(7, action))  # TCA_U32_SEL, TCA_U32_ACT
    info = (2 if kind != _ETH_P_IPV6 else 3) << 16 | socket.htons(kind)  # priority, one for each protocol
    body = _TCMSG.pack(socket.AF_UNSPEC, index, 0, TC_H_INGRESS & 0xFFFF0000, info) + string(TCA_KIND, "u32") + options
    return Request(f"redirect what arrives at {index} to {to}", RTM_NEWTFILTER, NLM_F_CREATE, body)


def _selector(keys: Sequence[tuple[int, bytes, bytes]]) -> bytes:
    head = struct.pack("=BBBxHHhhI", 1, 0, len(keys), 0, 0, 0, 0, 0)  # terminal
    return head + b"".join(mask + data + struct.pack("=ii", offset, 0) for offset, data, mask in keys)


def no_queue(index: int) -> Request:
    """Delete the device's root qdisc. Fails with ENOENT when it has none."""
    return Request(f"remove queue of {index}", RTM_DELQDISC, 0, _TCMSG.pack(socket.AF_UNSPEC, index, 0, TC_H_ROOT, 0))
