"""The key `cri` of daemon.json: the daemon's part of it, and whether all of it can be."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from corten.errors import Invalid
from corten.network.definition import parse_subnet

FLAGS = ("start", "cni-gc")
PATHS = ("cni-conf-dir", "cni-bin-dir")
DAEMONS = (*FLAGS, *PATHS, "cluster-cidr")
#: Those of the process that serves Kubernetes (`corten.cri.config`).
OTHERS = ("socket", "daemon", "streaming-address", "streaming-port")


def check(given: Mapping[str, Any]) -> None:
    """Raises Invalid for a key that is not known, and for a value that its key cannot have."""
    for name, value in given.items():
        if name not in (*DAEMONS, *OTHERS):
            raise Invalid(f"cri: unknown key {name} (there are: {', '.join((*DAEMONS, *OTHERS))})")
        if name in FLAGS:
            if not isinstance(value, bool):
                raise Invalid(f"cri: {name} is neither true nor false")
            continue
        if name == "cluster-cidr":
            cluster(given)
            continue
        paths = value.split(":") if isinstance(value, str) else [""]
        if name in PATHS and not all(path.startswith("/") for path in paths):
            raise Invalid(f"cri: {name} is not an absolute path")


def cluster(given: Mapping[str, Any]) -> tuple[IPv4Network | IPv6Network, ...]:
    """The ranges of `cluster-cidr`, separated by commas."""
    value = given.get("cluster-cidr", "")
    if not isinstance(value, str):
        raise Invalid("cri: cluster-cidr is not a text")
    try:
        return tuple(parse_subnet(text.strip()) for text in value.split(",") if text.strip())
    except Invalid as error:
        raise Invalid(f"cri: cluster-cidr: {error}") from error
