"""network.EndpointSettings and what holds it; the bodies of /networks."""

from __future__ import annotations

from corten.spec.docker.struct import Struct, field


class EndpointIPAMConfig(Struct, go="network.EndpointIPAMConfig"):
    ipv4_address: str = field(default="", key="IPv4Address", omitempty=True)
    ipv6_address: str = field(default="", key="IPv6Address", omitempty=True)
    link_local_ips: list[str] | None = field(default=None, key="LinkLocalIPs", omitempty=True)


class EndpointSettings(Struct, go="network.EndpointSettings", pointer=True):
    """What a client may ask of an endpoint. What it has become is added in inspect."""

    ipam_config: EndpointIPAMConfig | None = field(default=None, key="IPAMConfig")
    links: list[str] | None = None
    aliases: list[str] | None = None
    mac_address: str = ""
    driver_opts: dict[str, str] | None = None
    gw_priority: int = field(default=0, since=(1, 48))


class IPAMConfig(Struct, go="network.IPAMConfig"):
    subnet: str = ""
    ip_range: str = field(default="", key="IPRange")
    gateway: str = ""
    auxiliary_addresses: dict[str, str] | None = None
    aux_address: dict[str, str] | None = None


class IPAM(Struct, go="network.IPAM"):
    driver: str = ""
    options: dict[str, str] | None = None
    config: list[IPAMConfig] | None = None


class ConfigReference(Struct, go="network.ConfigReference"):
    network: str = ""


class NetworkCreate(Struct, go="network.CreateRequest"):
    """The body of POST /networks/create. `check_duplicate` is obsolete, names are always unique here."""

    name: str = ""
    check_duplicate: bool | None = None
    driver: str = ""
    scope: str = ""
    enable_ipv4: bool | None = field(default=None, key="EnableIPv4")
    enable_ipv6: bool | None = field(default=None, key="EnableIPv6")
    ipam: IPAM | None = field(default=None, key="IPAM")
    internal: bool = False
    attachable: bool = False
    ingress: bool = False
    config_only: bool = False
    config_from: ConfigReference | None = None
    options: dict[str, str] | None = None
    labels: dict[str, str] | None = None


class ConnectRequest(Struct, go="network.ConnectOptions"):
    container: str = ""
    endpoint_config: EndpointSettings | None = None


class DisconnectRequest(Struct, go="network.DisconnectOptions"):
    container: str = ""
    force: bool = False
