"""-p and --expose: [[ADDRESS:]HOST:]CONTAINER[/PROTOCOL], with ranges (API: ExposedPorts, PortBindings)."""

from __future__ import annotations

from corten.cli.errors import CommandError
from corten.cli.options.texts import is_address
from corten.spec.docker.host_config import PortBinding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from corten.spec.docker.gotypes import PortSet

PROTOCOLS = ("tcp", "udp", "sctp")


def published(specs: Iterable[str]) -> tuple[PortSet, dict[str, list[PortBinding]]]:
    """(ExposedPorts, PortBindings). CommandError names the spec that is wrong."""
    exposed: PortSet = {}
    bindings: dict[str, list[PortBinding]] = {}
    for spec in specs:
        for port, address, host in _bindings(_short(spec)):
            exposed[port] = {}
            bindings.setdefault(port, []).append(PortBinding(host_ip=address, host_port=host))
    return exposed, bindings


def exposed(specs: Iterable[str]) -> PortSet:
    """--expose: a port or a range, with a protocol."""
    found: PortSet = {}
    for spec in specs:
        if ":" in spec:
            raise CommandError(f"invalid port format for --expose: {spec}", 125)
        ports, _, protocol = spec.partition("/")
        try:
            first, last = _range(ports)
        except ValueError as error:
            raise CommandError(f"invalid range format for --expose: {spec}, error: {error}", 125) from None
        for port in range(first, last + 1):
            found[f"{port}/{protocol.lower() or 'tcp'}"] = {}
    return found


def _short(spec: str) -> str:
    """The long spelling (published=8080,target=80,protocol=udp) turned into the short one."""
    if "=" not in spec:
        return spec
    fields = {}
    for field in spec.split(","):
        key, equals, value = field.partition("=")
        if not equals:
            raise CommandError(f"invalid field: {field}", 125)
        if key.lower() not in ("protocol", "mode", "target", "published"):
            raise CommandError(f"invalid field key {key}", 125)
        fields[key.lower()] = value
    if not fields.get("target"):
        raise CommandError(f"invalid port spec {spec}: the target is missing", 125)
    host = fields.get("published", "")
    return f"{host + ':' if host else ''}{fields['target']}/{fields.get('protocol', 'tcp')}"


def _bindings(spec: str) -> Iterable[tuple[str, str, str]]:
    """(80/tcp, address, host port or range) for each container port of one spec."""
    rest, slash, protocol = spec.rpartition("/")
    if not slash:
        rest, protocol = spec, "tcp"
    head, _, container = rest.rpartition(":")
    address, _, host = head.rpartition(":")
    address = _address(address)
    if not container:
        raise CommandError(f"no port specified: {spec}<empty>", 125)
    first, last = _checked_range(container, "containerPort")
    if not host:
        hosts = None
    else:
        hosts = _checked_range(host, "hostPort")
        _check_lengths((first, last), hosts, container, host)
    if protocol.lower() not in PROTOCOLS:
        raise CommandError(f"invalid proto: {protocol}", 125)
    for index in range(last - first + 1):
        yield f"{first + index}/{protocol.lower()}", address, _host_port(hosts, index, first == last)


def _host_port(hosts: tuple[int, int] | None, index: int, single: bool) -> str:
    if hosts is None:
        return ""
    if single and hosts[0] != hosts[1]:
        # One port of the container takes the first free one of several on the host.
        return f"{hosts[0]}-{hosts[1]}"
    return str(hosts[0] + index)


def _check_lengths(inside: tuple[int, int], hosts: tuple[int, int], container: str, host: str) -> None:
    if inside[1] - inside[0] != hosts[1] - hosts[0] and inside[0] != inside[1]:
        raise CommandError(f"invalid ranges specified for container and host Ports: {container} and {host}", 125)


def _checked_range(text: str, what: str) -> tuple[int, int]:
    try:
        return _range(text)
    except ValueError:
        raise CommandError(f"invalid {what}: {text}", 125) from None


def _address(text: str) -> str:
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if bare and not is_address(bare):
        raise CommandError(f"invalid IP address: {bare}", 125)
    return bare


def _range(text: str) -> tuple[int, int]:
    """Both ends of "80" or "80-90". Raises ValueError for another form."""
    if not text:
        raise ValueError("empty string specified for ports")
    first, dash, last = text.partition("-")
    start, end = _port(first), _port(last if dash else first)
    if end < start:
        raise ValueError(f"invalid range specified for port: {text}")
    return start, end


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise ValueError(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    if int(text) > 65535:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return int(text)
