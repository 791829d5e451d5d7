"""The name server of the containers, from the daemon's side: a process that gets every change of names and addresses.

It answers at 127.0.0.11 in each container of a user-defined network, by sockets that were opened there: no other
program reaches it, and which container asks is known without looking at addresses. They are on ports of the kernel's
choice; an nftables table in that namespace leads port 53 of 127.0.0.11 to them, so that a name server in the container
can still bind 53.

The process outlives the daemon. The next one sends it everything again, as does this one when it had to be replaced.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple

from corten.errors import CortenError, NotFound, Unavailable
from corten.kernel import nft
from corten.kernel.nft import Table
from corten.network.driver import ActiveNetwork
from corten.network.endpoint import Endpoint
from corten.network.long_lived import LongLived
from corten.network.store import NetworkStore
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


class Resolver:
    """`on_lost` is called when all containers have lost their name server: each needs new sockets."""

    def __init__(self, server: LongLived | None, store: NetworkStore, on_lost: Callable[[], None]) -> None:
        self._server, self._store, self._on_lost = server, store, on_lost
        self._served: set[str] = set()

    def __contains__(self, container_id: str) -> bool:
        """It has a name server."""
        return container_id in self._served

    def needed(self, container_id: str) -> bool:
        """The container is in a user-defined network and has no name server yet: time for `serve`."""
        networks = (network.definition for network, _ in self._store.connected(container_id))
        return self.available and container_id not in self._served and any(not made.predefined for made in networks)

    @property
    def available(self) -> bool:
        return self._server is not None

    async def open(self, start: bool = False) -> None:
        """Connect to an earlier daemon's process, or with `start` make sure that there is one."""
        if self._server is not None and not self._server.reached:
            found = await self._server.reach(start, self._lost)
            if found is not None:
                self._served = set(found["containers"])
                if start:
                    self.send_all()

    async def prepare(self) -> None:
        """There is a process before the first container needs it; a failure is only logged here."""
        try:
            await self.open(start=True)
        except (CortenError, OSError) as error:
            log.warning("no name server yet: %s", error)

    def send_all(self) -> None:
        """Everything as it is now, in place of what was sent before; containers that are not in it are dropped."""
        if self._server is not None and self._server.reached:
            message = directory(self._store)
            self._served &= set(message["containers"])
            self._server.send(message)

    async def serve(self, container_id: str, sockets: Sockets, servers: Sequence[str]) -> None:
        """Start a container's name server; it had none. `servers` are its own upstreams, from --dns.

        Closes the sockets. Raises Unavailable when there is no process to serve them, NotFound for a container that has
        left its last network.
        """
        try:
            _redirect(sockets)
            way_out = self._store.has_way_out(container_id)
            message = {"do": "serve", "container": container_id, "servers": list(servers), "open": way_out}
            for _ in range(2):  # the process may have exited just now
                await self.open(start=True)
                if not self._store.connected(container_id):  # it has left the last one meanwhile, which ends this
                    raise NotFound(f"container {container_id} is in no network any more")
                self._send(message, sockets[:2])
                if self._server is not None and self._server.reached:
                    self._served.add(container_id)
                    return
            raise Unavailable("the containers' name server cannot be started; see launcher.log")
        finally:
            sockets.close()

    def put(self, network: ActiveNetwork, endpoint: Endpoint) -> None:
        """A new endpoint, or another state of one; nothing for those of predefined networks."""
        made = network.definition
        if not made.predefined:
            message = {"do": "put", "network": made.id, "name": made.name}
            self._send({**message, "container": endpoint.container_id, "host": host(endpoint)})

    def drop(self, network: ActiveNetwork, endpoint: Endpoint) -> None:
        """An endpoint that is not in the store any more; with a container's last one its name server ends."""
        self._send({"do": "drop", "network": network.definition.id, "container": endpoint.container_id})
        if self._store.connected(endpoint.container_id):
            self.refresh(endpoint.container_id)
        elif endpoint.container_id in self._served:
            self._served.discard(endpoint.container_id)
            self._send({"do": "end", "container": endpoint.container_id})

    def refresh(self, container_id: str) -> None:
        """The container is in other networks than before: whether names of the world may be asked for."""
        if container_id in self._served:
            way_out = self._store.has_way_out(container_id)
            self._send({"do": "open", "container": container_id, "open": way_out})

    def close(self) -> None:
        """At the daemon's end: the process goes on for the containers that it serves, and ends without any."""
        if self._server is not None and self._server.reached:
            if not self._served:
                self._send({"do": "quit"})
            self._server.close()

    def _send(self, message: Json, fds: Sequence[int] = ()) -> None:
        """A process that is not reached gets everything once it is."""
        if self._server is not None and self._server.reached:
            self._server.send(message, fds)

    def _lost(self) -> None:
        self._served.clear()
        self._on_lost()


def directory(store: NetworkStore) -> Json:
    """The message "all": the names of every container in every network."""
    user_defined = store.user_defined()
    networks = {
        network.definition.id: {
            "name": network.definition.name,
            "hosts": {endpoint.container_id: host(endpoint) for endpoint in network.endpoints.values()},
        }
        for network in user_defined
    }
    containers = {id: {"open": store.has_way_out(id)} for network in user_defined for id in network.by_container}
    return {"do": "all", "networks": networks, "containers": containers}


def host(endpoint: Endpoint) -> Json:
    """An endpoint in a message to the name server."""
    return {
        "name": endpoint.container_name,
        "names": endpoint.dns_names,
        "addresses": [text for text in (endpoint.address, endpoint.address6) if text],
        "links": list(endpoint.settings_in.links or ()),
    }


def _redirect(sockets: Sockets) -> None:
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
