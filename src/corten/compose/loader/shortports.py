"""The short form of a port: [[IP:][PUBLISHED]:]TARGET[/PROTOCOL], with ranges."""

from __future__ import annotations

from corten.compose.document import Tree

_PROTOCOLS = ("tcp", "udp", "sctp")
_MOST = 65_536  # ports of a range


def parse_port(text: str) -> list[Tree]:
    """Long forms, one for each port of the container, by their texts. Raises ValueError in Docker's words."""
    address, published, target, protocol = _parts(text)
    if protocol.lower() not in _PROTOCOLS:
        raise ValueError(f"invalid proto: {protocol}")
    if address and not _is_address(address):
        raise ValueError(f"invalid IP address: {address}")
    first, last = _range(target, "container")
    opening, closing = _range(published, "host") if published else (0, 0)
    if published and closing - opening != last - first and first != last:
        raise ValueError(f"invalid ranges specified for container and host Ports: {target} and {published}")
    found: list[Tree] = []
    for port in range(first, last + 1):
        one: Tree = {"mode": "ingress", "protocol": protocol.lower()}
        if port:  # 0 is none, which is refused later
            one["target"] = port
        if address:
            one["host_ip"] = address
        if published:
            single = first == last and closing > opening
            one["published"] = f"{opening}-{closing}" if single else str(opening + port - first)
        found.append(one)
    return sorted(found, key=lambda each: f"{each.get('target')}/{each['protocol']}")


def _parts(text: str) -> tuple[str, str, str, str]:
    """Address, published, target, protocol; without a target there is no protocol either."""
    fields = text.split(":")
    target, _, protocol = fields[-1].partition("/")
    protocol = (protocol.partition("/")[0] or "tcp") if target else ""
    address = ":".join(fields[:-2])
    if address.startswith("[") and address.endswith("]"):
        address = address[1:-1]
    return address, fields[-2] if len(fields) > 1 else "", target, protocol


def _is_address(text: str) -> bool:
    import ipaddress

    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return False
    return True


def exposed(text: str) -> tuple[int, int]:
    """The first and the last port of an entry of expose. Raises ValueError."""
    return _range(text.partition("/")[0], "container")


def _range(text: str, side: str) -> tuple[int, int]:
    first, dash, last = text.partition("-")
    wrong = ValueError(f"invalid {side}Port: {text}")
    try:
        found = (_port(first), _port(last) if dash else _port(first))
    except ValueError:
        raise wrong from None
    if found[1] < found[0]:
        raise wrong
    return found


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 5) or int(text) >= _MOST:
        raise ValueError(text)
    return int(text)
