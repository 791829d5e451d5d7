"""Published ports that the firewall cannot carry, from the daemon's side: a process that forwards them.

The daemon opens their sockets, because it may, and gives them away; the process outlives the daemon with them. The next
daemon finds out what is served already, and opens the rest again, as does this one when the process had to be replaced.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence

from corten.network.firewall import Published
from corten.network.long_lived import LongLived
from corten.spec.json import Json

log = logging.getLogger(__name__)

_PATIENCE = 5.0  # seconds for ports to become free: the process needs less than a millisecond


class Forwarder:
    """`process` None: no port can be forwarded. `on_lost` is called when all ports have to be forwarded anew."""

    def __init__(self, process: LongLived | None, on_lost: Callable[[], None]) -> None:
        self._process, self._on_lost = process, on_lost
        self._served: set[str] = set()
        self._stopping: set[str] = set()
        self._free = asyncio.Event()

    def __contains__(self, port: object) -> bool:
        """The process has it."""
        return isinstance(port, Published) and _name(port) in self._served

    async def open(self, start: bool = False) -> None:
        """Connect to an earlier daemon's process, or with `start` make sure that there is one."""
        if self._process is not None and not self._process.reached:
            hello = await self._process.reach(start, self._lost, self._heard)
            if hello is not None:
                self._served = set(hello["ports"])

    def forward(self, ports: Mapping[Published, int], container_id: str) -> bool:
        """From now on the process has these, by the descriptors of their sockets, which stay the caller's to close.

        False, and it has none of them, when there is no process (any more): see `open`.
        """
        for port, fd in ports.items():
            to = [str(port.address), port.port]
            self._send({"do": "forward", "port": _name(port), "container": container_id, "to": to}, (fd,))
        if self._process is None or not self._process.reached:
            return False
        self._served |= {_name(port) for port in ports}
        return True

    def stop(self, ports: Iterable[Published], connections: bool = True) -> None:
        """Take ports away; `connections` through them end as well, or go on. Idempotent. See `settle`."""
        for name in map(_name, ports):
            if name in self._served:
                self._served.discard(name)
                self._stopping.add(name)
                self._send({"do": "stop", "port": name, "connections": connections})

    async def settle(self) -> None:
        """All ports that were stopped are free when this returns, unless the process is stopped itself."""
        if not self._stopping:
            return
        try:
            async with asyncio.timeout(_PATIENCE):
                while self._stopping:
                    self._free.clear()
                    await self._free.wait()
        except TimeoutError:
            log.warning("the forwarder does not give back %s", ", ".join(sorted(self._stopping)))
            self._stopping.clear()

    def keep(self, ports: Sequence[Published]) -> None:
        """Those that the process has from an earlier daemon and that are not among these are taken away."""
        names = [name for name in map(_name, ports) if name in self._served]
        self._served = set(names)
        self._send({"do": "all", "ports": names})

    def close(self) -> None:
        """At the daemon's end: the process goes on for the ports that it has, and ends without any."""
        if self._process is not None and self._process.reached:
            if not self._served:
                self._send({"do": "quit"})
            self._process.close()

    def _send(self, message: Json, fds: Sequence[int] = ()) -> None:
        if self._process is not None and self._process.reached:
            self._process.send(message, fds)

    def _heard(self, event: Json) -> None:
        if event.get("event") == "stopped":
            self._stopping.discard(event["port"])
            self._free.set()

    def _lost(self) -> None:
        """What it had is free."""
        self._served.clear()
        self._stopping.clear()
        self._free.set()
        self._on_lost()


def _name(port: Published) -> str:
    return f"{port.protocol}/{port.host_ip}/{port.host_port}"
