"""Taps: network devices whose other side is a descriptor. Source: include/uapi/linux/if_tun.h."""

from __future__ import annotations

import fcntl
import os
import struct

_TUNSETIFF, _TUNGETIFF, _TUNSETVNETHDRSZ = 0x400454CA, 0x800454D2, 0x400454D8
_IFF_TAP, _IFF_NO_PI, _IFF_VNET_HDR = 2, 0x1000, 0x4000
_IFREQ = struct.Struct("16sH22x")
_HEADER = 12  # bytes: virtio_net_hdr_v1

# Requests of ioctl(2) by which a tap's descriptor changes the network device on the host: the kernel asks for no right
# (drivers/net/tun.c). A device with another's MAC address takes its frames off the bridge, whose own address is the
# lowest of all; one that persists is there when its descriptor is closed; one that is debugged writes a line into the
# kernel's log for each frame.
SIOCSIFHWADDR = 0x8924
TUNSETDEBUG, TUNSETPERSIST, TUNSETOWNER, TUNSETLINK, TUNSETGROUP = 0x400454C9, *range(0x400454CB, 0x400454CF)
CHANGES = (SIOCSIFHWADDR, TUNSETDEBUG, TUNSETPERSIST, TUNSETOWNER, TUNSETLINK, TUNSETGROUP)


def make(name: str) -> int:
    """A new device of this name in the caller's network namespace, which goes with the last copy of the descriptor that
    is returned. Each frame on that has a header of virtio's, so that checksums and segments may be left to the device.

    Raises OSError: EBUSY for a name that another tap has, EINVAL for that of another device, ENOENT or ENODEV where the
    kernel has no taps.
    """
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        wanted = _IFREQ.pack(os.fsencode(name), _IFF_TAP | _IFF_NO_PI | _IFF_VNET_HDR)
        fcntl.ioctl(device, _TUNSETIFF, wanted)
        fcntl.ioctl(device, _TUNSETVNETHDRSZ, struct.pack("i", _HEADER))
    except BaseException:
        os.close(device)
        raise
    return device


def name_of(device: int) -> str:
    """The name of its network device, where that is now. Raises OSError for what is no tap or tun, ValueError for a
    tun, whose packets have no Ethernet header."""
    name, flags = _IFREQ.unpack(fcntl.ioctl(device, _TUNGETIFF, bytes(_IFREQ.size)))
    if not flags & _IFF_TAP:
        raise ValueError("a tun")
    return os.fsdecode(name.rstrip(b"\0"))
