"""An endpoint: a container's place in one network, as it is reported and as it is stored."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import msgspec

from corten.spec.docker.decode import decode
from corten.spec.docker.networking import EndpointSettings
from corten.spec.json import Json


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Everything that has to be known to report it, to take it away, and to adopt it in a later daemon.

    `interface` is the device in the container and `index` its index there. `host_interface` and `host_index` are those
    of its end on this host, for drivers that have one. `ports` is Docker's NetworkSettings.Ports: {"80/tcp":
    [{"HostIp", "HostPort"}], "81/tcp": None}. `settings_in` is the EndpointSettings that the client asked with. Empty
    strings and zeros where a network has none.
    """

    network_id: str
    network_name: str
    endpoint_id: str
    container_id: str
    container_name: str = ""
    interface: str = ""
    index: int = 0
    host_interface: str = ""
    host_index: int | None = None
    mac: str = ""
    address: str = ""
    prefix: int = 0
    gateway: str = ""
    address6: str = ""
    prefix6: int = 0
    gateway6: str = ""
    ports: dict[str, list[dict[str, str]] | None] = field(default_factory=dict)
    aliases: list[str] = field(default_factory=list)
    dns_names: list[str] = field(default_factory=list)
    gw_priority: int = 0
    settings_in: EndpointSettings = field(default_factory=EndpointSettings)

    def to_json(self) -> Json:
        found: Json = msgspec.to_builtins(self, enc_hook=EndpointSettings.to_json)
        return found

    @classmethod
    def from_json(cls, record: Json) -> Endpoint:
        """Keys of a newer version are left out, those of an older one translated."""
        known = {f.name for f in fields(cls)}
        values = {key: value for key, value in {**_indexes(record), **record}.items() if key in known}
        return cls(**{**values, "settings_in": decode(EndpointSettings, record.get("settings_in"))})

    def renamed(self, name: str, hostname: str) -> Endpoint:
        """Of a container that has another name now. Its aliases and its hostname stay, its old name among them."""
        names: list[str] = []
        if self.dns_names:  # there are none in the default network
            others = [known for known in self.dns_names if known != self.container_name]
            names = list(dict.fromkeys(filter(None, [name, *others, *self.aliases, hostname])))
        return replace(self, container_name=name, dns_names=names)

    @property
    def record(self) -> Json:
        return self.to_json()

    @property
    def settings(self) -> Json:
        """Docker's EndpointSettings, as in NetworkSettings.Networks of a running container."""
        return {
            **self.settings_in.replace(mac_address=self.mac, gw_priority=self.gw_priority).to_json(),
            "NetworkID": self.network_id,
            "EndpointID": self.endpoint_id,
            "Gateway": self.gateway,
            "IPAddress": self.address,
            "IPPrefixLen": self.prefix,
            "IPv6Gateway": self.gateway6,
            "GlobalIPv6Address": self.address6,
            "GlobalIPv6PrefixLen": self.prefix6,
            "DNSNames": self.dns_names or None,
        }

    @property
    def attached(self) -> Json:
        """As in Containers of GET /networks/ID."""
        return {
            "Name": self.container_name,
            "EndpointID": self.endpoint_id,
            "MacAddress": self.mac,
            "IPv4Address": f"{self.address}/{self.prefix}" if self.address else "",
            "IPv6Address": f"{self.address6}/{self.prefix6}" if self.address6 else "",
        }


def _indexes(record: Json) -> Json:
    """Of a record with "ifindex", as the first ones had it: the host end's, or one less than the index inside."""
    if "ifindex" not in record or not record.get("interface"):
        return {}
    return {"index": record["ifindex"] + 1, "host_index": record["ifindex"] if record.get("host_interface") else None}
