"""tc(8) over rtnetlink: the queue in front of a device, as requests for `netlink.Socket`.

A token bucket (tbf) lets `rate` bytes a second through, `burst` of them at once, and keeps what waits in a queue of
`limit` bytes; what does not fit is dropped. Source: include/uapi/linux/pkt_sched.h, tc-tbf(8).
"""

from __future__ import annotations

import socket
import struct

from corten.kernel.netlink import NLM_F_CREATE, NLM_F_REPLACE, Request, attribute, nest, string, u32

RTM_NEWQDISC, RTM_DELQDISC, RTM_NEWTFILTER = 36, 37, 44
TC_H_INGRESS = 0xFFFFFFF1
TC_ACT_STOLEN, TCA_EGRESS_REDIR = 4, 1
TC_H_ROOT = 0xFFFFFFFF
TCA_KIND, TCA_OPTIONS = 1, 2
TCA_TBF_PARMS, TCA_TBF_RATE64, TCA_TBF_BURST = 1, 4, 6
TCA_NETEM_RATE, TCA_NETEM_RATE64, TCA_NETEM_LATENCY64, TCA_NETEM_JITTER64 = 6, 8, 10, 11
TC_LINKLAYER_ETHERNET = 1
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
    everything = struct.pack("=BBBxHHhhI", 1, 0, 1, 0, 0, 0, 0, 0) + bytes(16)  # terminal, one key whose mask is 0
    mirred = struct.pack("=IIiiiiI", 0, 0, TC_ACT_STOLEN, 0, 0, TCA_EGRESS_REDIR, to)
    action = nest(1, string(1, "mirred"), nest(2, attribute(2, mirred)))
    options = nest(TCA_OPTIONS, attribute(5, everything), nest(7, action))  # TCA_U32_SEL, TCA_U32_ACT
    info = 1 << 16 | socket.htons(3)  # priority, ETH_P_ALL
    body = _TCMSG.pack(socket.AF_UNSPEC, index, 0, TC_H_INGRESS & 0xFFFF0000, info) + string(TCA_KIND, "u32") + options
    return Request(f"redirect what arrives at {index} to {to}", RTM_NEWTFILTER, NLM_F_CREATE, body)


def no_queue(index: int) -> Request:
    """Delete the device's root qdisc. Fails with ENOENT when it has none."""
    return Request(f"remove queue of {index}", RTM_DELQDISC, 0, _TCMSG.pack(socket.AF_UNSPEC, index, 0, TC_H_ROOT, 0))
