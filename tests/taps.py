"""Taps: network devices whose other side is a descriptor."""

from __future__ import annotations

import fcntl
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

_TUNSETIFF = 0x400454CA
_IFF_TAP, _IFF_NO_PI = 2, 0x1000


@contextmanager
def tap(name: str, flags: int = 0) -> Iterator[int]:
    """Its descriptor. The network device goes with it. `flags` are further ones (linux/if_tun.h)."""
    device = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(device, _TUNSETIFF, struct.pack("16sH22x", name.encode(), _IFF_TAP | _IFF_NO_PI | flags))
        yield device
    finally:
        os.close(device)
