"""The files that the engine writes for a container: hostname, hosts and resolv.conf, bound over its own."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from corten.engine.container import Container
from corten.engine.oci_facts import Json
from corten.engine.oci_namespaces import joins
from corten.engine.parts import Settings

if TYPE_CHECKING:
    from corten.engine.containers import Containers

_LOCAL = """\
127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
"""
_FALLBACK = ("8.8.8.8", "8.8.4.4")


def write(container: Container, settings: Settings) -> None:
    """hostname, resolv.conf and a first hosts; they are bound before the network is known and then only rewritten."""
    record, bundle = container.record, container.bundle
    hostname = record.config.get("Hostname") or ""
    _put(container, "hostname", f"{hostname}\n")
    _put(container, "hosts", _LOCAL)
    with open("/etc/resolv.conf", encoding="utf-8", errors="replace") as file:
        _put(container, "resolv.conf", resolv_conf(file.read(), record.host_config, _is_host(record.host_config)))
    (bundle / "rootfs").mkdir(mode=0o755, exist_ok=True)


def write_hosts(containers: Containers, container: Container) -> None:
    """/etc/hosts with the addresses that the container got; in place, because it is bound already."""
    record = container.record
    if name := joins(record.host_config.get("NetworkMode")):
        text = (containers.get(name).bundle / "hosts").read_text()
    elif _is_host(record.host_config):
        with open("/etc/hosts", encoding="utf-8", errors="replace") as file:
            text = file.read() + _extra(record.host_config)
    else:
        text = _LOCAL + _extra(record.host_config) + _own(record.config, container)
    _put(container, "hosts", text)


def _is_host(host_config: Json) -> bool:
    return host_config.get("NetworkMode") == "host"


def _own(config: Json, container: Container) -> str:
    """One line for each address; only the default bridge and user networks give any."""
    host, domain = config.get("Hostname") or "", config.get("Domainname") or ""
    names = f"{host}.{domain} {host}" if domain else host
    found = [endpoint.settings for endpoint in container.endpoints.values()]
    addresses = [s.get(key) for s in found for key in ("IPAddress", "GlobalIPv6Address")]
    return "".join(f"{address}\t{names}\n" for address in addresses if address)


def _extra(host_config: Json) -> str:
    """--add-host NAME:ADDRESS; an address of IPv6 has colons of its own."""
    lines = []
    for entry in host_config.get("ExtraHosts") or ():
        name, _, address = entry.partition(":")
        lines.append(f"{address.strip('[]')}\t{name}\n")
    return "".join(lines)


def resolv_conf(host_text: str, host_config: Json, host_network: bool) -> str:
    """The host's resolv.conf with what --dns, --dns-search and --dns-option replace.

    Name servers on the host's loopback cannot be reached from another namespace: they are left out, and public ones
    stand in when none is left, as Docker does.
    """
    kept: dict[str, list[str]] = {"nameserver": [], "search": [], "options": []}
    for line in host_text.splitlines():
        words = line.split()
        if words and words[0] in kept and not words[0].startswith(("#", ";")):
            kept[words[0]] += words[1:] if words[0] != "nameserver" else words[1:2]
    servers: Iterable[str] = host_config.get("Dns") or kept["nameserver"]
    if not host_network and not host_config.get("Dns"):
        servers = [s for s in servers if not _loopback(s)] or _FALLBACK
    search = [s for s in host_config.get("DnsSearch") or kept["search"] if s != "."]
    options = host_config.get("DnsOptions") or kept["options"]
    lines = [f"nameserver {server}" for server in servers]
    lines += [f"search {' '.join(search)}"] if search else []
    lines += [f"options {' '.join(options)}"] if options else []
    return "\n".join(lines) + "\n"


def _loopback(server: str) -> bool:
    try:
        return ipaddress.ip_address(server.partition("%")[0]).is_loopback
    except ValueError:
        return False


def _put(container: Container, name: str, text: str) -> None:
    """Rewritten in place: a bind mount holds the inode. The bundle is the engine's own, so nobody swaps the name."""
    fd = os.open(container.bundle / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
