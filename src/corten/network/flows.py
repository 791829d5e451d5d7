"""Forgetting the flows of what is gone: in a thread, because the kernel walks its whole table for each (20 ms)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from corten.kernel.netlink import NETLINK_NETFILTER, Socket

_COUNT = Path("/proc/sys/net/netfilter/nf_conntrack_count")


class Flows:
    """`warnings` gets one when this kernel cannot do it; everything else works, but for stale flows."""

    def __init__(self, warnings: list[str]) -> None:
        self._warnings = warnings
        self._able = True
        self._lock: asyncio.Lock | None = None

    async def forget(self, what: Callable[..., None], *which: object) -> None:
        """`what` is a function of `kernel.conntrack`, `which` its arguments behind the socket."""
        self._lock = self._lock or asyncio.Lock()
        async with self._lock:
            if self._able and _any_flow():
                await asyncio.to_thread(self._forget, what, which)

    def _forget(self, what: Callable[..., None], which: tuple[object, ...]) -> None:
        try:
            with Socket(NETLINK_NETFILTER) as conntrack:  # a kernel may have no netfilter
                what(conntrack, *which)
        except OSError as error:
            self._warnings.append(f"flows of containers that ended cannot be forgotten: {error}")
            self._able = False


def _any_flow() -> bool:
    """There is any flow in this network namespace."""
    try:
        return _COUNT.read_bytes().strip() != b"0"
    except FileNotFoundError:
        return False
