"""An endpoint: a container's place in one network, as it is reported and as it is stored."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field, fields, replace

import msgspec

from corten.network.interface import link_local_of
from corten.network.options import HAIRPIN, truth
from corten.network.pins import Pin
from corten.spec.docker.decode import decode
from corten.spec.docker.networking import EndpointIPAMConfig, EndpointSettings
from corten.spec.json import Json


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Everything that has to be known to report it, to take it away, and to adopt it in a later daemon.

    `interface` is the device in the container and `index` its index there. `host_interface` and `host_index` are those
    of its end on this host, for drivers that have one. `ports` is Docker's NetworkSettings.Ports: {"80/tcp":
    [{"HostIp", "HostPort"}], "81/tcp": None}. `settings_in` is the EndpointSettings that the client asked with.
    `names_at` is where a machine asks for names: its bridge's address, where its supervisor answers. Empty strings and
    zeros where a network has none.
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
    names_at: str = ""
    settings_in: EndpointSettings = field(default_factory=EndpointSettings)

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
        """As it is stored; of `settings_in` what was set."""
        found: Json = msgspec.to_builtins(self, enc_hook=EndpointSettings.given_json)
        return found

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
    def pin(self) -> Pin | None:
        """What a guest's tap lets through; None for a container's, whose device is a pair with an end inside."""
        if self.index or not self.host_interface:
            return None
        asked = (self.settings_in.ipam_config or EndpointIPAMConfig()).link_local_ips or ()
        addresses = [ipaddress.ip_address(text) for text in (self.address, self.address6, *asked) if text]
        if self.address6:
            addresses.append(link_local_of(self.mac).ip)
        beside = ipaddress.ip_address(self.names_at) if self.names_at else None
        return Pin(self.host_interface, self.mac, tuple(dict.fromkeys(addresses)), beside)

    @property
    def hairpin(self) -> bool:
        """What it sends may lead back to itself: by a port that it publishes, or as its options say."""
        return any(self.ports.values()) or truth(self.settings_in.driver_opts or {}, HAIRPIN, False)

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
