"""The sysctls of this host that networks need."""

from __future__ import annotations

from pathlib import Path

from corten.errors import Failed

IPV6 = Path("/proc/sys/net/ipv6")
_IPV4 = Path("/proc/sys/net/ipv4")
_FILTERED_FRAMES = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


def forward() -> str:
    """Let this host route IPv4. Returns "name = value" when that was changed, empty when it did already. Failed."""
    return write(_IPV4 / "ip_forward", "1")


def forward6() -> str:
    """The same for IPv6. An interface that learns its own routes from advertisements keeps doing so."""
    if (IPV6 / "conf/all/forwarding").read_text().strip() == "1":
        return ""
    for accept in IPV6.glob("conf/*/accept_ra"):
        if accept.read_text().strip() == "1" and accept.parent.name not in ("all", "default", "lo"):
            write(accept, "2")  # 1 would mean: not when forwarding
    return write(IPV6 / "conf/all/forwarding", "1")


def bridges_are_filtered() -> bool:
    """br_netfilter is on: published ports are translated within a bridge, and frames return to their own port."""
    try:
        return _FILTERED_FRAMES.read_text().strip() == "1"
    except FileNotFoundError:
        return False


def write(path: Path, value: str) -> str:
    """Set a sysctl. Returns "name = value", or nothing when it had that value. Failed where /proc/sys is read-only."""
    try:
        if path.read_text().strip() == value:
            return ""
        path.write_text(value)
    except OSError as error:
        name = ".".join(path.parts[3:])
        raise Failed(f"cannot set sysctl {name} = {value}: {error.strerror}") from error
    return f"{'.'.join(path.parts[3:])} = {value}"
