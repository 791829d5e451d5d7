"""Who is called what in which network. Pure.

A host is sent as {"name", "names": [...], "addresses": [...], "links": ["target:alias"]}: what it is called first,
everything that it is called, and names that only itself has for others.
"""

from __future__ import annotations

import ipaddress
from typing import Any, NamedTuple

Json = dict[str, Any]
IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class Host(NamedTuple):
    """A container's place in one network."""

    name: str
    names: tuple[str, ...]
    addresses: tuple[IPAddress, ...]
    links: dict[str, str]  # alias to target, in lower case


def host_of(sent: Json) -> Host:
    links = (str(link).lower().partition(":") for link in sent.get("links") or ())
    return Host(
        sent["name"],
        tuple(dict.fromkeys(str(name).lower() for name in sent["names"])),
        tuple(ipaddress.ip_address(text) for text in sent["addresses"]),
        {alias or target: target for target, _, alias in links},
    )


class Network:
    """`hosts` are by container. (A dataclass would bring `inspect` into this process.)"""

    def __init__(self, name: str) -> None:
        self.name = name
        self.hosts: dict[str, Host] = {}
        self._named: dict[str, list[Host]] | None = None

    def put(self, container: str, host: Host | None) -> None:
        """A new host, or another state of a known one; None takes it away."""
        if host is not None:
            self.hosts[container] = host
        else:
            self.hosts.pop(container, None)
        self._named = None

    def named(self, name: str) -> list[Host]:
        """Whose name or alias that is (in lower case), alone or followed by a dot and the network's name."""
        if self._named is None:
            self._named = {}
            for host in self.hosts.values():
                for known in host.names:
                    self._named.setdefault(known, []).append(host)
        return self._named.get(name) or self._named.get(name.removesuffix(f".{self.name.lower()}")) or []


class Directory:
    """All networks of a daemon. `version` changes with every change."""

    def __init__(self) -> None:
        self._networks: dict[str, Network] = {}
        self._of: dict[str, dict[str, Network]] = {}  # by container, then by network id
        self.version = 0

    def replace(self, sent: Json) -> None:
        """{network id: {"name", "hosts": {container: host}}}; all of it, or an exception and nothing."""
        other = Directory()
        for id, network in sent.items():
            for container, host in network["hosts"].items():
                other.put(id, network["name"], container, host)
        self._networks, self._of = other._networks, other._of
        self.version += 1

    def put(self, id: str, name: str, container: str, sent: Json) -> None:
        host = host_of(sent)
        network = self._networks.setdefault(id, Network(name))
        network.put(container, host)
        self._of.setdefault(container, {})[id] = network
        self.version += 1

    def drop(self, id: str, container: str) -> None:
        """Idempotent."""
        network = self._networks.get(id)
        if network is None:
            return
        network.put(container, None)
        self._of.get(container, {}).pop(id, None)
        if not network.hosts:
            del self._networks[id]
        self.version += 1

    def forget(self, container: str) -> None:
        for id in list(self._of.pop(container, {})):
            self.drop(id, container)

    def addresses(self, asker: str, name: str) -> list[IPAddress] | None:
        """All addresses of a name (in lower case), both families; None when no host in the client's networks has it."""
        found: list[IPAddress] = []
        for network in self._of.get(asker, {}).values():
            for host in network.named(network.hosts[asker].links.get(name, name)):
                found += host.addresses
        return list(dict.fromkeys(found)) or None

    def reverse(self, asker: str, ip: IPAddress) -> list[str]:
        """What an address is called in the asker's networks."""
        return [
            f"{host.name}.{network.name}"
            for network in self._of.get(asker, {}).values()
            for host in network.hosts.values()
            if ip in host.addresses
        ]
