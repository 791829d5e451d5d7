"""The name server of the containers, as the daemon sees it: a process that is told who is called what.

It answers at 127.0.0.11 in each container of a user-defined network, by sockets that were opened there: nobody else
reaches it, and who asks is known without looking at addresses. They are on ports of the kernel's choice; an nftables
table in that namespace leads port 53 of 127.0.0.11 to them, so that a name server in the container can still bind 53.

The process outlives the daemon. What it knows is told again as a whole by the next one, and when it had to be replaced.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple, Protocol

from corten.errors import CortenError, Unavailable
from corten.kernel import nft
from corten.kernel.nft import Table
from corten.network.endpoint import Endpoint
from corten.network.live import Live
from corten.spec.json import Json

log = logging.getLogger(__name__)

ADDRESS = "127.0.0.11"
_TABLE = Table(nft.NFPROTO_IPV4, "corten-dns")


class Sockets(NamedTuple):
    """Descriptors inside a container's namespace: UDP, and TCP listening, both at 127.0.0.11 and any port; and a
    NETLINK_NETFILTER socket."""

    udp: int
    tcp: int
    netfilter: int

    def close(self) -> None:
        for fd in self:
            os.close(fd)


class NameServer(Protocol):
    """The process. `on_lost` is called when it has died; what it was told is forgotten then."""

    on_lost: Callable[[], None]

    async def reach(self, start: bool) -> Collection[str] | None:
        """Connect to the one that runs, or make one with `start`. The containers that it serves already; None when
        there is none, or when we are connected to it."""

    @property
    def reached(self) -> bool: ...

    def tell(self, message: Json, fds: Sequence[int] = ()) -> None:
        """Without an answer; the descriptors stay the caller's."""

    def close(self) -> None:
        """Let go of it; it goes on."""


class Naming:
    """`everything` is the message "all" of the whole daemon (`supervisor.names.server`).

    `on_unnamed` is called when all containers have lost their name server: each needs new sockets.
    """

    def __init__(self, server: NameServer | None, everything: Callable[[], Json]) -> None:
        self._server = server
        self._everything = everything
        self._served: set[str] = set()
        self.on_unnamed: Callable[[], None] | None = None
        if server is not None:
            server.on_lost = self._lost

    def __contains__(self, container_id: str) -> bool:
        return container_id in self._served

    @property
    def available(self) -> bool:
        return self._server is not None

    async def open(self, start: bool = False) -> None:
        """Take up an earlier daemon's, or with `start` make sure that there is one."""
        if self._server is not None and not self._server.reached:
            found = await self._server.reach(start)
            if found is not None:
                self._served = set(found)
                if start:
                    self.tell_all()

    def tell_all(self) -> None:
        """Everything as it is now, in place of what was told before; containers that are not in it are let go."""
        if self._server is not None and self._server.reached:
            message = self._everything()
            self._served &= set(message["containers"])
            self._server.tell(message)

    async def serve(self, container_id: str, sockets: Sockets, servers: Sequence[str], way_out: bool) -> None:
        """Start a container's name server; it had none. `servers` are its own upstreams, from --dns.

        Unavailable when there is no process that could be told.
        """
        try:
            _lead(sockets)
            message = {"do": "serve", "container": container_id, "servers": list(servers), "open": way_out}
            for _ in range(2):  # the process may have died just now
                await self.open(start=True)
                self._tell(message, sockets[:2])
                if self._server is not None and self._server.reached:
                    self._served.add(container_id)
                    return
            raise Unavailable("the containers' name server cannot be started; see launcher.log")
        finally:
            sockets.close()

    def end(self, container_id: str) -> None:
        """Idempotent. The container's namespace is let go."""
        if container_id in self._served:
            self._served.discard(container_id)
            self._tell({"do": "end", "container": container_id})

    def put(self, live: Live, endpoint: Endpoint) -> None:
        """A new endpoint of a user-defined network, or another state of one."""
        message = {"do": "put", "network": live.definition.id, "name": live.definition.name}
        self._tell({**message, "container": endpoint.container_id, "host": host(endpoint)})

    def drop(self, live: Live, endpoint: Endpoint) -> None:
        self._tell({"do": "drop", "network": live.definition.id, "container": endpoint.container_id})

    def set_open(self, container_id: str, way_out: bool) -> None:
        if container_id in self._served:
            self._tell({"do": "open", "container": container_id, "open": way_out})

    def close(self) -> None:
        """At the daemon's end: the process goes on for the containers that it serves, and ends without any."""
        if self._server is not None and self._server.reached:
            if not self._served:
                self._tell({"do": "quit"})
            self._server.close()

    def _tell(self, message: Json, fds: Sequence[int] = ()) -> None:
        """Who was not reached is told everything once it is."""
        if self._server is not None and self._server.reached:
            self._server.tell(message, fds)

    def _lost(self) -> None:
        self._served.clear()
        if self.on_unnamed is not None:
            self.on_unnamed()


async def prepared(naming: Naming) -> None:
    """There is a process, before the first container needs it; a failure is only said here."""
    try:
        await naming.open(start=True)
    except (CortenError, OSError) as error:
        log.warning("no name server yet: %s", error)


def host(endpoint: Endpoint) -> Json:
    """An endpoint as the name server knows it."""
    return {
        "name": endpoint.container_name,
        "names": endpoint.dns_names,
        "addresses": [text for text in (endpoint.address, endpoint.address6) if text],
        "links": list(endpoint.settings_in.links or ()),
    }


def _lead(sockets: Sockets) -> None:
    """In the container's namespace: port 53 of 127.0.0.11 is the server's ports."""
    ports = []
    for fd in sockets[:2]:
        with socket.socket(fileno=os.dup(fd)) as one:
            ports.append(one.getsockname()[1])
    transactions = nft.Transactions(sockets.netfilter)
    address = ipaddress.IPv4Address(ADDRESS).packed
    requests = [nft.new_table(_TABLE), nft.delete_table(_TABLE), nft.new_table(_TABLE)]
    requests.append(nft.base_chain(_TABLE, "output", "nat", nft.OUTPUT, -100))
    for protocol, port in zip((socket.IPPROTO_UDP, socket.IPPROTO_TCP), ports):
        match = nft.network_header(16, 4, 0) + nft.compare(0, address)
        match += nft.meta(nft.L4PROTO, 0) + nft.compare(0, bytes((protocol,)))
        match += nft.transport_header(2, 2, 0) + nft.compare(0, nft.port(53))
        target = nft.immediate(0, address) + nft.immediate(1, nft.port(port)) + nft.dnat(nft.NFPROTO_IPV4, 0, 1)
        requests.append(nft.rule(_TABLE, "output", match + target))
    try:
        transactions.commit(requests)
    finally:
        transactions.close()
