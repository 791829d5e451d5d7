"""/etc/hosts, /etc/hostname and /etc/resolv.conf as Docker writes them. Pure text."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from corten.errors import Invalid
from corten.spec.resolv_conf import PUBLIC_SERVERS, lines, nameservers

EMBEDDED_SERVER = "127.0.0.11"

_LOCALHOST = "127.0.0.1\tlocalhost\n"
_LOCALHOST6 = (
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::\tip6-localnet\n"
    "ff00::\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)


def hosts(
    addresses: Iterable[str],
    hostname: str,
    domainname: str = "",
    extra: Iterable[str] = (),
    host_gateway: str = "",
    linked: Iterable[tuple[str, str]] = (),
) -> str:
    """`extra` are --add-host entries "name:address" ("host-gateway" stands for `host_gateway`), `linked` rows of
    (address, names). Invalid."""
    rows = [_LOCALHOST, _LOCALHOST6]
    for entry in extra:
        name, address = parse_extra_host(entry)
        if address == "host-gateway":
            if not host_gateway:
                raise Invalid(f"extra host {entry!r}: this container has no network with a way to the host")
            address = host_gateway
        rows.append(f"{address}\t{name}\n")
    rows += [f"{address}\t{names}\n" for address, names in linked]
    full = f"{hostname}.{domainname} {hostname}" if domainname and not hostname.endswith(f".{domainname}") else hostname
    if "." in full.split()[0] and " " not in full:
        full = f"{full} {full.split('.', 1)[0]}"
    rows += [f"{address}\t{full}\n" for address in addresses if address]
    return "".join(rows)


def parse_extra_host(entry: str) -> tuple[str, str]:
    """ "name:address"; the address may be an IPv6 one, in brackets or not. Invalid otherwise."""
    name, colon, address = entry.partition(":")
    address = address.removeprefix("[").removesuffix("]")
    if not name or not colon or any(c.isspace() for c in name):
        raise Invalid(f"bad format for add-host: {entry!r}")
    if address != "host-gateway":
        try:
            ipaddress.ip_address(address)
        except ValueError as error:
            raise Invalid(f"invalid IP address in add-host: {address!r}") from error
    return name, address


def resolv_conf(
    host: str,
    servers: Sequence[str] = (),
    search: Sequence[str] = (),
    options: Sequence[str] = (),
    embedded: bool = False,
    ipv6: bool = True,
) -> str:
    """The container's resolv.conf from the host's text and --dns, --dns-search, --dns-option.

    The host's loopback servers mean nothing in a container and are left out; when none is left, public ones stand in.
    With `embedded` the only server is our own at 127.0.0.11, which asks those in turn (`upstreams`). `--dns-search .`
    means no search list.
    """
    host_search, host_options = _settings(host)
    chosen = [EMBEDDED_SERVER] if embedded else upstreams(host, servers, ipv6)
    searching = list(search) if search else host_search
    if searching == ["."]:
        searching = []
    opting = list(options) if options else host_options
    if embedded and not any(option.startswith("ndots:") for option in opting):
        opting = [*opting, "ndots:0"]
    rows = [f"nameserver {server}\n" for server in chosen]
    if searching:
        rows.append(f"search {' '.join(searching)}\n")
    if opting:
        rows.append(f"options {' '.join(opting)}\n")
    return "".join(rows)


def upstreams(host: str, servers: Sequence[str] = (), ipv6: bool = True) -> list[str]:
    """The servers to be asked: those given, or the host's that a container can reach, or public ones."""
    if servers:
        return list(servers)
    found = [server for server in nameservers(host) if _reachable(server, ipv6)]
    return found or list(PUBLIC_SERVERS)


def _reachable(server: str, ipv6: bool) -> bool:
    address = ipaddress.ip_address(server.partition("%")[0])
    if address.is_loopback or address.is_unspecified:
        return False
    return address.version == 4 or (ipv6 and not address.is_link_local)


def _settings(text: str) -> tuple[list[str], list[str]]:
    search: list[str] = []
    options: list[str] = []
    for words in lines(text):
        if words[0] in ("search", "domain"):  # the last one counts
            search = words[1:]
        elif words[0] == "options":
            options += words[1:]
    return search, options
