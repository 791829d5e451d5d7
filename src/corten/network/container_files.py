"""The texts of a container's /etc/hosts and /etc/resolv.conf, from the networks that it is in (see `files`)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from corten.network import files
from corten.network.config import NetworkConfig
from corten.network.endpoint import Endpoint
from corten.network.resolver import Resolver
from corten.network.store import NetworkStore


class ContainerFiles:
    def __init__(self, config: NetworkConfig, store: NetworkStore, resolver: Resolver) -> None:
        self._config, self._store, self._resolver = config, store, resolver

    @property
    def host_gateway(self) -> str:
        """What "host-gateway" in an extra host means: as configured, or this host's address on the default bridge.

        Empty without both.
        """
        if self._config.host_gateway:
            return self._config.host_gateway
        network = self._store.named("bridge")
        return str(network.addresses.v4.gateway) if network is not None and network.addresses.v4 is not None else ""

    def hosts(
        self,
        endpoints: Sequence[Endpoint],
        hostname: str,
        domainname: str = "",
        extra: Iterable[str] = (),
        linked: Iterable[tuple[str, str]] = (),
    ) -> str:
        """With this host's network its own text, and `extra`. `linked` are rows of (address, names).

        Invalid for an extra host that cannot be.
        """
        if self._has_host_files(endpoints):
            rows = [files.parse_extra_host(entry) for entry in extra]
            own = {"host-gateway": self.host_gateway or "127.0.0.1"}
            return self._config.hosts.read_text() + "".join(f"{own.get(a, a)}\t{n}\n" for n, a in rows)
        addresses = [a for e in endpoints for a in (e.address, e.address6)]
        return files.hosts(addresses, hostname, domainname, extra, self.host_gateway, linked)

    def resolv_conf(
        self,
        endpoints: Sequence[Endpoint],
        servers: Sequence[str] = (),
        search: Sequence[str] = (),
        options: Sequence[str] = (),
    ) -> str:
        """The container's own name server where it has one; with this host's network the host's text."""
        config = self._config
        servers, search = servers or config.dns, search or config.dns_search
        options = options or config.dns_options
        try:
            host = config.resolv_conf.read_bytes().decode(errors="replace")
        except FileNotFoundError:
            host = ""
        if self._has_host_files(endpoints) and not (servers or search or options):
            return host
        embedded = any(e.container_id in self._resolver for e in endpoints)
        return files.resolv_conf(host, servers, search, options, embedded)

    def _has_host_files(self, endpoints: Sequence[Endpoint]) -> bool:
        return any(self._store[e.network_id].driver.reachability.host_files for e in endpoints)
