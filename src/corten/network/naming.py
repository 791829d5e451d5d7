"""Who is called what, and the name servers of all containers."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from corten.network import files
from corten.network.dns import IPAddress
from corten.network.endpoint import Endpoint
from corten.network.live import Live
from corten.network.resolver import Names, Resolver, Sockets


class HostServers:
    """The host's name servers, read again when its resolv.conf changed. Loopback ones too: we ask from the host."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen: tuple[int, int] = (0, 0)
        self._servers: list[str] = []

    def __call__(self) -> list[str]:
        try:
            status = self._path.stat()
            seen = (status.st_mtime_ns, status.st_ino)
            if seen != self._seen:
                self._servers = files.nameservers(self._path.read_text(errors="replace"))
                self._seen = seen
        except FileNotFoundError:
            self._servers = []
        return self._servers or list(files.PUBLIC_SERVERS)


class Naming:
    """`networks` gives the networks that a container is connected to, with its endpoint in each."""

    def __init__(self, networks: Callable[[str], Iterable[tuple[Live, Endpoint]]], resolv_conf: Path) -> None:
        self._networks = networks
        self._host_servers = HostServers(resolv_conf)
        self._resolvers: dict[str, Resolver] = {}

    def __contains__(self, container_id: str) -> bool:
        return container_id in self._resolvers

    async def serve(self, container_id: str, sockets: Sockets, servers: Sequence[str]) -> None:
        """Start a container's name server; it had none. `servers` are its own upstreams, from --dns."""
        names = Names(
            addresses=lambda name: self._addresses(container_id, name),
            reverse=lambda ip: self._reverse(container_id, ip),
            upstreams=lambda: self._upstreams(container_id, servers),
        )
        resolver = Resolver(sockets, names)
        try:
            await resolver.start()
        except BaseException:
            await resolver.close()
            raise
        self._resolvers[container_id] = resolver

    async def end(self, container_id: str) -> None:
        """Idempotent. The container's namespace is let go."""
        resolver = self._resolvers.pop(container_id, None)
        if resolver is not None:
            await resolver.close()

    async def close(self) -> None:
        for container_id in list(self._resolvers):
            await self.end(container_id)

    def _addresses(self, container_id: str, name: str) -> list[IPAddress] | None:
        found: list[IPAddress] = []
        for live, own in self._networks(container_id):
            if not live.definition.default_bridge:
                for endpoint in live.named(_linked(own, name)):
                    found += [ipaddress.ip_address(text) for text in (endpoint.address, endpoint.address6) if text]
        return list(dict.fromkeys(found)) or None

    def _reverse(self, container_id: str, ip: IPAddress) -> list[str]:
        return [
            f"{endpoint.container_name}.{live.definition.name}"
            for live, _ in self._networks(container_id)
            for endpoint in live.endpoints.values()
            if str(ip) in (endpoint.address, endpoint.address6) and not live.definition.default_bridge
        ]

    def _upstreams(self, container_id: str, servers: Sequence[str]) -> Sequence[str]:
        """None for a container that is in internal networks only: a question would leave them (CVE-2024-29018)."""
        if all(live.definition.internal for live, _ in self._networks(container_id)):
            return ()
        return servers or self._host_servers()


def _linked(own: Endpoint, name: str) -> str:
    """The name behind an alias that only this container has (--link name:alias)."""
    for link in own.settings_in.get("Links") or ():
        target, _, alias = str(link).partition(":")
        if name == (alias or target).lower():
            return target.lower()
    return name
